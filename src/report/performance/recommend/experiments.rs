//! What the experiments of the prompt found: the only place where one version is called better than another.

mod verdicts;

use super::{
    Recommendation, Severity,
    words::{chosen, count, p_value, percent, served, several},
};
use crate::{
    domain::{
        experiment::{Experiment, FreezeCause, State},
        guardrail::{Limit, Verdict},
        id::{VariantName, VersionNumber},
        prompt::Prompt,
    },
    report::{Figure, GuardrailStatus, Report, SplitVerdict},
};

/// Evidence of a breach from which on a guardrail is worth a word.
const HALF_WAY: f64 = 0.5;

/// What there is to say about one experiment.
pub(super) fn of_report(prompt: &Prompt, experiment: &Experiment, report: &Report) -> Vec<Recommendation> {
    let about = About {
        prompt,
        experiment,
        report,
    };
    let found = match experiment.state {
        State::Frozen => about.frozen().into_iter().collect(),
        State::Running | State::Holding => about.live(),
        State::Draft | State::Scheduled | State::Promoted | State::Stopped => Vec::new(),
    };
    found
        .into_iter()
        .map(|found| found.in_experiment(&experiment.spec.id))
        .collect()
}

struct About<'a> {
    prompt: &'a Prompt,
    experiment: &'a Experiment,
    report: &'a Report,
}

/// A candidate against control.
struct Pair<'a> {
    variant: &'a VariantName,
    number: Option<VersionNumber>,
    /// What each serves, as people call it.
    candidate: String,
    control: String,
}

