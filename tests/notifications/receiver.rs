//! Somebody who is told: a small HTTP server that keeps what it gets and answers as it is told to.
#![allow(unreachable_pub, reason = "the other files of this test use it")]

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use serin::{clock::Clock, domain::Timestamp};
use sha2::Sha256;
use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What is done with a request, given how many came before it.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Taken.
    Yes,
    /// Refused with this status, and these lines of the head.
    No(u16, String),
    /// No answer, ever.
    Hang,
}

impl Answer {
    pub fn no(status: u16) -> Self {
        Self::No(status, String::new())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Whether it was answered with yes.
    pub taken: bool,
    /// When it came.
    pub at: Timestamp,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The transition and what it happened to, as one word.
    pub fn event(&self) -> &str {
        &self.headers["serin-event"]
    }

    pub fn id(&self) -> u64 {
        self.headers["serin-event-id"].parse().unwrap()
    }

    /// The second in the signature, once one of the signatures is that of `secret`.
    pub fn signed_at(&self, secret: &str) -> i64 {
        let header = &self.headers["serin-signature"];
        let mut parts = header.split(',').map(|part| part.split_once('=').unwrap());
        let (t, second) = parts.next().unwrap();
        assert_eq!(t, "t", "{header}");
        let signed = parts.any(|(version, hex)| {
            assert_eq!(version, "v1", "{header}");
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(format!("{second}.{}", self.body).as_bytes());
            mac.verify_slice(&bytes(hex)).is_ok()
        });
        assert!(signed, "not signed with `{secret}`: {self:?}");
        second.parse().unwrap()
    }
}

fn now() -> Timestamp {
    Clock::System.now()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

type Choice = Box<dyn FnMut(&Got) -> Answer + Send>;

struct Shared {
    got: Vec<Got>,
    choice: Choice,
    /// Connections that are never answered, kept open.
    hanging: Vec<Box<dyn Send>>,
}

/// A receiver on a port of its own, for as long as the test runs.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Receiver {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::over(Some)
    }

    /// One whose connections are wrapped, or given up.
    pub fn over<S: Read + Write + Send + 'static>(
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            got: Vec::new(),
            choice: Box::new(|_| Answer::Yes),
            hanging: Vec::new(),
        }));
        let receiver = Self { address, shared };
        let (serving, wrap) = (receiver.clone(), Arc::new(wrap));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (receiver, wrap) = (serving.clone(), Arc::clone(&wrap));
                thread::spawn(move || {
                    if let Some(stream) = stream.ok().and_then(|stream| wrap(stream)) {
                        // A sender that gave up in the middle is of no interest here.
                        let _ = receiver.serve(stream);
                    }
                });
            }
        });
        receiver
    }

    /// Answers like this from now on.
    pub fn answer(&self, choice: impl FnMut(&Got) -> Answer + Send + 'static) {
        self.shared.lock().unwrap().choice = Box::new(choice);
    }

    /// Everything that came so far.
    pub fn got(&self) -> Vec<Got> {
        self.shared.lock().unwrap().got.clone()
    }

    /// What came and was answered with yes.
    pub fn taken(&self) -> Vec<Got> {
        let mut got = self.got();
        got.retain(|got| got.taken);
        got
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn serve<S: Read + Write + Send + 'static>(&self, stream: S) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut got = Got {
            path,
            headers,
            body: String::from_utf8(body).unwrap(),
            taken: false,
            at: now(),
        };
        let mut shared = self.shared.lock().unwrap();
        let answer = (shared.choice)(&got);
        got.taken = matches!(answer, Answer::Yes);
        shared.got.push(got);
        let (status, head) = match answer {
            Answer::Yes => (204, String::new()),
            Answer::No(status, head) => (status, head),
            Answer::Hang => {
                shared.hanging.push(Box::new(reader));
                return Ok(());
            }
        };
        drop(shared);
        let body = if status == 204 { "" } else { "no,\nthank you" };
        let length = if status == 204 {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let stream = reader.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status} Word\r\n{head}{length}connection: close\r\n\r\n{body}"
        )?;
        stream.flush()
    }
}
