//! What of a request's context travels with its receipt: the codes of its segments, and the covariates of its unit.
//!
//! Compiled once per experiment; working out a profile takes no lock and no heap memory and cannot fail, and what
//! cannot be used counts as not given. The data plane asks before it signs, and the intake of outcomes where there is
//! a context instead of a receipt.

use crate::domain::{
    audience::{Attributes, Value},
    experiment::Experiment,
    id::AttributeName,
    metric::{Covariates, MOST_COVARIATES},
    segment::{MOST_SEGMENT_ATTRIBUTES, SegmentAttribute, SegmentCodes},
};
use std::fmt::{self, Write as _};

/// What a request was, and what was known of its unit beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Profile {
    /// Which values of the segments' attributes it has.
    pub segments: SegmentCodes,
    /// The numbers known of its unit.
    pub covariates: Covariates,
}

/// Which attributes an experiment looks at for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRule {
    segments: Box<[SegmentAttribute]>,
    covariates: Box<[AttributeName]>,
}

impl ProfileRule {
    /// From an experiment's segments and covariates; none when it has neither, so that its decisions do nothing here.
    #[must_use]
    pub fn of(experiment: &Experiment) -> Option<Self> {
        let Experiment {
            segments, covariates, ..
        } = experiment;
        let rule = Self {
            segments: segments.iter().take(MOST_SEGMENT_ATTRIBUTES).cloned().collect(),
            covariates: covariates.iter().take(MOST_COVARIATES).cloned().collect(),
        };
        (!rule.segments.is_empty() || !rule.covariates.is_empty()).then_some(rule)
    }

    /// The attributes whose numbers are covariates, by their places.
    #[must_use]
    pub fn covariates(&self) -> &[AttributeName] {
        &self.covariates
    }

    /// The profile of a request with this context.
    #[must_use]
    pub fn profile(&self, context: &Attributes<'_>) -> Profile {
        let mut profile = Profile::default();
        for (place, attribute) in self.segments.iter().enumerate() {
            match context.find(attribute.attribute.as_str()) {
                None | Some(Value::Null) => {}
                Some(value) => {
                    let named = attribute.values.iter().position(|named| reads_as(value, named));
                    profile.segments = profile.segments.with(place, named);
                }
            }
        }
        for (place, attribute) in self.covariates.iter().enumerate() {
            let number = context.find(attribute.as_str()).and_then(number);
            profile.covariates = profile.covariates.with(place, number);
        }
        profile
    }
}

/// The number an attribute's value is: itself, or 1 and 0 for true and false. Text is never taken for one.
#[must_use]
pub fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Whether a value is written like `text`: as it is, or a number or boolean in its shortest form (`2`, `0.5`, `true`).
fn reads_as(value: &Value<'_>, text: &str) -> bool {
    let mut rest = Rest(text);
    let written = match value {
        Value::Text(own) => return own == text,
        Value::Bool(own) => write!(rest, "{own}"),
        Value::Int(own) => write!(rest, "{own}"),
        Value::UInt(own) => write!(rest, "{own}"),
        Value::Float(own) => write!(rest, "{own}"),
        Value::Null | Value::List(_) | Value::Map(_) => return false,
    };
    written.is_ok() && rest.0.is_empty()
}

/// Takes away what is written, as long as it is the beginning of the text: a comparison that needs no memory.
struct Rest<'t>(&'t str);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::segment::SegmentValue::{self, Missing, Named, Other};

    fn rule() -> ProfileRule {
        let attribute = |name: &str, values: &[&str]| SegmentAttribute {
            attribute: AttributeName::new(name).unwrap(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        ProfileRule {
            segments: Box::new([
                attribute("country", &["DE", "FR"]),
                attribute("tier", &["1", "0.5", "-3", "true", "18446744073709551615"]),
            ]),
            covariates: Box::new([
                AttributeName::new("past").unwrap(),
                AttributeName::new("vip").unwrap(),
            ]),
        }
    }

    fn profile(context: &str) -> ([SegmentValue; 2], [Option<f32>; 2]) {
        let profile = rule().profile(&serde_json::from_str(context).unwrap());
        let mut values = profile.segments.segments(2).map(|segment| segment.value());
        (
            [values.next().unwrap(), values.next().unwrap()],
            profile.covariates.0,
        )
    }

    #[test]
    fn values_are_named_other_or_missing() {
        for (context, expected) in [
            (r"{}", [Missing, Missing]),
            (r#"{"country":null,"tier":null}"#, [Missing, Missing]),
            (r#"{"country":"FR","tier":1}"#, [Named(1), Named(0)]),
            (r#"{"country":"","tier":"1"}"#, [Other, Named(0)]),
            (r#"{"country":"D","tier":0.5}"#, [Other, Named(1)]),
            (r#"{"country":"DEU","tier":1.0}"#, [Other, Named(0)]),
            (r#"{"country":["DE"],"tier":-3}"#, [Other, Named(2)]),
            (r#"{"country":{"a":1},"tier":true}"#, [Other, Named(3)]),
            (
                r#"{"country":false,"tier":18446744073709551615}"#,
                [Other, Named(4)],
            ),
            (r#"{"country":"DE","country":"FR","tier":10}"#, [Named(1), Other]),
        ] {
            assert_eq!(profile(context).0, expected, "{context}");
        }
    }

    #[test]
    fn covariates_are_numbers_within_bounds() {
        for (context, expected) in [
            (r"{}", [None, None]),
            (r#"{"past":0.25,"vip":true}"#, [Some(0.25), Some(1.0)]),
            (r#"{"past":-7,"vip":false}"#, [Some(-7.0), Some(0.0)]),
            (r#"{"past":"0.25","vip":[1]}"#, [None, None]),
            (r#"{"past":1e15,"vip":-1.1e15}"#, [Some(1e15), None]),
            (r#"{"past":18446744073709551615,"vip":null}"#, [None, None]),
        ] {
            assert_eq!(profile(context).1, expected, "{context}");
        }
    }
}
