//! What the control plane says about the demo's two experiments at a moment.

use super::script::{CANARY, Play, TEST};
use crate::{
    cli::{
        client::{ClientError, Connection, Server},
        figures::{list, text},
    },
    domain::experiment::FreezeCause,
    domain::guardrail::Breach,
};
use anyhow::Result;
use serde_json::Value;

/// One look: the list of experiments and both reports. Null before the first one.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    experiments: Value,
    test: Value,
    canary: Value,
}

/// The freeze of the canary.
#[derive(Debug, Clone)]
pub(super) struct Freeze {
    /// The server's words for it.
    pub(super) record: Value,
    /// The evidence.
    pub(super) breach: Breach,
}

impl Freeze {
    /// The entry of the control log.
    pub(super) fn revision(&self) -> u64 {
        self.record["revision"].as_u64().unwrap_or(0)
    }
}

/// The healthy test's winner, as the report has it.
#[derive(Debug, Clone)]
pub(super) struct Winner {
    /// Control's estimates.
    pub(super) control: Value,
    /// The winner's estimates, with the comparison in `vs_control`.
    pub(super) variant: Value,
}

impl Look {
    /// Asks the control plane.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn take(connection: &mut Connection) -> Result<Self, ClientError> {
        let results = |play: &Play| format!("/api/v1/experiments/{}/results", play.experiment);
        Ok(Self {
            experiments: connection.get("/api/v1/experiments").await?.json,
            test: connection.get(&results(&TEST)).await?.json,
            canary: connection.get(&results(&CANARY)).await?.json,
        })
    }

    /// An experiment as the list has it; null where it is not there.
    pub(super) fn experiment(&self, play: &Play) -> &Value {
        let found = list(&self.experiments["experiments"])
            .iter()
            .find(|experiment| text(experiment, "id") == play.experiment);
        found.unwrap_or(&Value::Null)
    }

    /// The evidence of an experiment's guardrail, from 0 to 1.
    pub(super) fn evidence(&self, play: &Play) -> Option<f64> {
        self.guardrail(play)["evidence"].as_f64()
    }

    /// The rates of both arms in the metric that the experiment is about, control first.
    pub(super) fn rates(&self, play: &Play) -> [Option<f64>; 2] {
        if play.metric == CANARY.metric {
            let guardrail = self.guardrail(play);
            return ["control", "candidate"].map(|arm| guardrail[arm]["rate"].as_f64());
        }
        [play.control.name, play.candidate.name].map(|name| self.estimate(name)["mean"].as_f64())
    }

    /// The comparison of the healthy test's arms; null where there is none yet.
    pub(super) fn comparison(&self) -> &Value {
        &self.estimate(TEST.candidate.name)["vs_control"]
    }

    /// The freeze of the canary, when its guardrail caused it.
    pub(super) fn freeze(&self) -> Option<Freeze> {
        let record = &self.experiment(&CANARY)["freeze"];
        match serde_json::from_value(record["cause"].clone()) {
            Ok(FreezeCause::Guardrail(breach)) => Some(Freeze {
                record: record.clone(),
                breach: *breach,
            }),
            _ => None,
        }
    }

    /// The friendly variant, when the report says that it is better: by its verdict, or by the p-value that holds
    /// however often one looks.
    pub(super) fn winner(&self) -> Option<Winner> {
        let versus = self.comparison();
        let sure = versus["always_valid"]["p"].as_f64().is_some_and(|p| p < 0.05);
        let more = versus["difference"]
            .as_f64()
            .is_some_and(|difference| difference > 0.0);
        (versus["verdict"] == "better" || (sure && more)).then(|| Winner {
            control: self.estimate(TEST.control.name).clone(),
            variant: self.estimate(TEST.candidate.name).clone(),
        })
    }

    fn report(&self, play: &Play) -> &Value {
        if play.experiment == CANARY.experiment {
            &self.canary
        } else {
            &self.test
        }
    }

    fn guardrail(&self, play: &Play) -> &Value {
        &self.report(play)["guardrails"][0]
    }

    fn estimate(&self, variant: &str) -> &Value {
        let metric = list(&self.test["metrics"])
            .iter()
            .find(|metric| text(metric, "metric") == TEST.metric);
        let variants = metric.map_or(&[][..], |metric| list(&metric["variants"]));
        let found = variants.iter().find(|found| text(found, "variant") == variant);
        found.unwrap_or(&Value::Null)
    }
}

