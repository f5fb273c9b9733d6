//! What the other parts know when a scrape comes, as series.

use super::{
    approximate,
    families::{Families, Labels},
    reporting, rollouts, seconds,
};
use crate::{
    collector::totals::Totals,
    control_plane::{View, catalog::Catalog},
    domain::{
        Timestamp,
        experiment::State,
        guardrail::Limit,
        id::{ArmIndex, ExperimentId, ExperimentKey, PromptKey, PromptName},
    },
    report::{AaStatus, GuardrailStatus, ReportingStatus, served_shares},
    routing::table::RoutingTable,
};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// The variant of an answer that no experiment decided.
const DEPLOYED: &str = "deployed";

/// What is read for one scrape.
#[derive(Debug)]
pub struct Snapshot {
    /// The catalog and what is wrong with it.
    pub view: Arc<View>,
    /// The table in force.
    pub table: Arc<RoutingTable>,
    /// The collector's totals since the process began.
    pub totals: Totals,
    /// Whether the last write to the store worked.
    pub store_up: bool,
    /// What the guardrails found, and how far the evidence of a wrong split has come.
    pub assessed: Vec<Assessed>,
    /// The present moment.
    pub now: Timestamp,
}

/// One experiment, looked at for a scrape.
#[derive(Debug)]
pub struct Assessed {
    /// Which.
    pub id: ExperimentId,
    /// What its guardrails found.
    pub guardrails: Vec<GuardrailStatus>,
    /// What the same tests find between halves of its control.
    pub aa: Vec<AaStatus>,
    /// Whether what it decided is reported back.
    pub reporting: ReportingStatus,
    /// Evidence of a wrong split, 1 is an alarm; none before it can be judged.
    pub srm_evidence: Option<f64>,
}

/// The labels `experiment` and `variant`; none for what the catalog does not know.
fn arm_labels(
    catalog: &Catalog,
    experiment: Option<ExperimentKey>,
    arm: Option<ArmIndex>,
) -> Option<(&str, &str)> {
    // Outcomes of deployed versions have no experiment either.
    let Some(key) = experiment.filter(|key| key.deployed_prompt().is_none()) else {
        return Some(("", DEPLOYED));
    };
    let experiment = catalog.experiment(key)?;
    let arm = match arm {
        Some(arm) => experiment.arm_name(arm)?.as_str(),
        None => DEPLOYED,
    };
    Some((experiment.spec.id.as_str(), arm))
}

impl Snapshot {
    pub(super) fn add_to(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        self.add_process(families)?;
        self.add_totals(families)?;
        self.add_experiments(families)?;
        rollouts::add_to(families, &self.view.catalog)?;
        self.add_guardrails(families)?;
        self.add_aa(families)?;
        reporting::add_to(families, &self.assessed)
    }

    fn add_process(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        families
            .gauge(
                "serin_build_info",
                "1, with the release as a label.",
                &["version"],
            )?
            .set(&[env!("CARGO_PKG_VERSION")], 1.0);
        families.plain_gauge(
            "serin_store_up",
            "Whether the last write to the store worked.",
            f64::from(u8::from(self.store_up)),
        )?;
        families.plain_gauge(
            "serin_routing_table_revision",
            "The control log entry the table in force was compiled from.",
            approximate(self.table.revision.0),
        )?;
        let age = self.now.duration_since(self.table.published_at);
        families.plain_gauge(
            "serin_routing_table_age_seconds",
            "Time since the table in force was published.",
            seconds(Duration::try_from(age).unwrap_or_default()),
        )?;
        families.plain_gauge(
            "serin_freezes_unrecorded",
            "Freezes in force here that the store has not taken yet.",
            approximate(self.view.unrecorded as u64),
        )?;
        families.plain_counter(
            "serin_exposures_dropped_total",
            "Decisions whose record was lost because a queue was full.",
            self.totals.exposures_dropped,
        )?;
        families.plain_gauge(
            "serin_journal_backlog_entries",
            "Journal entries that no checkpoint covers yet.",
            approximate(self.totals.journal_backlog),
        )
    }

    fn add_totals(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        let catalog = &self.view.catalog;
        let prompts: HashMap<PromptKey, &PromptName> = catalog
            .prompts
            .values()
            .map(|prompt| (prompt.key, &prompt.name))
            .collect();
        let decisions = families.counter(
            "serin_decisions_total",
            "Decisions; experiment is empty where none had a say, variant is deployed where none decided.",
            &["prompt", "experiment", "variant", "reason"],
        )?;
        for (key, count) in &self.totals.decisions {
            let arm = arm_labels(catalog, key.experiment, key.arm);
            if let (Some(prompt), Some((experiment, arm))) = (prompts.get(&key.prompt), arm) {
                decisions.add(&[prompt.as_str(), experiment, arm, key.reason.as_str()], *count);
            }
        }
        let outcomes = families.counter(
            "serin_outcomes_total",
            "Outcomes by what became of them; refused ones have no variant, those of deployed versions no experiment.",
            &["experiment", "variant", "result"],
        )?;
        for (key, count) in &self.totals.outcomes {
            if let Some((experiment, arm)) = arm_labels(catalog, key.experiment, key.arm) {
                let arm = if key.arm.is_some() { arm } else { "" };
                outcomes.add(&[experiment, arm, key.result.as_str()], *count);
            }
        }
        let labels: Labels<'_> = &["experiment", "variant", "metric"];
        let observations = families.counter(
            "serin_metric_observations_total",
            "Values reported for a metric.",
            labels,
        )?;
        let sums = families.gauge(
            "serin_metric_sum",
            "Sum of the values reported for a metric; values may be negative.",
            labels,
        )?;
        for ((experiment, arm, metric), total) in &self.totals.metrics {
            let measures = catalog.experiment(*experiment).map(|found| &found.measures);
            let measure =
                measures.and_then(|measures| measures.iter().find(|measure| measure.key == *metric));
            let arm = arm_labels(catalog, Some(*experiment), Some(*arm));
            if let (Some(measure), Some((experiment, arm))) = (measure, arm) {
                let labels = [experiment, arm, &measure.name];
                observations.add(&labels, total.n);
                sums.set(&labels, total.sum);
            }
        }
        Ok(())
    }

