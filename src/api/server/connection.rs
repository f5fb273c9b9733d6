//! One connection: hyper's state machine, the handler behind it, and the end of both.
//!
//! Owns the task of a connection. Never outlives a limit: whenever somebody asks, it compares its phase with the
//! limits and ends itself. Started by the accept loop.

use super::{
    Handler,
    stream::WatchedStream,
    watch::{Exceeded, Membership},
};
use crate::api::problem::Problem;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    any::Any,
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::net::TcpStream;

/// The largest head of a request, and the most of a body or response that is held per connection.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// How hyper is set up.
pub(super) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // hyper's own limit needs a timer and would arm it per request; the sweeper does the work.
    http.header_read_timeout(None)
        .half_close(false)
        .max_buf_size(MAX_BUFFER_BYTES);
    http
}

/// Serves a connection until either side ends it.
pub(super) async fn run<H: Handler>(
    stream: TcpStream,
    handler: H,
    membership: Membership,
    http: http1::Builder,
) {
    let membership = Arc::new(membership);
    let _count_stray_panic = StrayPanic(Arc::clone(&membership));
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&membership)));
    let link = Arc::new(Link {
        handler,
        membership: Arc::clone(&membership),
    });
    let service = service_fn(move |request| {
        link.membership.called();
        answer(Arc::clone(&link), request)
    });
    let mut connection = pin!(http.serve_connection(io, service));
    let mut known: Option<Waker> = None;
    poll_fn(|context| {
        if !known
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            known = Some(context.waker().clone());
            membership.state.set_waker(context.waker().clone());
        }
        let end = poll_judged(context, &membership, |context| connection.as_mut().poll(context));
        if let Poll::Ready(Err(error)) = &end {
            tracing::debug!(%error, "connection ended");
        }
        end.map(drop)
    })
    .await;
}

/// Polls a connection, unless it is beyond a limit; ends one that rests while it should end.
fn poll_judged(
    context: &mut Context<'_>,
    membership: &Membership,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<hyper::Result<()>>,
) -> Poll<hyper::Result<()>> {
    let Membership { watch, state } = membership;
    let draining = watch.draining();
    if !draining && !state.take_asked() {
        return poll(context);
    }
    if watch.cutting() {
        return Poll::Ready(Ok(()));
    }
    let exceeded = watch.exceeded(state);
    match exceeded {
        None | Some(Exceeded::Idle) => {}
        Some(exceeded) => {
            watch.count(exceeded);
            return Poll::Ready(Ok(()));
        }
    }
    // While this is set, the stream looks for a request that came in at the last moment.
    state.set_last_look(true);
    let polled = poll(context);
    state.set_last_look(false);
    if polled.is_pending() && state.rests() {
        if draining {
            return Poll::Ready(Ok(()));
        }
        if exceeded.is_some() {
            watch.count(Exceeded::Idle);
            return Poll::Ready(Ok(()));
        }
    }
    polled
}

/// What the requests of one connection share.
struct Link<H> {
    handler: H,
    membership: Arc<Membership>,
}

async fn answer<H: Handler>(
    link: Arc<Link<H>>,
    request: Request<Incoming>,
) -> Result<Response<H::Body>, Infallible> {
    let (mut response, survived) = match caught(async { link.handler.handle(request).await }).await {
        Ok(response) => (response, true),
        Err(panic) => {
            link.membership.watch.stats.count_panic();
            tracing::error!(panic = panic_text(&*panic), "a handler panicked");
            let detail = "an internal error, which has been logged";
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail);
            (problem.into_response_of(), false)
        }
    };
    // After a 408 or 413 the rest of the body is not worth waiting for.
    let unread = matches!(
        response.status(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
    );
    if unread || !survived || link.membership.watch.draining() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    link.membership.answered();
    Ok(response)
}

/// Awaits a future; a panic becomes an error.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    // After a panic the future is dropped without being polled again, so nobody sees what it left half done, except
    // through what it shares with others; such state lives behind locks and atomics that stay usable.
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Counts a panic outside a handler's poll, such as in a destructor; the task's edge stops it.
struct StrayPanic(Arc<Membership>);

impl Drop for StrayPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.watch.stats.count_panic();
            tracing::error!("a connection panicked");
        }
    }
}
