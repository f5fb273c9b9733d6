//! What is measured: the metrics of a design, and the segments their results are broken down by.

use super::{LARGEST_SHARE, MIN_UNITS, MOST_METRICS, found::Found};
use crate::domain::{
    experiment::ExperimentSpec,
    id::AttributeName,
    metric::{Goal, MOST_COVARIATES, MetricKind, built_in},
    segment::{MOST_SEGMENT_ATTRIBUTES, MOST_SEGMENT_VALUES},
};
use std::{collections::HashMap, fmt};

/// Metrics: unique, as built in, and with figures that mean something.
pub(super) fn metrics(spec: &ExperimentSpec, found: &mut Found) {
    found.count("metrics", spec.metrics.len(), 0, MOST_METRICS);
    let mut first = HashMap::new();
    let mut primary = None;
    let mut covariates: Vec<&AttributeName> = Vec::new();
    for (index, metric) in spec.metrics.iter().enumerate() {
        let name = metric.name.as_str();
        found.unique(&mut first, "metrics", index, name, "a metric's name");
        if let Some((kind, goal)) = built_in(name) {
            if metric.kind != kind {
                let kind = kind_word(kind);
                found.add(
                    format_args!("metrics[{index}].kind"),
                    format_args!("`{name}` is built in as a {kind} and must be declared as \"{kind}\""),
                );
            }
            if metric.goal != goal {
                let goal = goal_word(goal);
                found.add(
                    format_args!("metrics[{index}].goal"),
                    format_args!(
                        "`{name}` is built in with goal {goal} and must be declared with \"{goal}\""
                    ),
                );
            }
        }
        if metric.primary {
            if let Some(earlier) = primary {
                found.add(
                    format_args!("metrics[{index}].primary"),
                    format_args!("at most one metric is primary, and metrics[{earlier}] is already"),
                );
            }
            primary = primary.or(Some(index));
        }
        if let Some(cap) = metric.cap {
            found.positive(format_args!("metrics[{index}].cap"), cap);
            if metric.kind == MetricKind::Rate {
                found.add(
                    format_args!("metrics[{index}].cap"),
                    format_args!("only a metric of kind \"mean\" has a cap, and `{name}` is a rate"),
                );
            }
        }
        share(format_args!("metrics[{index}].mde"), metric.mde, found);
        share(format_args!("metrics[{index}].margin"), metric.margin, found);
        if let Some(covariate) = &metric.covariate
            && !covariates.contains(&covariate)
        {
            if let [first, second] = covariates[..] {
                found.add(
                    format_args!("metrics[{index}].covariate"),
                    format_args!(
                        "the metrics of an experiment have at most {MOST_COVARIATES} covariates between them, and \
                         `{first}` and `{second}` are those"
                    ),
                );
            } else {
                covariates.push(covariate);
            }
        }
    }
}

/// A share of control's mean.
fn share(field: impl fmt::Display, share: Option<f64>, found: &mut Found) {
    if let Some(share) = share
        && !(share > 0.0 && share <= LARGEST_SHARE)
    {
        found.add(
            field,
            format_args!("must be greater than 0 and at most {LARGEST_SHARE}, found {share}"),
        );
    }
}

/// Segments: few attributes, few values, each of them once.
pub(super) fn segments(spec: &ExperimentSpec, found: &mut Found) {
    found.count("segments", spec.segments.len(), 0, MOST_SEGMENT_ATTRIBUTES);
    for (attribute, values) in &spec.segments {
        let list = format!("segments.{attribute}");
        found.count(&list, values.len(), 1, MOST_SEGMENT_VALUES);
        let mut first = HashMap::new();
        for (index, value) in values.iter().enumerate() {
            let earlier = *first.entry(value.as_str()).or_insert(index);
            if earlier == index {
                found.short_text(format_args!("{list}[{index}]"), Some(value));
            } else {
                found.add(
                    format_args!("{list}[{index}]"),
                    format_args!("a value must be unique, and {list}[{earlier}] is `{value:.80}` already"),
                );
            }
        }
    }
}

/// How many units each arm needs before it is judged.
pub(super) fn min_units(spec: &ExperimentSpec, found: &mut Found) {
    if let Some(units) = spec.min_units
        && !MIN_UNITS.contains(&units.into())
    {
        let (least, most) = (MIN_UNITS.start(), MIN_UNITS.end());
        found.add(
            "min_units",
            format_args!("must be from {least} to {most}, found {units}"),
        );
    }
}

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Rate => "rate",
        MetricKind::Mean => "mean",
    }
}

fn goal_word(goal: Goal) -> &'static str {
    match goal {
        Goal::Increase => "increase",
        Goal::Decrease => "decrease",
    }
}
