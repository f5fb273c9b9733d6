//! The checks of what an outcome reports: the values of its metrics, and what was known of its unit beforehand.
//!
//! Nothing is coerced: what is not a number within its bounds refuses the whole outcome and is named.

use super::{
    CountedMetric,
    resolve::{rejection, shown},
};
use crate::{
    collector::observation::{RawValue, Rejection, Values},
    domain::{
        audience::{Attributes, Value},
        id::{AttributeName, MetricKey},
        metric::{Covariates, LARGEST_VALUE, MetricKind},
    },
    routing::profile::{self, Profile, ProfileRule},
};
use std::borrow::Cow;

/// Every value of an outcome that may report `known`; `owner` says in a refusal whose metrics they are.
pub(super) fn metrics(
    known: &[CountedMetric],
    reported: &[(Cow<'_, str>, RawValue)],
    owner: &dyn Fn() -> String,
) -> Result<Values, Rejection> {
    if reported.is_empty() {
        return Err(rejection("NO_METRICS", "an outcome needs at least one metric"));
    }
    let mut values = Values::default();
    for (name, value) in reported {
        let (key, value) = metric(known, name, *value, owner)?;
        if values.iter().any(|(other, _)| other == key) {
            return Err(rejection("AMBIGUOUS", format!("metric `{name}` is given twice")));
        }
        values.push(key, value);
    }
    Ok(values)
}

fn metric(
    known: &[CountedMetric],
    name: &str,
    value: RawValue,
    owner: &dyn Fn() -> String,
) -> Result<(MetricKey, f64), Rejection> {
    let Some(metric) = known.iter().find(|metric| metric.name == name) else {
        let known: Vec<_> = known.iter().map(|metric| metric.name.as_str()).collect();
        return Err(rejection(
            "UNKNOWN_METRIC",
            format!(
                "{} has no metric `{}`; it has {}",
                owner(),
                shown(name),
                known.join(", ")
            ),
        ));
    };
    let wrong_type = |wanted: &str, found: &str| {
        rejection(
            "WRONG_TYPE",
            format!("metric `{name}` takes {wanted}, not {found}"),
        )
    };
    let value = match (metric.kind, value) {
        (MetricKind::Rate, RawValue::Bool(bad)) => f64::from(u8::from(bad)),
        (MetricKind::Rate, RawValue::Number(number)) if number == 0.0 || number == 1.0 => number.abs(),
        (MetricKind::Rate, RawValue::Number(number)) => {
            return Err(wrong_type("true or false, or 1 or 0", &number.to_string()));
        }
        (MetricKind::Rate, RawValue::Other(what)) => {
            return Err(wrong_type("true or false, or 1 or 0", what));
        }
        (MetricKind::Mean, RawValue::Number(number)) => number,
        (MetricKind::Mean, RawValue::Bool(_)) => return Err(wrong_type("a number", "a boolean")),
        (MetricKind::Mean, RawValue::Other(what)) => return Err(wrong_type("a number", what)),
    };
    within_bounds("metric", name, value)?;
    if metric.never_negative && value < 0.0 {
        let detail = format!("metric `{name}` is {value} and cannot be negative");
        return Err(rejection("OUT_OF_RANGE", detail));
    }
    Ok((metric.key, value))
}

/// The covariates `known` to an experiment as an outcome gives them, over those that are `given` already.
pub(super) fn covariates(
    known: &[AttributeName],
    reported: &[(Cow<'_, str>, RawValue)],
    given: Covariates,
    owner: &dyn Fn() -> String,
) -> Result<Covariates, Rejection> {
    let mut covariates = given;
    for (index, (name, value)) in reported.iter().enumerate() {
        let Some(place) = known.iter().position(|known| known.as_str() == name) else {
            let known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(rejection(
                "UNKNOWN_COVARIATE",
                format!("{} has no covariate `{}`; it has {known}", owner(), shown(name)),
            ));
        };
        if reported[..index].iter().any(|(other, _)| other == name) {
            let detail = format!("covariate `{name}` is given twice");
            return Err(rejection("AMBIGUOUS", detail));
        }
        let number = match value {
            RawValue::Bool(yes) => f64::from(u8::from(*yes)),
            RawValue::Number(number) => *number,
            RawValue::Other(what) => return Err(no_number(name, what)),
        };
        within_bounds("covariate", name, number)?;
        covariates = covariates.with(place, Some(number));
    }
    Ok(covariates)
}

/// What a context says of a request whose receipt is not at hand. A decision overlooks what is no number, since it
/// must not fail; here it is refused, as everywhere in an outcome.
pub(super) fn profile_of(rule: &ProfileRule, context: &Attributes<'_>) -> Result<Profile, Rejection> {
    for name in rule.covariates() {
        let name = name.as_str();
        match context.find(name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let number = profile::number(value).ok_or_else(|| no_number(name, value.type_name()))?;
                within_bounds("covariate", name, number)?;
            }
        }
    }
    Ok(rule.profile(context))
}

fn no_number(name: &str, found: &str) -> Rejection {
    let detail = format!("covariate `{name}` takes a number, or true or false, not {found}");
    rejection("WRONG_TYPE", detail)
}

fn within_bounds(what: &str, name: &str, number: f64) -> Result<(), Rejection> {
    // Written so that a value that is not a number fails it as well.
    if (-LARGEST_VALUE..=LARGEST_VALUE).contains(&number) {
        return Ok(());
    }
    let detail = format!("{what} `{name}` is {number}, beyond ±{LARGEST_VALUE:e}");
    Err(rejection("OUT_OF_RANGE", detail))
}
