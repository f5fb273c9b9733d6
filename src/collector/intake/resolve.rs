//! The checks of one outcome: who it belongs to, whether it counts now, and whether its values are what they should be.

use super::{ExperimentIntake, Intake, unix_second, whole_seconds};
use crate::{
    collector::observation::{Observation, RawOutcome, RawValue, Rejection, Tagging, Values},
    domain::{
        Timestamp,
        experiment::State,
        id::{ArmIndex, Epoch, MetricKey},
        metric::{Covariates, LARGEST_VALUE, MetricKind},
        segment::SegmentCodes,
    },
    routing::{hash, receipt::Receipt},
};
use std::borrow::Cow;

/// The longest id of an outcome, in bytes.
pub const LONGEST_ID: usize = 256;
/// The most tags of one outcome.
pub const MOST_TAGS: usize = 16;
/// The longest tag, in bytes.
pub const LONGEST_TAG: usize = 64;
/// Longer notes are cut, in bytes.
pub const LONGEST_NOTE: usize = 2_000;
/// Clocks of replicas may differ by this much: a receipt from further ahead is refused.
const CLOCK_SKEW_S: i64 = 60;

impl Intake {
    /// Checks one outcome. Nothing is coerced: a value of the wrong type refuses the whole outcome.
    ///
    /// # Errors
    /// [`Rejection`] with one of `BAD_RECEIPT`, `EXPIRED_RECEIPT`, `UNKNOWN_EXPERIMENT`, `UNKNOWN_VARIANT`,
    /// `NO_UNIT`, `EXPERIMENT_NOT_LIVE`, `UNKNOWN_METRIC`, `WRONG_TYPE`, `OUT_OF_RANGE`, `NO_METRICS`, `BAD_ID`,
    /// `BAD_TAG`, `AMBIGUOUS`.
    pub fn resolve(&self, outcome: &RawOutcome<'_>, now: Timestamp) -> Result<Observation, Rejection> {
        let attribution = match outcome.receipt {
            Some(receipt) => {
                if outcome.experiment.is_some() || outcome.variant.is_some() || outcome.unit.is_some() {
                    return Err(rejection(
                        "AMBIGUOUS",
                        "a receipt already says experiment, variant and unit: send one or the other",
                    ));
                }
                self.by_receipt(receipt, now)?
            }
            None => self.by_name(outcome, now)?,
        };
        attribution.experiment.check_state()?;
        if outcome.metrics.is_empty() {
            return Err(rejection("NO_METRICS", "an outcome needs at least one metric"));
        }
        let mut values = Values::default();
        for (name, value) in &outcome.metrics {
            let (key, value) = attribution.experiment.check_value(name, *value)?;
            if values.iter().any(|(other, _)| other == key) {
                return Err(rejection("AMBIGUOUS", format!("metric `{name}` is given twice")));
            }
            values.push(key, value);
        }
        Ok(Observation {
            experiment: attribution.experiment.experiment.key,
            epoch: attribution.epoch,
            arm: attribution.arm,
            unit_hash: attribution.unit_hash,
            second: attribution.second,
            receipt: attribution.receipt,
            id: outcome.id.map(id_hash).transpose()?,
            values,
            segments: SegmentCodes::default(),
            covariates: Covariates::default(),
            tagging: tagging(outcome)?,
        })
    }

    fn by_receipt(&self, text: &str, now: Timestamp) -> Result<Attribution<'_>, Rejection> {
        let Receipt {
            experiment,
            epoch,
            arm,
            unit_hash,
            second,
            process,
            sequence,
        } = self
            .keys
            .verify(text)
            .map_err(|error| rejection("BAD_RECEIPT", error.to_string()))?;
        let age = now.as_second() - i64::from(second);
        if age > i64::from(whole_seconds(self.receipt_lifetime)) {
            return Err(rejection(
                "EXPIRED_RECEIPT",
                format!(
                    "the receipt is {age} s old; receipts are taken for {} s",
                    self.receipt_lifetime.as_secs()
                ),
            ));
        }
        if age < -CLOCK_SKEW_S {
            return Err(rejection(
                "EXPIRED_RECEIPT",
                format!("the receipt is from {} s in the future", -age),
            ));
        }
        let Some(compiled) = self.by_key.get(&experiment) else {
            return Err(rejection(
                "UNKNOWN_EXPERIMENT",
                "the receipt's experiment is not known here",
            ));
        };
        let known = &compiled.experiment;
        if known.epoch_record(epoch).is_none() || known.arm_name(arm).is_none() {
            return Err(rejection(
                "BAD_RECEIPT",
                format!(
                    "experiment `{}` has no epoch {epoch} with arm {arm}",
                    known.spec.id
                ),
            ));
        }
        Ok(Attribution {
            experiment: compiled,
            epoch,
            arm,
            unit_hash,
            second,
            receipt: Some((process, sequence)),
        })
    }

    fn by_name(&self, outcome: &RawOutcome<'_>, now: Timestamp) -> Result<Attribution<'_>, Rejection> {
        let Some(id) = outcome.experiment else {
            return Err(rejection(
                "UNKNOWN_EXPERIMENT",
                "an outcome needs a receipt, or experiment, variant and unit",
            ));
        };
        let Some(compiled) = self.experiment_by_id(id) else {
            return Err(rejection(
                "UNKNOWN_EXPERIMENT",
                format!("there is no experiment `{}`", shown(id)),
            ));
        };
        let known = &compiled.experiment;
        let Some(arm) = outcome.variant.and_then(|variant| known.arm(variant)) else {
            let names: Vec<_> = known.arms.iter().map(ToString::to_string).collect();
            let found = outcome.variant.map_or_else(
                || "is missing".to_owned(),
                |name| format!("`{}` is unknown", shown(name)),
            );
            return Err(rejection(
                "UNKNOWN_VARIANT",
                format!("the variant {found}; experiment `{id}` has {}", names.join(", ")),
            ));
        };
        let Some(unit) = outcome.unit.filter(|unit| !unit.is_empty()) else {
            return Err(rejection(
                "NO_UNIT",
                "an outcome without a receipt needs the unit it is about",
            ));
        };
        compiled.check_state()?;
        let Some(epoch) = compiled.counting_epoch else {
            return Err(rejection(
                "EXPERIMENT_NOT_LIVE",
                format!("experiment `{id}` has never split its units"),
            ));
        };
        Ok(Attribution {
            experiment: compiled,
            epoch,
            arm,
            unit_hash: hash::analysis_hash(unit),
            second: unix_second(now),
            receipt: None,
        })
    }
}

