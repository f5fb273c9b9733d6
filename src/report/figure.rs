//! A value, or the reason why there is none.

use crate::{domain::id::VariantName, stats::Undefined};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A figure as it is shown. In JSON the value itself, or `{"undefined":"reason"}` in its place.
///
/// ```
/// use serin::report::Figure;
/// let figures = [Figure::Known(0.5), Figure::undefined("no data yet")];
/// assert_eq!(serde_json::to_string(&figures)?, r#"[0.5,{"undefined":"no data yet"}]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Figure<T> {
    /// The value; a number in it is finite.
    Known(T),
    /// Why there is none, lower case, no full stop.
    Undefined(String),
}

impl<T> Figure<T> {
    /// No value, for this reason.
    pub fn undefined(reason: impl Into<String>) -> Self {
        Self::Undefined(reason.into())
    }

    /// The value, or the reason in words.
    pub fn of(result: Result<T, impl ToString>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(reason) => Self::Undefined(reason.to_string()),
        }
    }

    /// The value, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Undefined(_) => None,
        }
    }
}

impl Figure<f64> {
    /// A number, refused unless it is finite: JSON has no other ones.
    #[must_use]
    pub fn finite(what: &'static str, value: f64) -> Self {
        if value.is_finite() {
            Self::Known(value)
        } else {
            Self::of(Err(Undefined::Overflow { what }))
        }
    }
}

impl<T: Serialize> Serialize for Figure<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Undefined(reason) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("undefined", reason)?;
                map.end()
            }
        }
    }
}

/// One value per variant, in the order of the design; in JSON an object keyed by the variants' names.
#[derive(Debug, Clone, PartialEq)]
pub struct ByVariant<T>(pub Vec<(VariantName, T)>);

impl<T> ByVariant<T> {
    /// The value of the variant with this name.
    #[must_use]
    pub fn of(&self, variant: &str) -> Option<&T> {
        self.0
            .iter()
            .find(|(name, _)| name.as_str() == variant)
            .map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for ByVariant<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
