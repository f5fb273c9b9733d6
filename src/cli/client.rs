//! A small HTTP client for the server's two listeners.
//!
//! Speaks HTTP/1.1 over plain TCP, one request at a time per connection, and keeps a connection for as many requests
//! as its owner likes. Knows problem documents (RFC 9457) and says in words when nobody answers.

use super::output;
use crate::domain::token::is_damaged;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{future::Future, net::IpAddr, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, from the request to the last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const LARGEST_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The address is not one.
    #[error("`{0}` is not an address such as http://127.0.0.1:8787")]
    Address(String),
    /// The token cannot be one. Says nothing of it.
    #[error("the token {0}")]
    Token(&'static str),
    /// Nobody listens.
    #[error("no server answers at {0}: start one with `serin serve`")]
    NoServer(String),
    /// The connection broke or spoke something else than HTTP.
    #[error("{server} broke off: {problem}")]
    Broken {
        /// Who.
        server: String,
        /// How.
        problem: String,
    },
    /// It took too long.
    #[error("{server} gave no answer within {} s", .limit.as_secs())]
    Slow {
        /// Who.
        server: String,
        /// The time it had.
        limit: Duration,
    },
    /// The server refused, with its reason.
    #[error("{detail} ({code})")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The problem's stable code.
        code: String,
        /// In words.
        detail: String,
        /// The whole problem document, for members of its own.
        problem: Value,
    },
    /// An answer that is not Serin's.
    #[error(
        "{server} answered {status} without a reason: is it a Serin server, and the right one of its two ports?"
    )]
    Foreign {
        /// Who.
        server: String,
        /// The status.
        status: StatusCode,
    },
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    authority: String,
    /// Put before every path; empty for a server at the root.
    prefix: String,
    /// Sent along when there is one.
    authorization: Option<HeaderValue>,
}

impl Server {
    /// From a URL as a person writes it.
    ///
    /// # Errors
    /// [`ClientError::Address`] for anything but `http://host[:port][/prefix]`.
    pub(super) fn at(url: &str) -> Result<Self, ClientError> {
        let refused = || ClientError::Address(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| refused())?;
        let authority = parsed.authority().ok_or_else(refused)?;
        if parsed.scheme_str() != Some("http") || parsed.query().is_some() || authority.as_str().contains('@')
        {
            return Err(refused());
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
            prefix: parsed.path().trim_end_matches('/').to_owned(),
            authorization: None,
        })
    }

    /// The server that listens on an address; one that listens everywhere is reached through loopback.
    pub(super) fn listening_on(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ip => ip,
        };
        Self {
            authority: SocketAddr::new(ip, address.port()).to_string(),
            prefix: String::new(),
            authorization: None,
        }
    }

    /// The same, asked by the holder of a token.
    ///
    /// # Errors
    /// [`ClientError::Token`] for one that cannot be sent, or that lost a part of itself.
    pub(super) fn with_token(mut self, token: &str) -> Result<Self, ClientError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::Token(
                "must be visible ASCII characters without spaces",
            ));
        }
        if is_damaged(token) {
            return Err(ClientError::Token(
                "does not fit its own checksum: was all of it copied, and nothing else?",
            ));
        }
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| ClientError::Token("cannot be sent"))?;
        header.set_sensitive(true);
        self.authorization = Some(header);
        Ok(self)
    }

    /// As a URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.prefix)
    }

    /// Asks once, over a connection of its own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.connect().await?.get(path).await
    }

    /// Sends JSON once, over a connection of its own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        self.connect().await?.post(path, body).await
    }

    /// Makes a connection that can be asked many times.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn connect(&self) -> Result<Connection, ClientError> {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return Err(ClientError::NoServer(self.url())),
        };
        // Small requests go out at once; where the system refuses that they are merely slower.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        // The connection's end reaches whoever waits for an answer as an error of the request.
        tokio::spawn(connection);
        Ok(Connection {
            server: self.clone(),
            sender,
        })
    }

    fn broken(&self, problem: &dyn std::error::Error) -> ClientError {
        let mut words = problem.to_string();
        if let Some(source) = problem.source() {
            words = format!("{words}: {source}");
        }
        ClientError::Broken {
            server: self.url(),
            problem: words,
        }
    }
}