/// Who an outcome belongs to.
struct Attribution<'a> {
    experiment: &'a ExperimentIntake,
    epoch: Epoch,
    arm: ArmIndex,
    unit_hash: u64,
    second: u32,
    receipt: Option<(u32, u32)>,
}

impl ExperimentIntake {
    fn check_state(&self) -> Result<(), Rejection> {
        match self.experiment.state {
            State::Running | State::Holding | State::Frozen => Ok(()),
            state => Err(rejection(
                "EXPERIMENT_NOT_LIVE",
                format!(
                    "experiment `{}` is {state}: only a running, holding or frozen one counts outcomes",
                    self.experiment.spec.id
                ),
            )),
        }
    }

    fn check_value(&self, name: &str, value: RawValue) -> Result<(MetricKey, f64), Rejection> {
        let Some(metric) = self.metrics.iter().find(|metric| metric.name == name) else {
            let known: Vec<_> = self.metrics.iter().map(|metric| metric.name.as_str()).collect();
            return Err(rejection(
                "UNKNOWN_METRIC",
                format!(
                    "experiment `{}` has no metric `{}`; it has {}",
                    self.experiment.spec.id,
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
        #[allow(
            clippy::float_cmp,
            reason = "a rate's number is one of two exact values or it is refused"
        )]
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
        // Written so that a value that is not a number fails it as well.
        if !(-LARGEST_VALUE..=LARGEST_VALUE).contains(&value) {
            let detail = format!("metric `{name}` is {value}, beyond ±{LARGEST_VALUE:e}");
            return Err(rejection("OUT_OF_RANGE", detail));
        }
        if metric.never_negative && value < 0.0 {
            let detail = format!("metric `{name}` is {value} and cannot be negative");
            return Err(rejection("OUT_OF_RANGE", detail));
        }
        Ok((metric.key, value))
    }
}

fn rejection(code: &'static str, detail: impl Into<String>) -> Rejection {
    Rejection {
        code,
        detail: detail.into(),
    }
}

/// What a stranger sent, short enough for a message.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn id_hash(id: &str) -> Result<u128, Rejection> {
    if id.is_empty() || id.len() > LONGEST_ID {
        let detail = format!("an id has 1 to {LONGEST_ID} bytes, not {}", id.len());
        return Err(rejection("BAD_ID", detail));
    }
    // Two independent hashes of 64 bits: even 10^12 ids collide with a chance of 10^-15.
    let [high, low] = [1, 2].map(|seed| u128::from(hash::unit_hash(id.as_bytes(), seed)));
    Ok(high << 64 | low)
}

fn tagging(outcome: &RawOutcome<'_>) -> Result<Option<Box<Tagging>>, Rejection> {
    if outcome.tags.is_empty() {
        return Ok(None);
    }
    if outcome.tags.len() > MOST_TAGS {
        let detail = format!(
            "an outcome has at most {MOST_TAGS} tags, not {}",
            outcome.tags.len()
        );
        return Err(rejection("BAD_TAG", detail));
    }
    let mut tags: Vec<String> = Vec::with_capacity(outcome.tags.len());
    for tag in &outcome.tags {
        let plain = tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/'));
        if tag.is_empty() || tag.len() > LONGEST_TAG || !plain {
            return Err(rejection(
                "BAD_TAG",
                format!(
                    "tag `{}` is not 1 to {LONGEST_TAG} of letters, digits, `.`, `_`, `-`, `:`, `/`",
                    shown(tag)
                ),
            ));
        }
        if tags.iter().all(|other| other != tag) {
            tags.push(tag.clone().into_owned());
        }
    }
    Ok(Some(Box::new(Tagging {
        receipt: outcome.receipt.map(str::to_owned),
        tags,
        note: outcome
            .note
            .as_ref()
            .map(|note| note[..note.floor_char_boundary(LONGEST_NOTE)].to_owned()),
    })))
}
