//! What the experiments of the prompt found: the only place where one version is called better than another.

use super::{
    Recommendation, Severity,
    words::{chosen, count, days, number, p_value, percent, points, served, several, size},
};
use crate::{
    domain::{
        experiment::{Experiment, FreezeCause, MIN_UNITS, State},
        guardrail::{Limit, Verdict},
        id::{VariantName, VersionNumber},
        metric::{Goal, MetricKind},
        prompt::Prompt,
    },
    report::{
        Decision, Figure, GuardrailStatus, MetricReport, Report, SplitVerdict, VariantFigures, VersusControl,
    },
};

/// Evidence of a breach from which on a guardrail is worth a word.
const HALF_WAY: f64 = 0.5;
/// The chance of an effect worth finding to be found when no days are left: see
/// [`days_left_always_valid`](crate::stats::power::progress::days_left_always_valid).
const CHANCE_THEN: &str = "about 40 %";

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
            let text = format!("{} holds its split until somebody resumes it", self.id());
            all.push(Recommendation::new(Severity::Info, text, why.clone()));
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

    fn compared(
        &self,
        metric: &MetricReport,
        arm: &VariantFigures,
        versus: &VersusControl,
    ) -> Option<Recommendation> {
        let pair = self.pair(&arm.variant);
        let found = match (versus.verdict, metric.primary) {
            (Decision::Better, true) => self.better(metric, &pair, versus)?,
            (Decision::Worse, primary) => self.worse(metric, &pair, versus, primary)?,
            (Decision::NoDifference, true) => self.alike(metric, &pair, versus)?,
            (Decision::NotYet, true) => self.not_yet(metric, arm, &pair, versus)?,
            (Decision::Better | Decision::NoDifference | Decision::NotYet, false) => return None,
        };
        Some(found.of_version(pair.number))
    }

    fn better(
        &self,
        metric: &MetricReport,
        pair: &Pair<'_>,
        versus: &VersusControl,
    ) -> Option<Recommendation> {
        let spec = &self.experiment.spec;
        let objections = self.objections(pair.variant);
        let winner = self.report.winner.as_ref() == Some(pair.variant);
        let what_then = if !objections.is_empty() {
            format!("weigh that against {}", objections.join(" and "))
        } else if !winner {
            "another variant does better still".to_owned()
        } else if spec
            .variants
            .last()
            .is_some_and(|last| last.name == *pair.variant)
        {
            "promote it".to_owned()
        } else {
            "deploy it and end the experiment".to_owned()
        };
        Some(Recommendation::new(
            Severity::Info,
            format!("{}: {what_then}", self.difference(metric, pair, versus)?),
            because(versus, &self.values(metric, pair.variant)),
        ))
    }

    fn worse(
        &self,
        metric: &MetricReport,
        pair: &Pair<'_>,
        versus: &VersusControl,
        primary: bool,
    ) -> Option<Recommendation> {
        let what_then = if primary {
            format!("keep {} and end the experiment", pair.control)
        } else {
            match metric.goal {
                Goal::Increase => "lower is worse".to_owned(),
                Goal::Decrease => "higher is worse".to_owned(),
            }
        };
        Some(Recommendation::new(
            Severity::Warning,
            format!("{}: {what_then}", self.difference(metric, pair, versus)?),
            because(versus, &self.values(metric, pair.variant)),
        ))
    }

    fn alike(
        &self,
        metric: &MetricReport,
        pair: &Pair<'_>,
        versus: &VersusControl,
    ) -> Option<Recommendation> {
        let (low, high) = *versus.always_valid.ci.known()?;
        let format = if metric.kind == MetricKind::Rate {
            points
        } else {
            number
        };
        Some(Recommendation::new(
            Severity::Info,
            format!(
                "{} and {} do not differ in `{}` by more than {} in {}: decide by something else and end the experiment",
                pair.candidate,
                pair.control,
                metric.metric,
                chosen(metric.margin),
                self.id(),
            ),
            format!(
                "the difference is within [{}, {}]{} at any look; {}",
                format(low),
                format(high),
                unit(metric),
                self.values(metric, pair.variant),
            ),
        ))
    }

    fn not_yet(
        &self,
        metric: &MetricReport,
        arm: &VariantFigures,
        pair: &Pair<'_>,
        versus: &VersusControl,
    ) -> Option<Recommendation> {
        let (id, name) = (self.id(), &metric.metric);
        let (candidate, control) = (&pair.candidate, &pair.control);
        let least = u64::from(self.experiment.spec.min_units.unwrap_or(MIN_UNITS));
        let units = self.units(metric.variants.first()?).min(self.units(arm));
        let values = self.values(metric, pair.variant);
        if metric.variants.iter().all(|arm| arm.n == 0)
            && self.report.outcomes.0.iter().any(|(_, of)| of.accepted > 0)
        {
            let text = format!(
                "no outcome of {id} reports `{name}`, by which it is decided: gateways may not be sending it"
            );
            return Some(Recommendation::new(Severity::Warning, text, values));
        }
        let found = if let Figure::Undefined(reason) = &versus.p {
            let text = if units < least {
                format!(
                    "too few outcomes to compare {candidate} with {control} in {id}: {} of at least {least} units",
                    count(units)
                )
            } else {
                format!("{candidate} and {control} cannot be compared by `{name}` in {id} yet")
            };
            Recommendation::new(Severity::Info, text, format!("{reason}; {values}"))
        } else {
            let worth = chosen(versus.power.worth_finding);
            let text = match versus.power.days_left {
                Figure::Known(left) if left > 0.0 => format!(
                    "{id} cannot tell {candidate} from {control} yet: in {} more at this traffic it would find a difference of {worth} in `{name}` with a chance of {CHANCE_THEN}",
                    days(left)
                ),
                Figure::Known(_) => format!(
                    "{id} cannot tell {candidate} from {control}, though a difference of {worth} in `{name}` would have been found by now with a chance of {CHANCE_THEN} or more"
                ),
                Figure::Undefined(_) => {
                    format!("{id} cannot tell {candidate} from {control} by `{name}` yet")
                }
            };
            let p = versus.always_valid.p_adjusted.known();
            let p = p.map_or_else(String::new, |p| format!("{} at any look; ", p_value(*p)));
            Recommendation::new(Severity::Info, text, format!("{p}{values}"))
        };
        Some(found)
    }

    /// Units of an arm that reported: an estimate, but no more than there are values.
    fn units(&self, arm: &VariantFigures) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimated count: not negative, and far below 2^53"
        )]
        let reporting = arm.units.round() as u64;
        reporting.min(arm.n)
    }

    /// "`resolved` is 3.0 points higher with 1.1.0 than with 1.0.0 [0.80, 5.2] in tone".
    fn difference(&self, metric: &MetricReport, pair: &Pair<'_>, versus: &VersusControl) -> Option<String> {
        let (difference, ci) = (*versus.difference.known()?, *versus.always_valid.ci.known()?);
        let format = if metric.kind == MetricKind::Rate {
            points
        } else {
            number
        };
        let (size, interval) = size(difference, ci, format);
        Some(format!(
            "`{}` is {size}{} {} with {} than with {} {interval} in {}",
            metric.metric,
            unit(metric),
            if difference > 0.0 { "higher" } else { "lower" },
            pair.candidate,
            pair.control,
            self.id(),
        ))
    }

    /// What speaks against a variant that is better on the primary metric.
    fn objections(&self, variant: &VariantName) -> Vec<String> {
        let worse = self.report.metrics.iter().filter(|metric| {
            let arm = metric.variants.iter().find(|arm| arm.variant == *variant);
            let versus = arm.and_then(|arm| arm.vs_control.as_ref());
            !metric.primary && versus.is_some_and(|versus| versus.verdict == Decision::Worse)
        });
        let breached = self.report.guardrails.iter().filter(|guardrail| {
            guardrail.candidate.variant == *variant && guardrail.state == Verdict::Breach
        });
        worse
            .map(|metric| {
                let worse = match metric.goal {
                    Goal::Increase => "lower",
                    Goal::Decrease => "higher",
                };
                format!("its {worse} `{}`", metric.metric)
            })
            .chain(breached.map(|guardrail| format!("the breached guardrail `{}`", guardrail.name)))
            .collect()
    }

    /// "5,000 values of `friendly` against 5,012 of `control`".
    fn values(&self, metric: &MetricReport, variant: &VariantName) -> String {
        let of = |arm: &VariantFigures| format!("{} of `{}`", several(arm.n, "value"), arm.variant);
        let arm = metric.variants.iter().find(|arm| arm.variant == *variant);
        let arms: Vec<String> = arm.into_iter().chain(metric.variants.first()).map(of).collect();
        arms.join(" against ")
    }
}

fn because(versus: &VersusControl, values: &str) -> String {
    let p = versus.always_valid.p_adjusted.known();
    let p = p.map_or_else(String::new, |p| format!("{}, ", p_value(*p)));
    format!("{p}valid at any look and corrected; {values}")
}

fn unit(metric: &MetricReport) -> &'static str {
    match metric.kind {
        MetricKind::Rate => " points",
        MetricKind::Mean => "",
    }
}

fn number_of_units(units: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count: not negative, and far below 2^53"
    )]
    let whole = units.round() as u64;
    count(whole)
}
