//! JSON shapes of the data plane and their conversion.
//!
//! Untrusted text becomes typed values here and nowhere else; what it means is decided further down.

use crate::{
    collector::observation::{RawOutcome, RawValue},
    domain::audience::{Attributes, Text, Value},
};
use hyper::StatusCode;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

use super::problem::Problem;

/// The deepest nesting of a JSON body.
pub const DEEPEST_JSON: usize = 32;
/// The most prompts of one batch.
pub const MOST_PROMPTS: usize = 256;

/// `POST /v1/decide`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that asks for a decision")]
pub struct DecideRequest<'a> {
    /// One prompt …
    #[serde(borrow, default)]
    pub prompt: Option<Text<'a>>,
    /// … or several.
    #[serde(borrow, default)]
    pub prompts: Option<Vec<Text<'a>>>,
    /// What the audience looks at and where the unit id is found.
    #[serde(borrow, default)]
    pub context: Attributes<'a>,
    /// Absent: the server's.
    #[serde(borrow, default)]
    pub environment: Option<Text<'a>>,
    /// The receipt of an earlier answer of the same conversation, which keeps its version while a freeze drains.
    #[serde(borrow, default)]
    pub receipt: Option<Text<'a>>,
    /// Add the version's type, prompt and config.
    #[serde(default)]
    pub content: bool,
    /// Add every step of the walk.
    #[serde(default)]
    pub explain: bool,
    /// False: a look that is not counted.
    #[serde(default = "yes")]
    pub expose: bool,
}

fn yes() -> bool {
    true
}

/// One outcome as it was sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an outcome object")]
pub struct OutcomeItem<'a> {
    #[serde(borrow, default)]
    receipt: Option<Text<'a>>,
    #[serde(borrow, default)]
    experiment: Option<Text<'a>>,
    #[serde(borrow, default)]
    variant: Option<Text<'a>>,
    #[serde(borrow, default)]
    unit: Option<Value<'a>>,
    #[serde(borrow, default)]
    prompt: Option<Text<'a>>,
    #[serde(borrow, default)]
    version: Option<Value<'a>>,
    #[serde(borrow, default)]
    context: Option<Attributes<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    metrics: Numbers<'a>,
    #[serde(borrow, default)]
    covariates: Numbers<'a>,
    #[serde(borrow, default)]
    tags: Vec<Text<'a>>,
    #[serde(borrow, default)]
    note: Option<Text<'a>>,
}

impl OutcomeItem<'_> {
    /// The unit id's bytes when it is a number; text needs none.
    #[must_use]
    pub fn numeric_unit(&self) -> Option<String> {
        match &self.unit {
            Some(Value::Int(number)) => Some(number.to_string()),
            Some(Value::UInt(number)) => Some(number.to_string()),
            _ => None,
        }
    }

    /// For the intake. `numeric_unit` is [`Self::numeric_unit`], kept by the caller; `position` is the item's place in
    /// its request.
    #[must_use]
    pub fn raw<'s>(&'s self, numeric_unit: Option<&'s str>, position: usize) -> RawOutcome<'s> {
        let text = |text: &'s Option<Text<'_>>| text.as_ref().map(|text| text.0.as_ref());
        let unit = match &self.unit {
            Some(Value::Text(text)) => Some(text.as_bytes()),
            // Neither text nor a whole number: an empty id, which is refused as no unit.
            Some(Value::Null) | None => None,
            Some(_) => Some(numeric_unit.unwrap_or_default().as_bytes()),
        };
        RawOutcome {
            receipt: text(&self.receipt),
            experiment: text(&self.experiment),
            variant: text(&self.variant),
            unit,
            prompt: text(&self.prompt),
            version: self.version.as_ref(),
            context: self.context.as_ref(),
            covariates: self.covariates.borrowed(),
            id: text(&self.id),
            metrics: self.metrics.borrowed(),
            tags: self
                .tags
                .iter()
                .map(|tag| Cow::Borrowed(tag.0.as_ref()))
                .collect(),
            note: self.note.as_ref().map(|note| Cow::Borrowed(note.0.as_ref())),
            position,
        }
    }
}

/// Names and values: metrics, covariates.
#[derive(Debug, Default)]
struct Numbers<'a>(Vec<(Cow<'a, str>, RawValue)>);

