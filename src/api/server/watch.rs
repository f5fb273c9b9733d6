//! Who is connected and since when each connection is in its phase.
//!
//! Owns the coarse clock, the list of connections and the judgement that one stayed in a phase too long. Never cuts
//! a connection itself: it wakes the connection's task, which judges again by its own, current phase, so that a
//! request that moved on in the meantime is not hit. Called by the accept loop, the connections and the sweeper.

use super::{Limits, ServerStats};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};

/// How long past the request limit a connection lives, so that the answer to a slow body can leave.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// How long a connection whose last answer was sent waits for the client to close its side.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The sweeper's pace: a share of the shortest limit, within these bounds.
const TICKS_PER_LIMIT: u32 = 20;
const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_TICK: Duration = Duration::from_millis(250);

/// One tick moves the coarse clock by at most this many paces. When the whole process stood still, for example in a
/// suspended machine, clients could not make progress either and that time is not held against them.
const MAX_CATCH_UP: u32 = 4;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Accepted, nothing received.
    Fresh = 0,
    /// Part of a request's head was received.
    Head = 1,
    /// The handler runs.
    Handling = 2,
    /// The handler returned, its response is on the way out.
    Writing = 3,
    /// The response, or what there is of it so far, is out; the next request has not begun.
    Idle = 4,
    /// The last response is out and our side is closed.
    Lingering = 5,
}

const PHASE_BITS: u32 = 3;

impl Phase {
    fn of(word: u64) -> Self {
        match word & ((1 << PHASE_BITS) - 1) {
            0 => Self::Fresh,
            1 => Self::Head,
            2 => Self::Handling,
            3 => Self::Writing,
            4 => Self::Idle,
            _ => Self::Lingering,
        }
    }

    /// Nothing of a request is here: closing loses nothing.
    fn rests(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

/// A limit that a connection exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Header,
    Request,
    Idle,
    Linger,
}

/// The part of a connection that others may look at.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The phase in the low bits, above it when it began, in milliseconds of the coarse clock. Written by the
    /// connection's own task alone, so plain stores are enough.
    word: AtomicU64,
    /// Somebody asks the task to judge itself.
    asked: AtomicBool,
    /// The task is about to close the connection, should nothing have come in. Written by the task alone.
    last_look: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Its place in the list; guarded by the list's lock.
    place: AtomicUsize,
}

impl ConnectionState {
    fn new(now: u64) -> Self {
        Self {
            word: AtomicU64::new(now << PHASE_BITS | Phase::Fresh as u64),
            asked: AtomicBool::new(false),
            last_look: AtomicBool::new(false),
            waker: Mutex::new(None),
            place: AtomicUsize::new(0),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.word.load(Relaxed))
    }

    pub(super) fn rests(&self) -> bool {
        self.phase().rests()
    }

    /// Whether somebody asked since the last call.
    pub(super) fn take_asked(&self) -> bool {
        // The load keeps the common case free of a locked instruction.
        self.asked.load(Relaxed) && self.asked.swap(false, Acquire)
    }

    pub(super) fn last_look(&self) -> bool {
        self.last_look.load(Relaxed)
    }

