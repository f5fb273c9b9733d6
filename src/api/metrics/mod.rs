//! What Prometheus scrapes.
//!
//! [`Metrics`] owns what has to be counted where it happens: histograms, reloads, freezes, responses. Everything that
//! others already know is read from them when a scrape comes ([`Snapshot`]), into families made for that one answer:
//! so what ended leaves no stale series behind, and a restarted process shows every state at once. Never has a unit,
//! tenant, receipt or request id as a label. `app` makes it and hands its parts out; the control plane's API shows
//! it.

mod access;
mod families;
mod notices;
mod reporting;
mod rollouts;
mod snapshot;

pub use access::Refusal;
pub use snapshot::{Assessed, Snapshot};

use crate::{
    api::server::ServerStats,
    collector::CollectorMetrics,
    control_plane::{Subscriber, View},
    domain::{experiment::FreezeCause, guardrail::OUTCOME_MISSING, id::ExperimentId},
    guardrails::assess,
    notices::status::Status,
};
use families::{Families, Labels};
use hyper::StatusCode;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const DECISION_BUCKETS: [f64; 13] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2,
];
const COMMIT_BUCKETS: [f64; 13] = [
    5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 5.0,
];
const FREEZE_BUCKETS: [f64; 13] = [
    1e-3, 2e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What the process counts about itself; share it with an [`Arc`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decision_duration: Histogram,
    commit_duration: Histogram,
    time_to_freeze: Histogram,
    reloads: ReloadMetrics,
    auth_reloads: ReloadMetrics,
    refusals: access::Refusals,
    responses: ResponseCounts,
    freezes: Mutex<Freezes>,
    server: OnceLock<(Arc<ServerStats>, usize)>,
    notices: OnceLock<Arc<[Arc<Status>]>>,
}

impl Metrics {
    /// Registers everything, at zero.
    ///
    /// # Errors
    /// Only when two series of this file share a name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, buckets: [f64; 13]| {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            decision_duration: histogram(
                "serin_decision_duration_seconds",
                "Time a decision took inside the process; one in eight is timed.",
                DECISION_BUCKETS,
            )?,
            commit_duration: histogram(
                "serin_store_commit_duration_seconds",
                "Time a commit of outcomes to the store took.",
                COMMIT_BUCKETS,
            )?,
            time_to_freeze: histogram(
                "serin_time_to_freeze_seconds",
                "Time from the outcome that crossed a limit to the table in which everyone gets control.",
                FREEZE_BUCKETS,
            )?,
            reloads: ReloadMetrics::register(
                &registry,
                (
                    "serin_config_reloads_total",
                    "Sets of changed files, by how they were received.",
                ),
                (
                    "serin_config_last_reload_successful",
                    "Whether the last set of files was good: 1, or 0 while an older one stays in force.",
                ),
            )?,
            auth_reloads: ReloadMetrics::register(
                &registry,
                (
                    "serin_auth_reloads_total",
                    "Changes of the settings file, by how its tokens were received.",
                ),
                (
                    "serin_auth_last_reload_successful",
                    "Whether the tokens last written were good: 1, or 0 while older ones stay in force.",
                ),
            )?,
            refusals: access::Refusals::register(&registry)?,
            responses: ResponseCounts::default(),
            freezes: Mutex::default(),
            server: OnceLock::new(),
            notices: OnceLock::new(),
            registry,
        })
    }

    /// The histograms the collector fills.
    #[must_use]
    pub fn collector(&self) -> CollectorMetrics {
        CollectorMetrics {
            decision_duration: self.decision_duration.clone(),
            commit_duration: self.commit_duration.clone(),
        }
    }

    /// From the outcome that crossed a limit to the swapped table, in seconds; whoever freezes observes it.
    #[must_use]
    pub fn time_to_freeze(&self) -> Histogram {
        self.time_to_freeze.clone()
    }

    /// For whoever applies changed files.
    #[must_use]
    pub fn reloads(&self) -> ReloadMetrics {
        self.reloads.clone()
    }

    /// For whoever applies changed tokens.
    #[must_use]
    pub fn auth_reloads(&self) -> ReloadMetrics {
        self.auth_reloads.clone()
    }

    /// Counts a call of the control plane that was not let in.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals.count(refusal);
    }

    /// For the handlers of the data plane.
    #[must_use]
    pub fn responses(&self) -> ResponseCounts {
        self.responses.clone()
    }

    /// Shows the connections of the data plane's listener, and how many it admits. The first call counts.
    pub fn show_server(&self, stats: Arc<ServerStats>, max_connections: usize) {
        let _ = self.server.set((stats, max_connections));
    }

    /// Shows how those who are told are doing. The first call counts.
    pub fn show_notices(&self, statuses: Arc<[Arc<Status>]>) {
        let _ = self.notices.set(statuses);
    }

    /// Counts freezes from now on, once the control plane has it. What was frozen before is in the first view and is
    /// not counted.
    #[must_use]
    pub fn subscriber(self: &Arc<Self>) -> Subscriber {
        let metrics = Arc::clone(self);
        Box::new(move |view: &View| metrics.freezes.lock().see(view))
    }

    /// The answer to a scrape.
    ///
    /// # Errors
    /// When a series cannot be written, which its tests rule out.
    pub fn render(&self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let mut families = Families::default();
        snapshot.add_to(&mut families)?;
        self.add_own(&mut families, snapshot)?;
        if let Some(statuses) = self.notices.get() {
            notices::add_to(&mut families, statuses, snapshot.view.catalog.revision)?;
        }
        let mut all = self.registry.gather();
        all.extend(families.into_inner());
        // A family without a series cannot be written.
        all.retain(|family| !family.get_metric().is_empty());
        all.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&all)
    }

    fn add_own(&self, families: &mut Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
        let labels: Labels<'_> = &["experiment", "reason"];
        let freezes = families.counter(
            "serin_freezes_total",
            "Freezes since the process began, by what caused them.",
            labels,
        )?;
        // Every cause that is possible is there from the start, or the first freeze would be no increase.
        for (id, experiment) in &snapshot.view.catalog.experiments {
            let declared = &experiment.spec.guardrails;
            let guardrails = (0..declared.len()).map(|index| assess::name(declared, index));
            let watched: &[&str] = if experiment.depends_on_outcomes() {
                &["manual", "blind", "deadline", OUTCOME_MISSING]
            } else {
                &["manual"]
            };
            for reason in guardrails.chain(watched.iter().map(|reason| (*reason).to_owned())) {
                freezes.add(&[id.as_str(), &reason], 0);
            }
        }
        for ((id, reason), count) in &self.freezes.lock().counts {
            freezes.add(&[id.as_str(), reason], *count);
        }
        let responses = families.counter(
            "serin_http_requests_total",
            "Requests answered on the data plane, by status.",
            &["code"],
        )?;
        for (code, count) in self.responses.counts() {
            responses.add(&[&code.to_string()], count);
        }
        let Some((stats, limit)) = self.server.get() else {
            return Ok(());
        };
        families.plain_gauge(
            "serin_connections",
            "Connections open on the data plane.",
            approximate(stats.connections()),
        )?;
        families.plain_gauge(
            "serin_connections_limit",
            "Connections the data plane admits; one more is answered 503 and closed.",
            approximate(*limit as u64),
        )?;
        families.plain_counter(
            "serin_connections_refused_total",
            "Connections turned away because there were too many.",
            stats.refused(),
        )?;
        let cut = families.counter(
            "serin_connections_cut_total",
            "Connections ended by a time limit.",
            &["limit"],
        )?;
        cut.add(&["header"], stats.cut_header());
        cut.add(&["request"], stats.cut_request());
        cut.add(&["idle"], stats.cut_idle());
        families.plain_counter(
            "serin_handler_panics_total",
            "Requests of the data plane that ended in an internal error.",
            stats.panics(),
        )
    }
}