impl Numbers<'_> {
    fn borrowed(&self) -> Vec<(Cow<'_, str>, RawValue)> {
        let pairs = self.0.iter();
        pairs
            .map(|(name, value)| (Cow::Borrowed(name.as_ref()), *value))
            .collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Numbers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumbersVisitor;
        impl<'de> Visitor<'de> for NumbersVisitor {
            type Value = Numbers<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers<'de>, A::Error> {
                let mut numbers = Vec::with_capacity(map.size_hint().unwrap_or(4).min(64));
                while let Some((Text(name), Number(value))) = map.next_entry()? {
                    numbers.push((name, value));
                }
                Ok(Numbers(numbers))
            }
        }
        deserializer.deserialize_map(NumbersVisitor)
    }
}

/// A value of any type, so that a wrong one is refused with its own code.
struct Number(RawValue);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl<'de> Visitor<'de> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or true or false")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Number, E> {
                Ok(Number(RawValue::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(RawValue::Number(value as f64)))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(RawValue::Number(value as f64)))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(RawValue::Number(value)))
            }
            fn visit_str<E>(self, _: &str) -> Result<Number, E> {
                Ok(Number(RawValue::Other("string")))
            }
            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(RawValue::Other("null")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Number(RawValue::Other("array")))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Number(RawValue::Other("object")))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// The answer to outcomes.
#[derive(Debug, Default, Serialize)]
pub struct OutcomesAnswer {
    /// On disk and counted.
    pub accepted: u32,
    /// Seen before.
    pub duplicates: u32,
    /// Refused, one by one.
    pub rejected: Vec<RejectedItem>,
}

/// A refused outcome.
#[derive(Debug, Serialize)]
pub struct RejectedItem {
    /// Its place in the request.
    pub index: usize,
    /// Stable.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// Reads a JSON body of bounded depth.
///
/// # Errors
/// A 400: `BAD_JSON` for text that is no JSON, `BAD_REQUEST` for JSON of another shape, `JSON_TOO_DEEP`.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    check_depth(body)?;
    serde_json::from_slice(body).map_err(|error| json_problem(&error))
}

fn json_problem(error: &serde_json::Error) -> Problem {
    let code = if error.is_data() {
        "BAD_REQUEST"
    } else {
        "BAD_JSON"
    };
    Problem::new(StatusCode::BAD_REQUEST, code, error.to_string())
}

fn check_depth(body: &[u8]) -> Result<(), Problem> {
    // Few opening brackets cannot nest deeply; only suspicious bodies are walked.
    let opening = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if opening > DEEPEST_JSON && depth(body) > DEEPEST_JSON {
        let detail = format!("JSON nested deeper than {DEEPEST_JSON} levels");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "JSON_TOO_DEEP", detail));
    }
    Ok(())
}

fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    structure(body, |_, byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    });
    deepest
}

/// Visits every byte outside of strings.
fn structure(body: &[u8], mut visit: impl FnMut(usize, u8)) {
    let (mut in_string, mut escaped) = (false, false);
    for (at, &byte) in body.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            in_string = byte == b'"';
            visit(at, byte);
        }
    }
}

/// One outcome of a request, or why it could not be read.
pub type ReadItem<'a> = Result<OutcomeItem<'a>, RejectedItem>;

/// Reads outcomes: an object, an array, or lines of objects when `lines` is set. An item that is broken by itself
/// (a NaN, say) does not take the others with it.
///
/// # Errors
/// A 400 when the body as a whole is not of that form.
pub fn read_outcomes(body: &[u8], lines: bool) -> Result<Vec<ReadItem<'_>>, Problem> {
    check_depth(body)?;
    if lines {
        let lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty());
        return Ok(lines
            .enumerate()
            .map(|(index, line)| read_item(index, line))
            .collect());
    }
    match body.trim_ascii_start().first() {
        Some(b'[') => match serde_json::from_slice::<Vec<OutcomeItem<'_>>>(body) {
            Ok(items) => Ok(items.into_iter().map(Ok).collect()),
            Err(error) => {
                // Brackets that do not pair are no JSON, whatever the parser met before it got there.
                let items = split_array(body).ok_or_else(|| Problem {
                    code: "BAD_JSON",
                    ..json_problem(&error)
                })?;
                Ok(items
                    .into_iter()
                    .enumerate()
                    .map(|(index, item)| read_item(index, item))
                    .collect())
            }
        },
        Some(b'{') => match serde_json::from_slice(body) {
            Ok(item) => Ok(vec![Ok(item)]),
            // JSON of the wrong shape is one bad item; anything else is a bad body.
            Err(error) if error.is_data() => Ok(vec![read_item(0, body)]),
            Err(error) => {
                let problem = json_problem(&error);
                let hint = if error.to_string().starts_with("trailing characters") {
                    "; send several outcomes as an array, or one a line as application/x-ndjson"
                } else {
                    ""
                };
                Err(Problem {
                    detail: problem.detail.clone() + hint,
                    ..problem
                })
            }
        },
        _ => {
            let detail =
                "expected an outcome object, an array of them, or lines of them as application/x-ndjson";
            Err(Problem::new(StatusCode::BAD_REQUEST, "BAD_JSON", detail))
        }
    }
}

