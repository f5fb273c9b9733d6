//! Outcomes of deployed versions, outside any experiment: a prompt, a version and what came of it.
//!
//! They are counted like those of an experiment that nobody designed: its key stands for the prompt, its epochs are
//! the versions, it has one arm and knows the built-in metrics and `success`. No guardrail watches them.

use super::{
    Intake,
    resolve::{id_hash, rejection, shown, tagging},
    unix_second, values,
};
use crate::{
    collector::observation::{Observation, RawOutcome, Rejection},
    domain::{
        Timestamp,
        audience::Value,
        id::{ArmIndex, Epoch, ExperimentKey, VersionNumber},
        metric::Covariates,
        prompt::{Prompt, PromptVersion, VersionRef},
        segment::SegmentCodes,
    },
    routing::hash,
};

/// The seed of the hash that stands for a unit nobody named.
const NAMELESS: u64 = 0x6e61_6d65;
/// Longer text is no version.
const LONGEST_VERSION: usize = 256;

impl Intake {
    /// Checks an outcome that names a prompt or a version.
    pub(super) fn of_deployed(
        &self,
        outcome: &RawOutcome<'_>,
        now: Timestamp,
    ) -> Result<Observation, Rejection> {
        let Some(name) = outcome.prompt else {
            return Err(rejection(
                "UNKNOWN_PROMPT",
                "an outcome of a version needs the prompt as well",
            ));
        };
        let Some(prompt) = self.prompts.get(name) else {
            let detail = format!("there is no prompt `{}`", shown(name));
            return Err(rejection("UNKNOWN_PROMPT", detail));
        };
        let version = version(prompt, outcome.version)?.number;
        if outcome.context.is_some() {
            return Err(rejection(
                "AMBIGUOUS",
                "a context says something about an experiment's outcome, and this one names a prompt's version",
            ));
        }
        let owner = || format!("a deployed version of prompt `{}`", prompt.name);
        let values = values::metrics(&self.deployed, &outcome.metrics, &owner)?;
        let id = outcome.id.map(id_hash).transpose()?;
        Ok(Observation {
            experiment: ExperimentKey::of_deployed(prompt.key),
            epoch: Epoch(version.0),
            arm: ArmIndex(0),
            unit_hash: unit_hash(outcome, id, now)?,
            second: unix_second(now),
            receipt: None,
            id,
            segments: SegmentCodes::default(),
            covariates: values::covariates(&[], &outcome.covariates, Covariates::default(), &owner)?,
            values,
            again: false,
            tagging: tagging(outcome)?,
        })
    }
}

/// The version of a prompt that an outcome names.
fn version<'p>(prompt: &'p Prompt, named: Option<&Value<'_>>) -> Result<&'p PromptVersion, Rejection> {
    let unknown = |found: String| {
        let known = prompt.versions.iter().map(|version| match &version.draft.semver {
            Some(semver) => semver.to_string(),
            None => version.number.to_string(),
        });
        let known: Vec<_> = known.collect();
        let detail = format!(
            "the version {found}; prompt `{}` has {}",
            prompt.name,
            known.join(", ")
        );
        rejection("UNKNOWN_VERSION", detail)
    };
    let (reference, text) = match named {
        None | Some(Value::Null) => return Err(unknown("is missing".to_owned())),
        Some(Value::Int(number)) => {
            let reference = u32::try_from(*number).ok();
            (
                reference.map(|n| VersionRef::Number(VersionNumber(n))),
                number.to_string(),
            )
        }
        Some(Value::UInt(number)) => (None, number.to_string()),
        Some(Value::Text(text)) => {
            let short = Some(text).filter(|text| text.len() <= LONGEST_VERSION);
            (short.and_then(|text| text.parse().ok()), shown(text).into_owned())
        }
        Some(other) => {
            let found = match other {
                Value::Float(number) => format!("{number:?}"),
                _ => other.type_name().to_owned(),
            };
            let wanted = "a semver such as \"1.1.0\" or a whole number such as 2";
            let detail = format!("`version` takes {wanted}, not {found}");
            return Err(rejection("WRONG_TYPE", detail));
        }
    };
    reference
        .and_then(|reference| prompt.version(&reference))
        .map(AsRef::as_ref)
        .ok_or_else(|| unknown(format!("`{text}` is unknown")))
}

/// What stands for the unit: its hash, else what tells the outcome from all others.
fn unit_hash(outcome: &RawOutcome<'_>, id: Option<u128>, now: Timestamp) -> Result<u64, Rejection> {
    match (outcome.unit, id) {
        (Some([]), _) => Err(rejection(
            "NO_UNIT",
            "a unit is text that is not empty, or a whole number",
        )),
        (Some(unit), _) => Ok(hash::analysis_hash(unit)),
        (None, Some(id)) => Ok(id as u64),
        (None, None) => {
            let arrival = hash::unit_hash(&now.as_nanosecond().to_le_bytes(), NAMELESS);
            let position = u64::try_from(outcome.position).unwrap_or(u64::MAX);
            Ok(hash::mix(arrival ^ hash::mix(position)))
        }
    }
}