    pub(super) fn set_last_look(&self, last_look: bool) {
        self.last_look.store(last_look, Relaxed);
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    fn ask(&self) {
        self.asked.store(true, Release);
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

/// Everything the connections of one server share.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) limits: Limits,
    pub(super) stats: Arc<ServerStats>,
    /// The pace of the coarse clock and of the sweeper.
    tick: Duration,
    /// Milliseconds since the start, moved by the sweeper only.
    clock_ms: AtomicU64,
    draining: AtomicBool,
    cutting: AtomicBool,
    members: Mutex<Vec<Arc<ConnectionState>>>,
    left: Notify,
}

impl Watch {
    pub(super) fn new(limits: Limits, stats: Arc<ServerStats>) -> Self {
        let shortest = limits
            .header_timeout
            .min(limits.request_timeout)
            .min(limits.idle_timeout);
        Self {
            tick: (shortest / TICKS_PER_LIMIT).clamp(SHORTEST_TICK, LONGEST_TICK),
            limits,
            stats,
            clock_ms: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            cutting: AtomicBool::new(false),
            members: Mutex::new(Vec::new()),
            left: Notify::new(),
        }
    }

    /// Enters a new connection in the list, unless the list is full.
    pub(super) fn join(self: &Arc<Self>) -> Option<Membership> {
        let mut members = self.members.lock();
        if members.len() >= self.limits.max_connections {
            return None;
        }
        let state = Arc::new(ConnectionState::new(self.now()));
        state.place.store(members.len(), Relaxed);
        members.push(Arc::clone(&state));
        self.stats.connection_opened();
        Some(Membership {
            watch: Arc::clone(self),
            state,
        })
    }

    /// Closes what rests and lets the rest finish; says how many connections had something in flight, and how many
    /// had not.
    pub(super) fn begin_drain(&self) -> (usize, usize) {
        self.draining.store(true, Release);
        let members = self.members.lock().clone();
        let resting = members.iter().filter(|state| state.phase().rests()).count();
        let lingering = members
            .iter()
            .filter(|state| state.phase() == Phase::Lingering)
            .count();
        members.iter().for_each(|state| state.ask());
        (members.len() - resting - lingering, resting)
    }

    /// Ends all connections, whatever they are doing; says how many had not had their last answer.
    pub(super) fn cut_all(&self) -> usize {
        self.cutting.store(true, Release);
        let members = self.members.lock().clone();
        members.iter().for_each(|state| state.ask());
        members
            .iter()
            .filter(|state| state.phase() != Phase::Lingering)
            .count()
    }

    /// Completes when no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.members.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Acquire)
    }

    pub(super) fn cutting(&self) -> bool {
        self.cutting.load(Acquire)
    }

    fn now(&self) -> u64 {
        self.clock_ms.load(Relaxed)
    }

    /// The limit that a connection in this state is beyond.
    pub(super) fn exceeded(&self, state: &ConnectionState) -> Option<Exceeded> {
        let word = state.word.load(Relaxed);
        let (limit, exceeded) = match Phase::of(word) {
            Phase::Fresh | Phase::Head => (self.limits.header_timeout, Exceeded::Header),
            Phase::Handling | Phase::Writing => (
                self.limits.request_timeout.saturating_add(ANSWER_GRACE),
                Exceeded::Request,
            ),
            Phase::Idle => (self.limits.idle_timeout, Exceeded::Idle),
            Phase::Lingering => (LINGER_TIMEOUT, Exceeded::Linger),
        };
        let spent = Duration::from_millis(self.now().saturating_sub(word >> PHASE_BITS));
        // A phase may have begun almost a tick after the time it is noted with.
        (spent > limit.saturating_add(self.tick)).then_some(exceeded)
    }

    pub(super) fn count(&self, exceeded: Exceeded) {
        match exceeded {
            Exceeded::Header => self.stats.count_cut_header(),
            Exceeded::Request => self.stats.count_cut_request(),
            Exceeded::Idle => self.stats.count_cut_idle(),
            Exceeded::Linger => {}
        }
    }

    /// Asks those that are beyond a limit; says how many requests are in flight.
    fn look_around(&self) -> u64 {
        let mut in_flight = 0;
        // Waking takes locks of the runtime, so it happens after ours is free again.
        let overdue: Vec<Arc<ConnectionState>> = self
            .members
            .lock()
            .iter()
            .filter(|state| {
                in_flight += u64::from(matches!(state.phase(), Phase::Handling | Phase::Writing));
                self.exceeded(state).is_some()
            })
            .cloned()
            .collect();
        overdue.iter().for_each(|state| state.ask());
        in_flight
    }
}

/// Moves the coarse clock and looks for connections beyond a limit, forever.
pub(super) async fn sweep(watch: Arc<Watch>) {
    let tick = watch.tick;
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gauge = InFlightGauge {
        stats: Arc::clone(&watch.stats),
        shown: 0,
    };
    let mut passed = Duration::ZERO;
    let mut last = Instant::now();
    loop {
        interval.tick().await;
        let now = Instant::now();
        passed += now.duration_since(last).min(tick * MAX_CATCH_UP);
        last = now;
        watch
            .clock_ms
            .store(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX), Relaxed);
        gauge.show(watch.look_around());
    }
}

/// This server's share of the gauge of requests in flight; nothing stays behind when the sweeper ends.
struct InFlightGauge {
    stats: Arc<ServerStats>,
    shown: u64,
}

impl InFlightGauge {
    fn show(&mut self, in_flight: u64) {
        if in_flight != self.shown {
            self.stats.move_in_flight(self.shown, in_flight);
            self.shown = in_flight;
        }
    }
}

impl Drop for InFlightGauge {
    fn drop(&mut self) {
        self.show(0);
    }
}

/// A connection's place in the list, given back when dropped. The phases are noted through it, each by the thread
/// that runs the connection's task.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) watch: Arc<Watch>,
    pub(super) state: Arc<ConnectionState>,
}

impl Membership {
    fn enter(&self, phase: Phase) {
        self.state
            .word
            .store(self.watch.now() << PHASE_BITS | phase as u64, Relaxed);
    }

    /// Bytes arrived: between requests they begin one; within a request they change nothing.
    pub(super) fn received(&self) {
        if self.state.rests() {
            self.enter(Phase::Head);
        }
    }

    /// The handler is called.
    pub(super) fn called(&self) {
        self.enter(Phase::Handling);
    }

    /// The handler returned; the limit still runs from its call.
    pub(super) fn answered(&self) {
        let since = self.state.word.load(Relaxed) >> PHASE_BITS;
        self.state
            .word
            .store(since << PHASE_BITS | Phase::Writing as u64, Relaxed);
    }

    /// Bytes are being written. An early flush may have made a connection look idle whose response is not out yet.
    pub(super) fn writes(&self) {
        if self.state.phase() == Phase::Idle {
            self.enter(Phase::Writing);
        }
    }

    /// Everything written so far is with the kernel.
    pub(super) fn flushed(&self) {
        if self.state.phase() == Phase::Writing {
            self.enter(Phase::Idle);
        }
    }

    /// Our side is closed.
    pub(super) fn lingers(&self) {
        self.enter(Phase::Lingering);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut members = self.watch.members.lock();
        let place = self.state.place.load(Relaxed);
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            moved.place.store(place, Relaxed);
        }
        let empty = members.is_empty();
        drop(members);
        self.watch.stats.connection_closed();
        if empty {
            self.watch.left.notify_waiters();
        }
    }
}