fn read_item(index: usize, text: &[u8]) -> ReadItem<'_> {
    serde_json::from_slice(text).map_err(|error| {
        let code = if error.is_data() {
            "BAD_OUTCOME"
        } else {
            "BAD_JSON"
        };
        let hint = if error.is_syntax() {
            "; NaN and Infinity are not JSON numbers"
        } else {
            ""
        };
        RejectedItem {
            index,
            code,
            detail: format!("{error}{hint}"),
        }
    })
}

/// The elements of an array whose brackets are balanced, parsed or not.
fn split_array(body: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut depth, mut start, mut end) = (0_usize, 0, None);
    let (mut items, mut balanced) = (Vec::new(), true);
    structure(body, |at, byte| match byte {
        _ if end.is_some() => balanced &= byte.is_ascii_whitespace(),
        b'[' | b'{' => {
            depth += 1;
            if depth == 1 {
                start = at + 1;
            }
        }
        b',' if depth == 1 => {
            items.push(&body[start..at]);
            start = at + 1;
        }
        b']' | b'}' => match depth {
            0 => balanced = false,
            1 => {
                items.push(&body[start..at]);
                end = Some(at);
                depth = 0;
            }
            _ => depth -= 1,
        },
        _ => {}
    });
    (balanced && end.is_some()).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(body: &str, lines: bool) -> Vec<&'static str> {
        let items = read_outcomes(body.as_bytes(), lines).unwrap();
        items
            .iter()
            .map(|item| item.as_ref().map_or_else(|rejected| rejected.code, |_| "ok"))
            .collect()
    }

    #[test]
    fn a_bad_item_is_alone() {
        let body = r#"[{"id":"a","metrics":{"x":NaN}},{"id":"[,]\"","metrics":{"x":1}},{"metrics":{"x":1e999}},{"id":7}, 3]"#;
        assert_eq!(
            codes(body, false),
            ["BAD_JSON", "ok", "BAD_JSON", "BAD_OUTCOME", "BAD_OUTCOME"]
        );
        assert_eq!(
            codes("{\"id\":\"a\"}\n\n{\"id\":\n{\"typo\":1}\n", true),
            ["ok", "BAD_JSON", "BAD_OUTCOME"]
        );
        assert_eq!(codes("[]", false).len(), 0);
        assert_eq!(codes("{\"typo\":1}", false), ["BAD_OUTCOME"]);
    }

    #[test]
    fn a_bad_body_is_refused_whole() {
        for body in [
            "",
            "nope",
            "[{",
            "[{}]]",
            "{\"id\":\"a\"}{\"id\":\"b\"}",
            "[{}] x",
            "\u{0}",
        ] {
            let problem = read_outcomes(body.as_bytes(), false).unwrap_err();
            assert_eq!(problem.code, "BAD_JSON", "{body}");
        }
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(
            read_outcomes(deep.as_bytes(), false).unwrap_err().code,
            "JSON_TOO_DEEP"
        );
        assert_eq!(
            parse::<DecideRequest<'_>>(deep.as_bytes()).unwrap_err().code,
            "JSON_TOO_DEEP"
        );
        let strings = format!("{{\"prompt\":\"{}\"}}", "[".repeat(100));
        assert!(
            parse::<DecideRequest<'_>>(strings.as_bytes()).is_ok(),
            "brackets in text do not nest"
        );
    }

    #[test]
    fn values_keep_their_types() {
        let body = r#"{"metrics":{"a":true,"b":1,"c":-0.5,"d":"1","e":null,"f":[1],"g":{"h":1}},"unit":42}"#;
        let item = read_outcomes(body.as_bytes(), false)
            .unwrap()
            .pop()
            .unwrap()
            .unwrap();
        let unit = item.numeric_unit();
        let raw = item.raw(unit.as_deref(), 0);
        assert_eq!(raw.unit, Some(b"42".as_slice()));
        let values: Vec<RawValue> = raw.metrics.iter().map(|(_, value)| *value).collect();
        use RawValue::{Bool, Number, Other};
        let expected = [
            Bool(true),
            Number(1.0),
            Number(-0.5),
            Other("string"),
            Other("null"),
            Other("array"),
            Other("object"),
        ];
        assert_eq!(values, expected);
    }
}