/// The count as Prometheus keeps it.
fn approximate(count: u64) -> f64 {
    count as f64
}

/// How a changed set of files was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// It is in force.
    Applied,
    /// It has a mistake; the last good set stays.
    Rejected,
    /// It says what was in force already.
    Unchanged,
}

impl ReloadResult {
    const ALL: [Self; 3] = [Self::Applied, Self::Rejected, Self::Unchanged];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Counts reloads of files; clones count together.
#[derive(Debug, Clone)]
pub struct ReloadMetrics {
    results: IntCounterVec,
    last_successful: IntGauge,
}

impl ReloadMetrics {
    /// Takes the name and the help of the counter and of the gauge.
    fn register(
        registry: &Registry,
        total: (&str, &str),
        last: (&str, &str),
    ) -> Result<Self, prometheus::Error> {
        let results = IntCounterVec::new(Opts::new(total.0, total.1), &["result"])?;
        let last_successful = IntGauge::new(last.0, last.1)?;
        for result in ReloadResult::ALL {
            results.with_label_values(&[result.as_str()]);
        }
        last_successful.set(1);
        registry.register(Box::new(results.clone()))?;
        registry.register(Box::new(last_successful.clone()))?;
        Ok(Self {
            results,
            last_successful,
        })
    }

    /// Counts a reload.
    pub fn record(&self, result: ReloadResult) {
        self.results.with_label_values(&[result.as_str()]).inc();
        self.last_successful
            .set(i64::from(result != ReloadResult::Rejected));
    }
}

/// The first status that is counted by itself; HTTP has none below.
const FIRST_STATUS: u16 = 100;
/// The statuses 100 … 599.
const STATUSES: usize = 500;

/// Counters that one thread has for itself, so that threads do not fight over a cache line.
const LANES: usize = 16;

/// Counts responses by status; clones count together. One addition per response, on a counter that other threads
/// rarely touch.
#[derive(Debug, Clone)]
pub struct ResponseCounts(Arc<[Box<[AtomicU64]>; LANES]>);

impl Default for ResponseCounts {
    fn default() -> Self {
        let lane = || (0..STATUSES).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(std::array::from_fn(|_| lane())))
    }
}

