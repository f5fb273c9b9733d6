//! The checks of one outcome: who it belongs to, and whether it counts now.

use super::{ExperimentIntake, Intake, unix_second, values, whole_seconds};
use crate::{
    collector::observation::{Observation, RawOutcome, Rejection, Tagging},
    domain::{
        Timestamp,
        experiment::State,
        id::{ArmIndex, Epoch},
    },
    routing::{hash, profile::Profile, receipt::Receipt},
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
    /// `UNKNOWN_PROMPT`, `UNKNOWN_VERSION`, `NO_UNIT`, `EXPERIMENT_NOT_LIVE`, `UNKNOWN_METRIC`, `UNKNOWN_COVARIATE`,
    /// `WRONG_TYPE`, `OUT_OF_RANGE`, `NO_METRICS`, `BAD_ID`, `BAD_TAG`, `AMBIGUOUS`.
    pub fn resolve(&self, outcome: &RawOutcome<'_>, now: Timestamp) -> Result<Observation, Rejection> {
        let named = outcome.experiment.is_some() || outcome.variant.is_some();
        let deployed = outcome.prompt.is_some() || outcome.version.is_some();
        let attribution = match outcome.receipt {
            Some(_) if named || deployed || outcome.unit.is_some() => {
                return Err(rejection(
                    "AMBIGUOUS",
                    "a receipt already says experiment, variant and unit: send one or the other",
                ));
            }
            Some(_) if outcome.context.is_some() => {
                return Err(rejection(
                    "AMBIGUOUS",
                    "a receipt already has of the context what counts: send one or the other",
                ));
            }
            Some(receipt) => self.by_receipt(receipt, now)?,
            None if named && deployed => {
                return Err(rejection(
                    "AMBIGUOUS",
                    "an outcome belongs to a variant of an experiment or to a version of a prompt, not to both",
                ));
            }
            None if deployed => return self.of_deployed(outcome, now),
            None => self.by_name(outcome, now)?,
        };
        let design = attribution.experiment;
        design.check_state()?;
        let owner = || format!("experiment `{}`", design.experiment.spec.id);
        let values = values::metrics(&design.metrics, &outcome.metrics, &owner)?;
        let profile = match (attribution.profile, outcome.context, &design.profile) {
            (None, Some(context), Some(rule)) => values::profile_of(rule, context)?,
            (signed, ..) => signed.unwrap_or_default(),
        };
        let known = &design.experiment.covariates;
        Ok(Observation {
            experiment: design.experiment.key,
            epoch: attribution.epoch,
            arm: attribution.arm,
            unit_hash: attribution.unit_hash,
            second: attribution.second,
            receipt: attribution.receipt,
            id: outcome.id.map(id_hash).transpose()?,
            values,
            segments: profile.segments,
            covariates: values::covariates(known, &outcome.covariates, profile.covariates, &owner)?,
            again: false,
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
            profile,
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
            profile,
        })
    }

    fn by_name(&self, outcome: &RawOutcome<'_>, now: Timestamp) -> Result<Attribution<'_>, Rejection> {
        let Some(id) = outcome.experiment else {
            return Err(rejection(
                "UNKNOWN_EXPERIMENT",
                "an outcome needs a receipt, or experiment, variant and unit, or prompt and version",
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
            profile: None,
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
    /// What the receipt says of the request.
    profile: Option<Profile>,
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
}

pub(super) fn rejection(code: &'static str, detail: impl Into<String>) -> Rejection {
    Rejection {
        code,
        detail: detail.into(),
    }
}

/// What a stranger sent, short enough for a message.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn id_hash(id: &str) -> Result<u128, Rejection> {
    if id.is_empty() || id.len() > LONGEST_ID {
        let detail = format!("an id has 1 to {LONGEST_ID} bytes, not {}", id.len());
        return Err(rejection("BAD_ID", detail));
    }
    // Two independent hashes of 64 bits: even 10^12 ids collide with a chance of 10^-15.
    let [high, low] = [1, 2].map(|seed| u128::from(hash::unit_hash(id.as_bytes(), seed)));
    Ok(high << 64 | low)
}

pub(super) fn tagging(outcome: &RawOutcome<'_>) -> Result<Option<Box<Tagging>>, Rejection> {
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