impl About<'_> {
    fn id(&self) -> &str {
        self.experiment.spec.id.as_str()
    }

    fn pair<'v>(&self, variant: &'v VariantName) -> Pair<'v> {
        let (candidate, number) = served(self.prompt, self.experiment, variant);
        let control = self.experiment.spec.control().map(|control| &control.name);
        let served_by_control = control.map(|name| served(self.prompt, self.experiment, name).0);
        let control_label = served_by_control.unwrap_or_else(|| "control".to_owned());
        // An A/A test compares a version with itself.
        let (candidate, control) = match control {
            Some(name) if candidate == control_label => (format!("`{variant}`"), format!("`{name}`")),
            _ => (candidate, control_label),
        };
        Pair {
            variant,
            number,
            candidate,
            control,
        }
    }

    fn frozen(&self) -> Option<Recommendation> {
        let freeze = self.experiment.freeze.as_ref()?;
        let control = self.experiment.spec.control()?;
        let (control, _) = served(self.prompt, self.experiment, &control.name);
        let id = self.id();
        let (text, because, number) = match &freeze.cause {
            FreezeCause::Guardrail(breach) => {
                let pair = self.pair(&breach.candidate.variant);
                let arm = |name: &str, arm: &crate::domain::guardrail::ArmCounts| {
                    let rate = arm.rate.map_or_else(|| "–".to_owned(), percent);
                    format!("{rate} of {} of {name} bad", several(arm.observations, "outcome"))
                };
                (
                    format!(
                        "{id} is frozen: {} breached the guardrail `{}`, and everyone who was split gets {control}; mend it and resume, or stop the experiment",
                        pair.candidate, breach.guardrail
                    ),
                    format!(
                        "{}, {}",
                        arm(&pair.candidate, &breach.candidate),
                        arm(&pair.control, &breach.control)
                    ),
                    pair.number,
                )
            }
            FreezeCause::Blind { variant, .. } => (
                format!(
                    "{id} is frozen because nothing was reported of `{variant}`, and everyone who was split gets {control}; see that outcomes are reported, then resume it or stop it"
                ),
                freeze.reason.clone(),
                None,
            ),
            FreezeCause::Deadline { .. } => (
                format!(
                    "{id} is frozen because a stage did not pass in time, and everyone who was split gets {control}; resume it with more traffic or stop it"
                ),
                freeze.reason.clone(),
                None,
            ),
            FreezeCause::RolledBack { version } => (
                format!(
                    "{id} is frozen because its prompt was rolled back, and everyone gets version {version}; resume it or stop it"
                ),
                format!("{}: {}", freeze.actor, freeze.reason),
                Some(*version),
            ),
            FreezeCause::Manual => (
                format!(
                    "{id} is frozen by hand, and everyone who was split gets {control}; resume it or stop it"
                ),
                format!("{}: {}", freeze.actor, freeze.reason),
                None,
            ),
        };
        Some(Recommendation::new(Severity::Critical, text, because).of_version(number))
    }

    fn live(&self) -> Vec<Recommendation> {
        let mut all: Vec<_> = self
            .report
            .guardrails
            .iter()
            .filter_map(|guardrail| self.guardrail(guardrail))
            .collect();
        if self.experiment.state == State::Holding
            && let Some(why) = &self.experiment.hold
        {
            let until = if why.cause.clears_itself() {
                "its cause is gone"
            } else {
                "somebody resumes it"
            };
            let text = format!("{} holds its split until {until}", self.id());
            all.push(Recommendation::new(Severity::Info, text, why.reason.clone()));
        }
        if self.report.srm.verdict == Figure::Known(SplitVerdict::Alarm) {
            all.push(self.wrong_split());
            // Arms that got other units than they should differ in more than their prompt.
            return all;
        }
        for metric in &self.report.metrics {
            for arm in &metric.variants {
                if let Some(versus) = &arm.vs_control {
                    all.extend(self.compared(metric, arm, versus));
                }
            }
        }
        all
    }

    fn wrong_split(&self) -> Recommendation {
        let units = self.report.srm.units.iter().map(|arm| {
            let expected = number_of_units(arm.expected);
            format!(
                "`{}` has {} units of {expected} expected",
                arm.variant,
                count(arm.observed)
            )
        });
        let units: Vec<_> = units.collect();
        let p = self
            .report
            .srm
            .p
            .known()
            .map_or_else(String::new, |p| format!("; {}", p_value(*p)));
        Recommendation::new(
            Severity::Critical,
            format!(
                "units of {} are not split as designed: believe no comparison in it until the cause is found",
                self.id()
            ),
            format!("{}{p}", units.join(", ")),
        )
    }

    fn guardrail(&self, guardrail: &GuardrailStatus) -> Option<Recommendation> {
        let pair = self.pair(&guardrail.candidate.variant);
        let Figure::Known(evidence) = &guardrail.evidence else {
            return None;
        };
        let (id, name) = (self.id(), &guardrail.name);
        let limit = match guardrail.limit {
            Limit::MaxRatio(ratio) => format!("{ratio} times the rate of {}", pair.control),
            Limit::MaxRate(rate) => chosen(rate),
            Limit::MaxExcess(excess) => format!("{} more than that of {}", chosen(excess), pair.control),
        };
        let (severity, text) = if guardrail.state == Verdict::Breach {
            let text = format!(
                "{} breaches the guardrail `{name}` of {id}: take it back",
                pair.candidate
            );
            (Severity::Critical, text)
        } else if *evidence >= HALF_WAY {
            let text = format!(
                "{} is {} of the way to a breach of the guardrail `{name}` of {id}: watch it",
                pair.candidate,
                percent(*evidence)
            );
            (Severity::Warning, text)
        } else {
            return None;
        };
        let rate = |rate: &Figure<f64>| rate.known().map_or_else(|| "–".to_owned(), |rate| percent(*rate));
        let because = format!(
            "{} and {} bad for {}, {} and {} for {}; harm starts at {limit}",
            rate(&guardrail.candidate.rate),
            several(guardrail.candidate.bad_units, "unit"),
            pair.candidate,
            rate(&guardrail.control.rate),
            several(guardrail.control.bad_units, "unit"),
            pair.control,
        );
        Some(Recommendation::new(severity, text, because).of_version(pair.number))
    }
}

fn number_of_units(units: f64) -> String {
    let whole = units.round() as u64;
    count(whole)
}
