//! The server shell of the data plane: an accept loop over hyper's HTTP/1 connections.
//!
//! Owns the listener, every open connection, the time limits, the connection cap and the drain. Never looks at a
//! path, a header or a body on a handler's behalf, and never arms a timer per request: a connection notes when it
//! changed from one phase to the next (`watch`), and one sweeper task looks for those that stayed too long.
//! Called by `app`, once per listener.

mod body;
mod connection;
mod goodbye;
mod stats;
mod stream;
mod watch;

pub use body::{BodyError, read_body};
pub use stats::ServerStats;

use bytes::Bytes;
use goodbye::Goodbyes;
use hyper::{Request, Response, body::Incoming};
use std::{error::Error, future::Future, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use watch::Watch;

/// What most responses carry: one buffer, written with its head in one system call.
pub type Body = http_body_util::Full<Bytes>;

/// Pause after the system refused to hand out a connection, typically because descriptors ran out: time for some
/// connections to end, short enough that nobody notices once they did.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections taken from the kernel's queue after the drain began, so that a client which was already connected is
/// answered rather than reset. Bounded because new ones keep arriving until the listener is closed.
const LAST_ACCEPTS: usize = 1024;

/// How long connections that were told to end at once may take to do so, on top of the drain limit.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

/// Bounds on what clients may take. Every time limit is kept to within a tenth of the shortest of them (at
/// least 20 ms, at most half a second), never cutting early.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; one more is answered 503 and closed.
    pub max_connections: usize,
    /// From the first byte of a request to the handler's call, and from accept to the first byte of the first
    /// request. Then the connection is cut.
    pub header_timeout: Duration,
    /// From the handler's call until the response has been handed to the kernel. Handlers pass the same limit to
    /// [`read_body`], so a slow body is answered 408; the connection is cut half a second later than this limit
    /// to let that answer out.
    pub request_timeout: Duration,
    /// Between a response and the first byte of the next request. Then the connection is closed.
    pub idle_timeout: Duration,
    /// How long requests in flight may take to finish once a shutdown was asked for.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Answers requests. Cloned once per connection, so it should be cheap to clone, typically an [`Arc`].
pub trait Handler: Clone + Send + Sync + 'static {
    /// What its responses carry: [`Body`], unless there are some that never end. Between two pieces of a body whose
    /// earlier ones are with the kernel the connection counts as idle, so a body that comes in pieces must have one
    /// more often than [`Limits::idle_timeout`]; a client that does not take a piece is cut after
    /// [`Limits::request_timeout`]. When the server drains, a body that has nothing more to say at once is cut off,
    /// so it had better know and end by itself.
    type Body: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + From<Bytes>
        + Send
        + 'static;

    /// Answers one request. Must not block the thread. Dropped unfinished when the client hangs up or its time is
    /// over. A panic is answered 500 and closes the connection.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections with a request under way, or one arriving, when the drain began.
    pub in_flight: usize,
    /// Connections that waited for a next request when the drain began, and so were closed at once.
    pub idle: usize,
    /// Connections cut because they were still open when the drain limit was reached; 0 for a clean drain.
    pub cut: usize,
    /// From the request to shut down until the last connection ended.
    pub took: Duration,
}

/// Accepts connections from `listener` and serves them until `shutdown` completes, then drains: the listener closes,
/// idle connections are closed, requests in flight are answered with `Connection: close`, and what is left after
/// [`Limits::drain_timeout`] is cut.
///
/// Must run inside a tokio runtime with time and IO. Dropping the future cuts all connections.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
    stats: Arc<ServerStats>,
) -> DrainReport {
    let server = Server::start(handler, limits, stats);
    let mut shutdown = pin!(shutdown);
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                server.admit(stream);
            }
            Err(error) if concerns_one_connection(&error) => server.watch.stats.count_accept_error(),
            Err(error) => {
                server.watch.stats.count_accept_error();
                if !failing {
                    failing = true;
                    tracing::warn!(%error, "cannot accept connections, trying again");
                }
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    if let Ok(listener) = listener.into_std() {
        server.admit_waiting(&listener);
    }
    server.drain().await
}

/// Raises the soft limit of open descriptors to the hard one, since every connection takes one, and returns the
/// limit that now holds.
///
/// # Errors
///
/// When the system refuses; the old limit then still holds.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// The client went away between its handshake and our accept; the listener itself is fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// A running server; what it started ends with it.
struct Server<H> {
    handler: H,
    watch: Arc<Watch>,
    goodbyes: Goodbyes,
    http: hyper::server::conn::http1::Builder,
    sweeper: JoinHandle<()>,
}

impl<H: Handler> Server<H> {
    fn start(handler: H, limits: Limits, stats: Arc<ServerStats>) -> Self {
        let watch = Arc::new(Watch::new(limits, stats));
        let sweeper = tokio::spawn(watch::sweep(Arc::clone(&watch)));
        Self {
            handler,
            watch,
            goodbyes: Goodbyes::default(),
            http: connection::http(),
            sweeper,
        }
    }

    /// Serves a new connection, or turns it away when there are too many.
    fn admit(&self, stream: TcpStream) {
        let stats = &self.watch.stats;
        let Some(membership) = self.watch.join() else {
            stats.count_refused();
            self.goodbyes.turn_away(stream);
            return;
        };
        stats.count_accepted();
        // Responses are written whole, so waiting to fill a segment could only delay them. Where the option cannot
        // be set the socket is already dead, and the first read says so.
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection::run(
            stream,
            self.handler.clone(),
            membership,
            self.http.clone(),
        ));
    }

    /// Serves those whom the kernel already connected. Asks the kernel itself, because the runtime learns of them
    /// only when it next looks at its sockets.
    fn admit_waiting(&self, listener: &std::net::TcpListener) {
        for _ in 0..LAST_ACCEPTS {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.admit(stream);
            }
        }
    }

    async fn drain(self) -> DrainReport {
        let began = Instant::now();
        let (in_flight, idle) = self.watch.begin_drain();
        tracing::info!(in_flight, idle, "draining connections");
        let limit = self.watch.limits.drain_timeout;
        let mut cut = 0;
        if tokio::time::timeout(limit, self.watch.emptied()).await.is_err() {
            cut = self.watch.cut_all();
            tracing::warn!(cut, "connections still open at the drain limit were cut");
            // Ending a task takes a poll; one whose handler blocks its thread cannot be waited for.
            let _ = tokio::time::timeout(CUT_PATIENCE, self.watch.emptied()).await;
        }
        DrainReport {
            in_flight,
            idle,
            cut,
            took: began.elapsed(),
        }
    }
}

impl<H> Drop for Server<H> {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.watch.cut_all();
    }
}
