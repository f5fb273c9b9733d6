//! Reading a request's body within a bound of size and time.
//!
//! Owns the way from hyper's frames to one buffer. Never holds more than the cap, and never arms a timer for a body
//! that is already there. Called by handlers.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is, or says it is, larger than the cap.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// It broke off, or its framing is broken.
    #[error("the body is incomplete or badly framed")]
    Disconnected,
}

/// Reads the whole body: at most `cap` bytes, at most for `deadline` from now.
///
/// A body that says it is larger is refused without reading, so a client that waits for `100 Continue` need not
/// send it. A body that arrived in one piece is handed out as it is, without a copy.
///
/// # Errors
///
/// See [`BodyError`]; [`Problem`](crate::api::problem::Problem) knows the response to each.
pub async fn read_body(request_body: Incoming, cap: usize, deadline: Duration) -> Result<Bytes, BodyError> {
    if request_body.size_hint().lower() > cap as u64 {
        return Err(BodyError::TooLarge);
    }
    if request_body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut gathered = pin!(gather(request_body, cap));
    match poll_fn(|context| Poll::Ready(gathered.as_mut().poll(context))).await {
        Poll::Ready(body) => body,
        Poll::Pending => tokio::time::timeout(deadline, gathered)
            .await
            .unwrap_or(Err(BodyError::Timeout)),
    }
}

async fn gather(mut body: Incoming, cap: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Disconnected)?.into_data() else {
            continue; // Trailers say nothing that anybody here reads.
        };
        if data.len() > cap - first.len() - joined.len() {
            return Err(BodyError::TooLarge);
        }
        if joined.is_empty() && first.is_empty() {
            first = data;
        } else {
            // Grows with what arrived, not with what was announced: announcing costs a client nothing.
            if joined.is_empty() {
                joined.reserve(first.len() + data.len());
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