impl ResponseCounts {
    /// Counts a response.
    #[inline]
    pub fn count(&self, status: StatusCode) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LANE: usize = THREADS.fetch_add(1, Relaxed) % LANES;
        }
        let place = usize::from(status.as_u16().saturating_sub(FIRST_STATUS));
        if let Some(count) = self.0[LANE.with(|lane| *lane)].get(place) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn counts(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let sum = |place: usize| self.0.iter().map(|lane| lane[place].load(Relaxed)).sum();
        let counts = (0..STATUSES).map(sum);
        (FIRST_STATUS..).zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// Freezes seen in the views so far.
#[derive(Debug, Default)]
struct Freezes {
    begun: bool,
    frozen: BTreeSet<ExperimentId>,
    counts: BTreeMap<(ExperimentId, String), u64>,
}

impl Freezes {
    /// A freeze counts when an experiment is frozen that was not before: its log entry's number may still change
    /// when the store did not take it at first.
    fn see(&mut self, view: &View) {
        let frozen = |id: &ExperimentId, cause: &FreezeCause| (id.clone(), cause.label().to_owned());
        let mut now = BTreeSet::new();
        for (id, experiment) in &view.catalog.experiments {
            let Some(freeze) = &experiment.freeze else {
                continue;
            };
            if self.begun && !self.frozen.contains(id) {
                *self.counts.entry(frozen(id, &freeze.cause)).or_default() += 1;
            }
            now.insert(id.clone());
        }
        self.begun = true;
        self.frozen = now;
    }
}

/// A whole number of seconds with its fraction.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
