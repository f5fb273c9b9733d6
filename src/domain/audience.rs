//! Attributes of a request, and units: what an audience looks at and what is randomised.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// A value of a context attribute, borrowed from the request where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Absent, or JSON null.
    Null,
    /// true or false.
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// A larger whole number.
    UInt(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'_> {
    /// JSON's word for what it is.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) => "object",
        }
    }
}

/// The context of a request: named values. Of a repeated name the last one counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Attributes<'a> {
    /// From pairs in order.
    #[must_use]
    pub fn new(pairs: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self(pairs)
    }

    /// The value of an attribute; none when it is missing.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value<'a>> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// All pairs in order.
    #[must_use]
    pub fn pairs(&self) -> &[(Cow<'a, str>, Value<'a>)] {
        &self.0
    }

    /// The bytes of the unit id in attribute `name`: a non-empty string as it is, a whole number as decimal text
    /// written to `scratch`. Anything else is no unit.
    #[inline]
    #[must_use]
    pub fn unit<'s>(&'s self, name: &str, scratch: &'s mut UnitScratch) -> Option<&'s [u8]> {
        match self.find(name)? {
            Value::Text(text) if !text.is_empty() => Some(text.as_bytes()),
            Value::Int(number) => Some(scratch.decimal(number.unsigned_abs(), *number < 0)),
            Value::UInt(number) => Some(scratch.decimal(*number, false)),
            _ => None,
        }
    }
}

/// Room for a whole number's decimal text, so that a unit id needs no heap.
#[derive(Debug, Default)]
pub struct UnitScratch([u8; 21]);

impl UnitScratch {
    fn decimal(&mut self, mut magnitude: u64, negative: bool) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + u8::try_from(magnitude % 10).unwrap_or(0);
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        if negative {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

/// Text borrowed from the input when it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::UInt(value), Value::Int))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        if value.is_finite() {
            Ok(Value::Float(value))
        } else {
            Err(E::custom("number out of range"))
        }
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        Ok(Value::Map(pairs(map)?))
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of context attributes")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Attributes<'de>, A::Error> {
        Ok(Attributes(pairs(map)?))
    }
}

/// More attributes than this in one object are refused: a walk looks names up one by one.
pub const MOST_ATTRIBUTES: usize = 256;

fn pairs<'de, A: MapAccess<'de>>(mut map: A) -> Result<Vec<(Cow<'de, str>, Value<'de>)>, A::Error> {
    let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(4).min(MOST_ATTRIBUTES));
    while let Some((Text(name), value)) = map.next_entry()? {
        if pairs.len() == MOST_ATTRIBUTES {
            return Err(A::Error::custom(format_args!(
                "more than {MOST_ATTRIBUTES} attributes in one object"
            )));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_strings_or_whole_numbers() {
        let json = r#"{"user":"u-1","big":18446744073709551615,"low":-9223372036854775808,"half":0.5,"none":null,"empty":"","t":true}"#;
        let attributes: Attributes<'_> = serde_json::from_str(json).unwrap();
        let unit = |name| {
            let mut scratch = UnitScratch::default();
            attributes
                .unit(name, &mut scratch)
                .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        assert_eq!(unit("user").as_deref(), Some("u-1"));
        assert_eq!(unit("big").as_deref(), Some("18446744073709551615"));
        assert_eq!(unit("low").as_deref(), Some("-9223372036854775808"));
        for none in ["half", "none", "empty", "t", "missing"] {
            assert_eq!(unit(none), None, "{none}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_name_counts() {
        let attributes: Attributes<'_> = serde_json::from_str(r#"{"a":1,"a":"\u0041"}"#).unwrap();
        assert_eq!(attributes.find("a"), Some(&Value::Text("A".into())));
    }
}
