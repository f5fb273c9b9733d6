//! What the metrics of an experiment say of a candidate: better, worse, alike, or not known yet.

use super::{
    super::{
        Recommendation, Severity,
        words::{chosen, count, days, number, p_value, points, several, size},
    },
    About, Pair,
};
use crate::{
    domain::{
        experiment::MIN_UNITS,
        guardrail::Verdict,
        id::VariantName,
        metric::{Goal, MetricKind},
    },
    report::{Decision, Figure, MetricReport, VariantFigures, VersusControl},
};

/// The power that [`PowerFigures::days_left`](crate::report::PowerFigures) is for.
const CHANCE_THEN: &str = "80 %";

impl About<'_> {
    pub(super) fn compared(
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
