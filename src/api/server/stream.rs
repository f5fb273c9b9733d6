//! The socket as hyper sees it, noting each change of phase on the way.
//!
//! Owns the socket and its last words: a side that closes while the client still sends would make the kernel reset
//! the connection, and the client might lose the answer. So after our side is closed, what still arrives is read
//! and dropped, within bounds. Never interprets a byte. Called by hyper, through its adapter for tokio.

use super::watch::{Membership, Phase};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes dropped after our side is closed: enough for a body somewhat above the cap, so that clients which only
/// read after they sent everything see their answer.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Read at once while dropping.
const LINGER_CHUNK: usize = 8 * 1024;

/// Reads per turn while dropping, so that a fast sender does not hold the thread.
const LINGER_TURN: usize = 16;

/// A head and body up to this long together are copied into one piece, which costs less than having the kernel
/// gather them.
const JOINED_BYTES: usize = 1024;

pub(super) struct WatchedStream {
    stream: TcpStream,
    membership: Arc<Membership>,
    /// The client closed its side.
    ended: bool,
    lingered: usize,
}

impl WatchedStream {
    pub(super) fn new(stream: TcpStream, membership: Arc<Membership>) -> Self {
        Self {
            stream,
            membership,
            ended: false,
            lingered: 0,
        }
    }

    /// Drops what the client still sends until it closes its side.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; LINGER_CHUNK];
        for _ in 0..LINGER_TURN {
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.lingered += buffer.filled().len();
            if buffer.filled().is_empty() || self.lingered > LINGER_BYTES {
                return Poll::Ready(Ok(()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let mut polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if polled.is_pending() && this.membership.state.last_look() {
            polled = read_past_the_runtime(&this.stream, buffer);
        }
        ready!(polled)?;
        if buffer.filled().len() > before {
            this.membership.received();
        } else {
            this.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.membership.writes();
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.membership.writes();
        let mut joined = [0; JOINED_BYTES];
        match join(slices, &mut joined) {
            Some(bytes) => Pin::new(&mut this.stream).poll_write(context, bytes),
            None => Pin::new(&mut this.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        this.membership.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.membership.state.phase() != Phase::Lingering {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            this.membership.lingers();
        }
        this.poll_linger(context)
    }
}

/// Copies the slices into one, if they are that short together.
fn join<'a>(slices: &[io::IoSlice<'_>], joined: &'a mut [u8; JOINED_BYTES]) -> Option<&'a [u8]> {
    let mut length = 0;
    for slice in slices {
        joined
            .get_mut(length..length + slice.len())?
            .copy_from_slice(slice);
        length += slice.len();
    }
    Some(&joined[..length])
}

/// Asks the kernel itself for bytes. The runtime learns of arrived bytes only when it next looks at its sockets, and
/// a connection about to be closed as idle must not lose a request that is already here.
#[cfg(unix)]
fn read_past_the_runtime(stream: &TcpStream, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    use std::{io::Read, os::fd::AsFd};
    // A duplicate shares the socket and its non-blocking mode. Without a free descriptor nothing can be asked.
    let Ok(duplicate) = stream.as_fd().try_clone_to_owned() else {
        return Poll::Pending;
    };
    match std::net::TcpStream::from(duplicate).read(buffer.initialize_unfilled()) {
        Ok(read) => {
            buffer.advance(read);
            Poll::Ready(Ok(()))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

#[cfg(not(unix))]
fn read_past_the_runtime(_: &TcpStream, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    Poll::Pending
}
