//! One attempt: a POST, and what came of it.
//!
//! Follows no redirect, uses no proxy, keeps no connection and reads no more of an answer than a log line has room
//! for. The whole attempt has one time limit. Never says where it sent something: an address may be a secret.

use super::address::Address;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{error::Error, io, time::Duration};

/// Of an answer that says no, this much is read.
const MOST_READ_BYTES: usize = 1_024;
/// And this much of it is told.
const MOST_TOLD_CHARS: usize = 200;
/// The largest head of an answer.
const HEAD_BYTES: usize = 64 * 1_024;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    /// Nothing, or not all of it, in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, no certificate that is trusted, or no HTTP.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// A redirect, which might lead anywhere.
    #[error("answered {0}, and redirects are not followed")]
    Redirected(StatusCode),
    /// Any other answer than a 2xx.
    #[error("answered {status}{}{excerpt}", if excerpt.is_empty() { "" } else { ": " })]
    Refused {
        /// The status.
        status: StatusCode,
        /// How the answer begins.
        excerpt: String,
        /// When the receiver wants to be asked again.
        again_after: Option<Duration>,
    },
}

impl DeliveryError {
    /// When the receiver wants to be asked again.
    pub(super) fn again_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { again_after, .. } => *again_after,
            _ => None,
        }
    }
}

/// The client of all endpoints; clones share it.
#[derive(Debug, Clone)]
pub(super) enum Client {
    Plain(legacy::Client<HttpConnector, Full<Bytes>>),
    Secure(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Client {
    /// Loads the certificates of the system when anything is `secure`: a machine without any can still do without.
    pub(super) fn new(secure: bool) -> io::Result<Self> {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        // Messages are rare, and a connection that was kept may be dead by the time it is needed.
        builder.pool_max_idle_per_host(0).http1_max_buf_size(HEAD_BYTES);
        if !secure {
            return Ok(Self::Plain(builder.build(HttpConnector::new())));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self::Secure(builder.build(connector)))
    }

    /// Posts JSON once. Only a 2xx is success.
    pub(super) async fn post(
        &self,
        address: &Address,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<(), DeliveryError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = address.uri().clone();
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("serin/", env!("CARGO_PKG_VERSION"))),
        );
        tokio::time::timeout(limit, self.answer(request))
            .await
            .unwrap_or(Err(DeliveryError::Timeout(limit)))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(), DeliveryError> {
        let sent = match self {
            Self::Plain(client) => client.request(request).await,
            Self::Secure(client) => client.request(request).await,
        };
        let response = sent.map_err(|error| DeliveryError::Unreachable(causes(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(DeliveryError::Redirected(status));
        }
        let again_after = again_after(response.headers());
        Err(DeliveryError::Refused {
            status,
            excerpt: excerpt(response.into_body()).await,
            again_after,
        })
    }
}

/// The last two causes of an error, which say what is the matter.
fn causes(error: &dyn Error) -> String {
    let mut told = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        told.push(cause.to_string());
        next = cause.source();
    }
    told.dedup();
    told.split_off(told.len().saturating_sub(2)).join(": ")
}

fn again_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How a body begins, on one line.
async fn excerpt(mut body: Incoming) -> String {
    let mut read = BytesMut::new();
    while read.len() < MOST_READ_BYTES {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
    }
    let text = String::from_utf8_lossy(&read);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    line.join(" ").chars().take(MOST_TOLD_CHARS).collect()
}
