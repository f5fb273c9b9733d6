//! An outcome at its three moments: as somebody sent it, why it was refused, and as the fact that is counted.
//!
//! Plain data. The HTTP surface builds [`RawOutcome`], [`super::intake::Intake::resolve`] turns it into an
//! [`Observation`] or a [`Rejection`], and the writer counts observations.

use crate::domain::{
    audience::{Attributes, Value},
    id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
    metric::Covariates,
    segment::SegmentCodes,
};
use std::{borrow::Cow, fmt};

/// A metric's value as it was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Anything else, with a word for what it was: `string`, `null`, `array`, `object`.
    Other(&'static str),
}

/// An outcome as it was sent; nothing in it has been checked.
#[derive(Debug, Clone, Default)]
pub struct RawOutcome<'a> {
    /// What the decision signed; excludes everything else that says what the outcome belongs to.
    pub receipt: Option<&'a str>,
    /// The experiment's id, for an outcome without a receipt.
    pub experiment: Option<&'a str>,
    /// The arm's name, for an outcome without a receipt.
    pub variant: Option<&'a str>,
    /// The unit id's bytes, for an outcome without a receipt.
    pub unit: Option<&'a [u8]>,
    /// The prompt's name, for an outcome outside any experiment.
    pub prompt: Option<&'a str>,
    /// The prompt's version, by number or semver, for an outcome outside any experiment.
    pub version: Option<&'a Value<'a>>,
    /// The context of the request, for an outcome without a receipt: what it was, and what was known of the unit.
    pub context: Option<&'a Attributes<'a>>,
    /// What was known of the unit beforehand, by name; overrides the receipt and the context.
    pub covariates: Vec<(Cow<'a, str>, RawValue)>,
    /// The sender's own id of this outcome: the same id again is a duplicate.
    pub id: Option<&'a str>,
    /// Names and values.
    pub metrics: Vec<(Cow<'a, str>, RawValue)>,
    /// Words by which a sample of the outcomes is kept.
    pub tags: Vec<Cow<'a, str>>,
    /// Kept with the tags; not kept without any.
    pub note: Option<Cow<'a, str>>,
    /// Its place in the request: tells outcomes apart that name neither a unit nor an id.
    pub position: usize,
}

/// Why one outcome was refused; the others of its batch are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Rejection {
    /// Stable, in upper case with underscores.
    pub code: &'static str,
    /// What is wrong, with the names and limits concerned.
    pub detail: String,
}

/// What a tagged outcome leaves behind for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagging {
    /// The receipt's text, by which the request can be found in the sender's own logs.
    pub receipt: Option<String>,
    /// At least one.
    pub tags: Vec<String>,
    /// Free text.
    pub note: Option<String>,
}

/// A checked outcome: what is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The experiment, or [`ExperimentKey::of_deployed`] for an outcome outside any.
    pub experiment: ExperimentKey,
    /// The epoch of the assignment; outside any experiment the number of the version.
    pub epoch: Epoch,
    /// The arm; the first outside any experiment.
    pub arm: ArmIndex,
    /// [`crate::routing::hash::analysis_hash`] of the unit.
    pub unit_hash: u64,
    /// Unix second of the assignment; of the arrival when there was no receipt.
    pub second: u32,
    /// The deciding process and its sequence number, when there was a receipt.
    pub receipt: Option<(u32, u32)>,
    /// 128 bits that stand for the sender's id.
    pub id: Option<u128>,
    /// What the request was, for the breakdown of results.
    pub segments: SegmentCodes,
    /// What was known of the unit beforehand.
    pub covariates: Covariates,
    /// Whether its receipt has reported something before.
    pub again: bool,
    /// Raw values, neither clipped nor turned into rates; each metric once.
    pub values: Values,
    /// Boxed, because few outcomes are tagged.
    pub tagging: Option<Box<Tagging>>,
}

const INLINE: usize = 4;

/// A short list of metric values; up to four need no heap.
#[derive(Clone, Default)]
pub struct Values {
    len: u8,
    first: [(MetricKey, f64); INLINE],
    rest: Vec<(MetricKey, f64)>,
}

impl Values {
    /// Appends a value.
    pub fn push(&mut self, metric: MetricKey, value: f64) {
        let at = usize::from(self.len);
        if at < INLINE {
            self.first[at] = (metric, value);
            self.len += 1;
        } else {
            self.rest.push((metric, value));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len) + self.rest.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In the order of [`Values::push`].
    pub fn iter(&self) -> impl Iterator<Item = (MetricKey, f64)> + '_ {
        self.first[..usize::from(self.len)]
            .iter()
            .chain(&self.rest)
            .copied()
    }
}

impl FromIterator<(MetricKey, f64)> for Values {
    fn from_iter<I: IntoIterator<Item = (MetricKey, f64)>>(pairs: I) -> Self {
        let mut values = Self::default();
        for (metric, value) in pairs {
            values.push(metric, value);
        }
        values
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
