//! Turning away the connections that are too many.
//!
//! Owns the short-lived tasks that do so, at most [`MAX_GOODBYES`] at a time. Never parses a request. Called by the
//! accept loop.

use crate::api::problem::Problem;
use bytes::Bytes;
use hyper::StatusCode;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

/// Turned away politely at a time; beyond that, connections are dropped without a word.
const MAX_GOODBYES: usize = 256;

/// Clients may trip over an answer that is there before their request, so the request gets this long to show up.
const FIRST_BYTE_PATIENCE: Duration = Duration::from_millis(100);

/// A goodbye ends after this long, whatever the client does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of a request that will not be served, so many bytes are read, lest the kernel resets the connection and takes
/// the answer along.
const MAX_READ_BYTES: usize = 256 * 1024;

pub(super) struct Goodbyes {
    permits: Arc<Semaphore>,
    answer: Bytes,
}

impl Default for Goodbyes {
    fn default() -> Self {
        let detail = "the server has as many connections as it may have";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", detail);
        let body = problem.to_json();
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
             cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len(),
        );
        Self {
            permits: Arc::new(Semaphore::new(MAX_GOODBYES)),
            answer: Bytes::from(answer),
        }
    }
}

impl Goodbyes {
    pub(super) fn turn_away(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return;
        };
        let answer = self.answer.clone();
        tokio::spawn(async move {
            // Neither a slow nor a broken client is of interest any more.
            let _ = timeout(PATIENCE, say(stream, &answer)).await;
            drop(permit);
        });
    }
}

async fn say(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    let _ = timeout(FIRST_BYTE_PATIENCE, stream.readable()).await;
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let mut chunk = [0; 4096];
    let mut read = 0;
    while read < MAX_READ_BYTES {
        match stream.read(&mut chunk).await? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}