/// Looks again and again over one connection.
#[derive(Debug)]
pub(super) struct Lookout {
    server: Server,
    connection: Option<Connection>,
}

impl Lookout {
    /// Looks at a control plane.
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            connection: None,
        }
    }

    /// One look.
    ///
    /// # Errors
    /// [`ClientError`]; the next look uses a new connection then.
    pub(super) async fn look(&mut self) -> Result<Look, ClientError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.server.connect().await?),
        };
        let look = Look::take(connection).await;
        if look.is_err() {
            self.connection = None;
        }
        look
    }

    /// The log entry of a freeze.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn entry(&self, revision: u64) -> Result<Option<Value>, ClientError> {
        let path = format!("/api/v1/audit?after={}", revision.saturating_sub(1));
        let log = self.server.get(&path).await?.json;
        let entry = list(&log["entries"])
            .iter()
            .find(|entry| entry["revision"] == revision);
        Ok(entry.cloned())
    }

    /// The mean time from the outcome that crossed a limit to the new routing table, in seconds; none where the
    /// server has not measured it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn time_to_freeze(&self) -> Result<Option<f64>, ClientError> {
        let exposition = self.server.connect().await?.get_text("/metrics").await?;
        Ok(mean_of(&exposition, "serin_time_to_freeze_seconds"))
    }
}

/// The mean of a histogram in Prometheus' text format, over all of its label sets.
fn mean_of(exposition: &str, histogram: &str) -> Option<f64> {
    let total = |suffix: &str| -> f64 {
        let name = format!("{histogram}_{suffix}");
        let values = exposition.lines().filter_map(|line| {
            let rest = line.strip_prefix(&name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        values.sum()
    };
    let count = total("count");
    (count > 0.0).then(|| total("sum") / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_histogram_has_a_mean_once_it_has_a_value() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum{a=\"x y\"} 0.08\nh_sum 0.02\nh_count{a=\"x y\"} 1\n\
                    h_count 1\nh_counted 9\n";
        assert!((mean_of(text, "h").unwrap() - 0.05).abs() < 1e-12);
        assert_eq!(mean_of("h_sum 0\nh_count 0\n", "h"), None);
        assert_eq!(mean_of("", "h"), None);
    }

    #[test]
    fn a_winner_needs_a_verdict_or_an_always_valid_p() {
        let winner = |versus: Value| {
            let test = json!({"metrics": [{"metric": "resolved", "variants": [
                {"variant": "control", "mean": 0.62}, {"variant": "friendly", "mean": 0.74, "vs_control": versus}]}]});
            let look = Look {
                test,
                ..Look::default()
            };
            assert_eq!(look.rates(&TEST), [Some(0.62), Some(0.74)]);
            look.winner().is_some()
        };
        assert!(winner(json!({"verdict": "better"})));
        assert!(winner(
            json!({"difference": 0.12, "always_valid": {"p": 0.01}, "verdict": "not_yet"})
        ));
        assert!(!winner(json!({"difference": -0.12, "always_valid": {"p": 0.01}})));
        assert!(!winner(
            json!({"difference": 0.12, "p": 0.01, "always_valid": {"undefined": "later"}})
        ));
        assert!(!winner(json!({"undefined": "collecting"})));
        assert!(Look::default().winner().is_none() && Look::default().freeze().is_none());
    }
}
