//! The control log as it grows: server-sent events.
//!
//! A stream begins after the entry its reader saw last, with what the log has, and goes on with what is appended. It is
//! always the log that counts: whoever falls behind what is announced is served from there again, so no entry is
//! missed and none comes twice. A stream has a bounded buffer, and a reader that does not empty it is cut.

use super::{Shared, audit::EntryView, blocking, refusal::store_failed};
use crate::{
    api::problem::Problem,
    control_plane::ControlPlane,
    domain::{event::Recorded, id::Revision},
    notices::transition,
};
use axum::{
    Extension,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::{
    StatusCode,
    body::{Body as HttpBody, Frame},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::Deserialize;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch},
    time::{sleep, timeout},
};
use utoipa::IntoParams;

/// Streams at a time; one more is answered 503.
const MOST_STREAMS: usize = 64;
/// A comment tells proxies and readers that the stream lives; more often than the shell's idle limit.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is cut.
const SLOWEST: Duration = Duration::from_secs(30);
/// Entries that wait for a reader, besides what the kernel holds.
const BUFFER: usize = 4;
/// Entries read from the log at a time: few, since a version of a prompt can be large and reading holds up writers.
const READ_CHUNK: usize = 8;
/// Asks readers to come back after two seconds when a stream ends, and shows them at once that it has begun.
const OPENING: &str = "retry: 2000\n: the control log\n\n";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Understood by nginx, which else would hold events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the streams of one listener share.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    permits: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

impl Streams {
    /// Streams that end when `draining` says so.
    pub(super) fn new(draining: watch::Receiver<bool>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(MOST_STREAMS)),
            draining,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The entry that was seen last; without it the stream begins with the next one. `Last-Event-ID` wins.
    after: Option<u64>,
}

/// The control log as it grows
///
/// Server-sent events: `id` is the entry's number, `event` says what happened, `data` is the entry as in the audit log.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "events", tag = "system",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "The entry that was seen last")),
    responses((status = 200, description = "A stream without an end", content_type = "text/event-stream", body = String)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    Extension(streams): Extension<Streams>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let refused = |detail| Problem::new(StatusCode::BAD_REQUEST, "BAD_QUERY", detail);
    let Query(wanted) = wanted.map_err(|error| refused(error.body_text()))?;
    let after = match headers.get(LAST_EVENT_ID) {
        // It wins, because a reader that comes back repeats the address it began with.
        Some(last) => Some(
            last.to_str()
                .ok()
                .and_then(|last| last.parse().ok())
                .ok_or_else(|| {
                    refused(
                        "`Last-Event-ID` must be the `id` of an event, which is a whole number".to_owned(),
                    )
                })?,
        ),
        None => wanted.after,
    };
    let Ok(permit) = Arc::clone(&streams.permits).try_acquire_owned() else {
        let detail = format!("there are {MOST_STREAMS} streams already; close one, or read /api/v1/audit");
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS", detail);
        return Ok(([(RETRY_AFTER, HeaderValue::from_static("15"))], problem).into_response());
    };
    let plane = Arc::clone(&shared.state.plane);
    // Listening begins before the end of the log is looked up, so nothing falls in between.
    let news = plane.events();
    let end = plane.view().catalog.revision;
    let (chunks, buffer) = mpsc::channel(BUFFER);
    let feed = Feed {
        plane,
        news,
        // A number from a log that was begun anew since then says nothing.
        through: after.map_or(end, |after| Revision(after).min(end)),
        chunks,
        draining: streams.draining.clone(),
        _permit: permit,
    };
    tokio::spawn(feed.run());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let stream = Stream {
        buffer,
        draining: streams.draining,
    };
    Ok((headers, Body::new(stream)).into_response())
}

/// The body: what the feed has put in the buffer, until the server drains.
struct Stream {
    buffer: mpsc::Receiver<Bytes>,
    draining: watch::Receiver<bool>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        // The shell wakes every connection when it drains.
        if *this.draining.borrow() {
            return Poll::Ready(None);
        }
        let chunk = this.buffer.poll_recv(context);
        chunk.map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Why a stream ends.
struct Ended;

/// Fills one stream's buffer.
struct Feed {
    plane: Arc<ControlPlane>,
    news: broadcast::Receiver<Arc<Recorded>>,
    /// The last entry it has put in.
    through: Revision,
    chunks: mpsc::Sender<Bytes>,
    draining: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn run(mut self) {
        if self.put(Bytes::from_static(OPENING.as_bytes())).await.is_err() {
            return;
        }
        while self.catch_up().await.is_ok() && self.go_along().await.is_ok() {}
    }

    /// Puts in all that the log has.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let (plane, after) = (Arc::clone(&self.plane), self.through);
            let read = blocking(move || {
                plane
                    .history(after, READ_CHUNK)
                    .map_err(|error| store_failed(&error))
            });
            let entries = read.await.map_err(|problem| {
                // The reader comes back and goes on after the last entry it has.
                tracing::warn!(
                    problem = problem.detail,
                    "a stream of events ends: the log cannot be read"
                );
                Ended
            })?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in &entries {
                self.tell(entry).await?;
            }
        }
    }

    /// Puts in what is announced, until something is missing.
    async fn go_along(&mut self) -> Result<(), Ended> {
        loop {
            let heard = tokio::select! {
                () = self.chunks.closed() => return Err(Ended),
                () = async { drop(self.draining.wait_for(|draining| *draining).await) } => return Err(Ended),
                heard = self.news.recv() => Some(heard),
                () = sleep(HEARTBEAT) => None,
            };
            let Some(heard) = heard else {
                self.put(Bytes::from_static(b":\n\n")).await?;
                // What another process appended is not announced.
                if self.plane.view().catalog.revision > self.through {
                    return Ok(());
                }
                continue;
            };
            match heard {
                Ok(entry) if entry.revision <= self.through => {}
                Ok(entry) if entry.revision.0 == self.through.0 + 1 => self.tell(&entry).await?,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Ok(()),
                Err(broadcast::error::RecvError::Closed) => return Err(Ended),
            }
        }
    }

    async fn tell(&mut self, entry: &Recorded) -> Result<(), Ended> {
        let event_type = transition::type_of(&entry.event);
        let name = transition::of(&event_type).unwrap_or(&event_type);
        // Without line ends, as JSON is written here, it is one line of data.
        let data = serde_json::to_string(&EntryView::of(entry)).map_err(|error| {
            tracing::error!(%error, revision = %entry.revision, "an entry of the log cannot be written as JSON");
            Ended
        })?;
        let event = format!("id: {}\nevent: {name}\ndata: {data}\n\n", entry.revision);
        self.put(Bytes::from(event)).await?;
        self.through = entry.revision;
        Ok(())
    }

    async fn put(&self, chunk: Bytes) -> Result<(), Ended> {
        match timeout(SLOWEST, self.chunks.send(chunk)).await {
            Ok(sent) => sent.map_err(|_| Ended),
            Err(_) => {
                tracing::debug!("a stream of events was cut: its reader is too slow");
                Err(Ended)
            }
        }
    }
}