    fn add_experiments(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        let states = families.gauge(
            "serin_experiment_state",
            "1 for the state the experiment is in, 0 for all others.",
            &["experiment", "state"],
        )?;
        let shares = families.gauge(
            "serin_experiment_share",
            "Share of the enrolled units that get the variant now.",
            &["experiment", "variant"],
        )?;
        let per_experiment: Labels<'_> = &["experiment"];
        let epochs = families.gauge(
            "serin_experiment_epoch",
            "The stretch of one split and one state the experiment is in.",
            per_experiment,
        )?;
        let unroutable = families.gauge(
            "serin_experiment_unroutable",
            "Whether a live experiment had to be left out of the table.",
            per_experiment,
        )?;
        for (id, experiment) in &self.view.catalog.experiments {
            let id = id.as_str();
            for state in State::ALL {
                let is = experiment.state == state;
                states.set(&[id, state.as_str()], f64::from(u8::from(is)));
            }
            let left_out = self.view.unroutable.contains_key(id);
            for (variant, share) in &served_shares(experiment, left_out).0 {
                shares.set(&[id, variant.as_str()], *share);
            }
            epochs.set(&[id], f64::from(experiment.epoch().0));
            unroutable.set(&[id], f64::from(u8::from(left_out)));
        }
        let errors = families.counter(
            "serin_audience_errors_total",
            "Decisions in which an audience could not be evaluated, so that the unit was left out.",
            per_experiment,
        )?;
        for experiment in self.table.experiments() {
            errors.add(
                &[experiment.id.as_str()],
                experiment.audience_errors.load(Relaxed),
            );
        }
        Ok(())
    }

    fn add_guardrails(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        let split = families.gauge(
            "serin_srm_evidence_ratio",
            "Evidence that units were not split as asked: 1 and more is an alarm.",
            &["experiment"],
        )?;
        let evidence = families.gauge(
            "serin_guardrail_evidence_ratio",
            "Evidence of harm, of the candidate it is strongest for: 1 is a breach.",
            &["experiment", "guardrail"],
        )?;
        let rates = families.gauge(
            "serin_guardrail_observed_rate",
            "Bad outcomes per reported outcome.",
            &["experiment", "guardrail", "variant"],
        )?;
        let limits = families.gauge(
            "serin_guardrail_limit",
            "Where harm begins: a multiple of control's rate (max_ratio) or a rate (max_rate).",
            &["experiment", "guardrail", "kind"],
        )?;
        for assessed in &self.assessed {
            let id = assessed.id.as_str();
            if let Some(ratio) = assessed.srm_evidence {
                split.set(&[id], ratio);
            }
            let control = self
                .view
                .catalog
                .experiments
                .get(&assessed.id)
                .and_then(|experiment| experiment.spec.control());
            for status in &assessed.guardrails {
                let name = status.name.as_str();
                if let Some(so_far) = status.evidence.known() {
                    evidence.raise(&[id, name], *so_far);
                }
                if let (Some(rate), Some(control)) = (status.control.rate.known(), control) {
                    rates.set(&[id, name, control.name.as_str()], *rate);
                }
                if let Some(rate) = status.candidate.rate.known() {
                    rates.set(&[id, name, status.candidate.variant.as_str()], *rate);
                }
                let (kind, limit) = match status.limit {
                    Limit::MaxRatio(limit) => ("max_ratio", limit),
                    Limit::MaxRate(limit) => ("max_rate", limit),
                    Limit::MaxExcess(limit) => ("max_excess", limit),
                };
                limits.set(&[id, name, kind], limit);
            }
        }
        Ok(())
    }

    fn add_aa(&self, families: &mut Families) -> Result<(), prometheus::Error> {
        let labels: Labels<'_> = &["experiment", "guardrail"];
        let evidence = families.gauge(
            "serin_aa_evidence_ratio",
            "Evidence of harm between two hidden halves of control: at 1 a candidate would be frozen for nothing.",
            labels,
        )?;
        let false_alarms = families.gauge(
            "serin_aa_false_freeze",
            "1 when the halves of control would have been a freeze since the evidence began; 1 in 100 may.",
            labels,
        )?;
        for assessed in &self.assessed {
            for status in &assessed.aa {
                let labels = [assessed.id.as_str(), &status.guardrail];
                evidence.set(&labels, status.evidence);
                false_alarms.set(&labels, f64::from(u8::from(status.would_have_frozen)));
            }
        }
        Ok(())
    }
}
