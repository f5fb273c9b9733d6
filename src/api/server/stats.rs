//! What the server shell counts about itself.
//!
//! Owns the counters. Never touched once per request: all of them change with connections, panics or the sweeper's
//! tick only, so that two cores do not fight over them. Read by whoever exports metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters and gauges of one or several listeners, shared with whoever exports them.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicU64,
    in_flight: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    accept_errors: AtomicU64,
    cut_header: AtomicU64,
    cut_request: AtomicU64,
    cut_idle: AtomicU64,
    panics: AtomicU64,
}

impl ServerStats {
    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Requests between their handler's call and their last byte, as of the sweeper's last tick.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Connections that were served.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections turned away because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Failed attempts to accept a connection.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    /// Connections cut because a request's head took too long.
    #[must_use]
    pub fn cut_header(&self) -> u64 {
        self.cut_header.load(Relaxed)
    }

    /// Connections cut because a request, or reading its response, took too long.
    #[must_use]
    pub fn cut_request(&self) -> u64 {
        self.cut_request.load(Relaxed)
    }

    /// Connections closed because no further request came.
    #[must_use]
    pub fn cut_idle(&self) -> u64 {
        self.cut_idle.load(Relaxed)
    }

    /// Handlers that panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    pub(super) fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(super) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Moves the gauge by a difference, so that several listeners can share it.
    pub(super) fn move_in_flight(&self, from: u64, to: u64) {
        self.in_flight.fetch_add(to.wrapping_sub(from), Relaxed);
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn count_cut_header(&self) {
        self.cut_header.fetch_add(1, Relaxed);
    }

    pub(super) fn count_cut_request(&self) {
        self.cut_request.fetch_add(1, Relaxed);
    }

    pub(super) fn count_cut_idle(&self) {
        self.cut_idle.fetch_add(1, Relaxed);
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }
}
