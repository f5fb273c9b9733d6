//! One Alertmanager, and the alerts that are so now.
//!
//! Nothing is kept: alerts follow from the catalog in force, so a restart neither loses nor ends one, and a freeze that
//! the log could not take fires as well. Each is sent when it begins and then again and again, because Alertmanager
//! gives up what it does not hear of; its end is sent until that was taken. An end that falls into a restart is told
//! by silence, a few minutes later.

use super::{
    address::Address,
    backoff::{self, Backoff},
    client::Client,
    message::one_line,
    news::{News, Woken},
    status::Status,
};
use crate::{
    clock::Clock,
    control_plane::{ControlPlane, catalog::Catalog},
    domain::{
        Timestamp,
        experiment::{Experiment, FreezeCause, State},
    },
};
use bytes::Bytes;
use hyper::header::HeaderMap;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Where alerts are posted, below the address of Alertmanager.
pub const PATH: &str = "/api/v2/alerts";

/// An alert ends by itself after so many missed repetitions: Prometheus takes four, and five of the usual minute are
/// what Alertmanager takes when it is not told.
const REPETITIONS: u32 = 5;
/// Alerts in one request.
const BATCH: usize = 100;

/// A receiver of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Alertmanager {
    /// What metrics know it by.
    pub name: String,
    /// Where alerts are posted, [`PATH`] included.
    pub url: Address,
    /// The longest an attempt may take.
    pub timeout: Duration,
}

type Labels = BTreeMap<&'static str, String>;

/// Something that is so; its labels are its identity.
#[derive(Debug, Clone, PartialEq)]
struct Alert {
    annotations: Labels,
    starts: Timestamp,
}

/// An alert as Alertmanager's API takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// Everything that is to be told of a catalog.
fn alerts(catalog: &Catalog) -> BTreeMap<Labels, Alert> {
    catalog
        .experiments
        .values()
        .filter_map(|experiment| alert(experiment))
        .collect()
}

fn alert(experiment: &Experiment) -> Option<(Labels, Alert)> {
    let spec = &experiment.spec;
    let mut labels = Labels::from([
        ("environment", spec.environment.to_string()),
        ("experiment", spec.id.to_string()),
        ("prompt", spec.prompt.to_string()),
        ("severity", "ticket".to_owned()),
    ]);
    let mut annotations = Labels::new();
    let starts = match (experiment.state, &experiment.freeze, &experiment.hold) {
        (State::Frozen, Some(freeze), _) => {
            labels.insert("alertname", "SerinRolloutFrozen".to_owned());
            match &freeze.cause {
                FreezeCause::Guardrail(breach) => labels.insert("guardrail", breach.guardrail.clone()),
                other => labels.insert("cause", other.label().to_owned()),
            };
            let summary = format!(
                "Experiment {} is frozen: every unit gets the version of its control",
                spec.id
            );
            annotations.insert("summary", summary);
            annotations.insert("description", one_line(&freeze.reason));
            annotations.insert("actor", one_line(&freeze.actor));
            annotations.insert("revision", freeze.revision.to_string());
            if let Ok(evidence) = serde_json::to_string(&freeze.cause) {
                annotations.insert("evidence", evidence);
            }
            freeze.at
        }
        (State::Holding, _, Some(hold)) => {
            labels.insert("alertname", "SerinRolloutHolding".to_owned());
            labels.insert("cause", hold.cause.as_str().to_owned());
            let summary = format!(
                "Experiment {} is holding: its split stays and nothing advances",
                spec.id
            );
            annotations.insert("summary", summary);
            annotations.insert("description", one_line(&hold.reason));
            hold.since
        }
        _ => return None,
    };
    Some((labels, Alert { annotations, starts }))
}

/// An Alertmanager at work.
pub(super) struct Alerting {
    pub(super) receiver: Alertmanager,
    pub(super) client: Client,
    pub(super) backoff: Backoff,
    pub(super) repeat: Duration,
    pub(super) plane: Arc<ControlPlane>,
    pub(super) clock: Clock,
    pub(super) status: Arc<Status>,
}

/// What Alertmanager knows.
#[derive(Debug, Default)]
struct Known {
    /// Alerts that it was told of, or may have been.
    told: BTreeMap<Labels, Alert>,
    /// When it last took all of them.
    taken: Option<Instant>,
    failures: u32,
}

impl Alerting {
    /// Tells what is so, until the end.
    pub(super) async fn run(self, mut news: News) {
        let mut known = Known::default();
        while !news.is_over() {
            let now = alerts(&self.plane.view().catalog);
            let fresh = known.taken.is_some_and(|taken| taken.elapsed() < self.repeat);
            if now == known.told && (fresh || now.is_empty()) {
                self.status.stand(0);
                news.wait().await;
                continue;
            }
            let ended = known.told.keys().filter(|labels| !now.contains_key(*labels));
            let changed = now
                .iter()
                .filter(|(labels, alert)| known.taken.is_none() || known.told.get(*labels) != Some(*alert));
            self.status.stand((ended.count() + changed.count()) as u64);
            if self.tell(&mut known, now).await {
                known.failures = 0;
            } else if news.pause(self.pause(&mut known)).await == Woken::End {
                return;
            }
        }
    }

    fn pause(&self, known: &mut Known) -> Duration {
        known.failures += 1;
        self.backoff.pause(known.failures, backoff::draw(), None)
    }

    /// Sends what is so and what is so no longer; says whether all of it was taken.
    async fn tell(&self, known: &mut Known, now: BTreeMap<Labels, Alert>) -> bool {
        let moment = self.clock.now();
        let until = moment
            .checked_add(self.repeat * REPETITIONS)
            .unwrap_or(Timestamp::MAX);
        let firing = now.iter().map(|(labels, alert)| (labels, alert, until));
        let over = known.told.iter().filter(|(labels, _)| !now.contains_key(*labels));
        let wires: Vec<Wire<'_>> = firing
            .chain(over.map(|(labels, alert)| (labels, alert, moment)))
            .map(|(labels, alert, ends_at)| Wire {
                labels,
                annotations: &alert.annotations,
                // An end before the beginning, of a clock that was set back, would be refused.
                starts_at: alert.starts.min(ends_at),
                ends_at,
            })
            .collect();
        let mut taken = true;
        for batch in wires.chunks(BATCH) {
            taken &= self.post(batch).await;
        }
        drop(wires);
        if taken {
            known.told = now;
            known.taken = Some(Instant::now());
        } else {
            // Some of it may have been taken, so all of it has to be ended some day.
            known.taken = None;
            known.told.extend(now);
        }
        taken
    }

    async fn post(&self, batch: &[Wire<'_>]) -> bool {
        let endpoint = &self.receiver.name;
        let body = match serde_json::to_vec(batch) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                tracing::error!(endpoint, %error, "alerts cannot be written");
                return false;
            }
        };
        let Alertmanager { url, timeout, .. } = &self.receiver;
        match self.client.post(url, HeaderMap::new(), body, *timeout).await {
            Ok(()) => {
                self.status.count_delivered(self.clock.unix_second());
                true
            }
            Err(error) => {
                self.status.count_failed();
                tracing::warn!(endpoint, alerts = batch.len(), %error, "alerts were not taken; they are sent again");
                false
            }
        }
    }
}