/// A good answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// As it came.
    raw: Bytes,
    /// The status, where good ones differ.
    pub(super) status: StatusCode,
    /// As it reads.
    pub(super) json: Value,
}

impl Answer {
    /// What a command prints: for `--json` the answer as it came, otherwise what `words` makes of it.
    ///
    /// # Errors
    /// Those of [`output::print()`].
    pub(super) fn print(&self, json: bool, words: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        if json {
            let text = String::from_utf8_lossy(&self.raw);
            output::print(&format!("{}\n", text.trim_end()))
        } else {
            output::print(&words(&self.json))
        }
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Connection {
    server: Server,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Asks for JSON.
    ///
    /// # Errors
    /// [`ClientError`]; after anything but a refusal the connection is of no more use.
    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        let (status, body) = self.send(Method::GET, path, None).await?;
        self.read(status, body)
    }

    /// Asks for text.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn get_text(&mut self, path: &str) -> Result<String, ClientError> {
        let (status, body) = self.send(Method::GET, path, None).await?;
        if status.is_success() {
            Ok(String::from_utf8_lossy(&body).into_owned())
        } else {
            Err(self.refusal(status, &body))
        }
    }

    /// Sends JSON and reads JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        let (status, body) = self.send(Method::POST, path, Some(body)).await?;
        self.read(status, body)
    }

    /// Puts JSON and reads JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn put(&mut self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        let (status, body) = self.send(Method::PUT, path, Some(body)).await?;
        self.read(status, body)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server.prefix))
            .header(header::HOST, &self.server.authority)
            .header(
                header::USER_AGENT,
                concat!("serin-cli/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(authorization) = &self.server.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| self.server.broken(&error))?;
        let server = self.server.clone();
        let exchange = async {
            self.sender.ready().await.map_err(|error| server.broken(&error))?;
            let response = self
                .sender
                .send_request(request)
                .await
                .map_err(|error| server.broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES)
                .collect()
                .await;
            let body = body.map_err(|error| server.broken(error.as_ref()))?;
            Ok((status, body.to_bytes()))
        };
        timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::Slow {
                server: server.url(),
                limit: ANSWER_TIMEOUT,
            })
        })
    }

    fn read(&self, status: StatusCode, body: Bytes) -> Result<Answer, ClientError> {
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        let json = serde_json::from_slice(&body).map_err(|_| ClientError::Foreign {
            server: self.server.url(),
            status,
        })?;
        Ok(Answer {
            raw: body,
            status,
            json,
        })
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |member: &str| problem[member].as_str().map(super::table::plain);
        match (text("detail").or_else(|| text("title")), text("code")) {
            (Some(detail), Some(code)) => ClientError::Refused {
                status,
                code,
                detail,
                problem,
            },
            _ => ClientError::Foreign {
                server: self.server.url(),
                status,
            },
        }
    }
}

/// Runs a command that talks to a server to its end.
///
/// # Errors
/// The command's.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(work)
}

/// A runtime for the few tasks of a command.
///
/// # Errors
/// The system's.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A path segment with everything but letters, digits and `-._~` percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let url = |text: &str| Server::at(text).map(|server| server.url()).ok();
        assert_eq!(
            url("http://localhost:9000/").as_deref(),
            Some("http://localhost:9000")
        );
        assert_eq!(url("http://gate/serin/").as_deref(), Some("http://gate:80/serin"));
        assert_eq!(url("http://[::1]:8787").as_deref(), Some("http://[::1]:8787"));
        for bad in [
            "127.0.0.1:8787",
            "https://127.0.0.1",
            "http://",
            "http://a?b=c",
            "",
        ] {
            assert_eq!(url(bad), None, "{bad}");
        }
        let listening = |text: &str| Server::listening_on(text.parse().unwrap()).url();
        assert_eq!(listening("0.0.0.0:8787"), "http://127.0.0.1:8787");
        assert_eq!(listening("[::]:8787"), "http://[::1]:8787");
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(segment("support_reply-1.0"), "support_reply-1.0");
        assert_eq!(segment("a/b ü?"), "a%2Fb%20%C3%BC%3F");
    }
}
