//! One row of a file: what its fields hold, whatever the format, and what they must hold.
//!
//! Owns the columns and the rules of single values; knows neither metrics nor variants of a file. Both readers hand
//! their rows through here, so CSV and Parquet refuse the same things in the same words.

use crate::{
    domain::{Timestamp, metric::LARGEST_VALUE},
    routing::hash::analysis_hash,
};
use std::{borrow::Cow, fmt};

/// Below this, a number is a time in seconds (until the year 5138), from this on in milliseconds (since 1973).
const MILLISECONDS_FROM: f64 = 1e11;
/// Milliseconds beyond this are no time: microseconds, or nothing of the kind.
const LATEST_MS: f64 = 1e14;
/// The longest name of a metric, in bytes.
const LONGEST_METRIC: usize = 128;
/// So much of a wrong value is shown, in characters.
const SHOWN: usize = 40;

/// A column with a meaning. Others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Unit,
    Variant,
    Metric,
    Value,
    Time,
    Covariate,
}

impl Column {
    /// All, in the order of [`Fields`].
    pub(super) const ALL: [Self; 6] = [
        Self::Unit,
        Self::Variant,
        Self::Metric,
        Self::Value,
        Self::Time,
        Self::Covariate,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Variant => "variant",
            Self::Metric => "metric",
            Self::Value => "value",
            Self::Time => "time",
            Self::Covariate => "covariate",
        }
    }

    pub(super) fn required(self) -> bool {
        !matches!(self, Self::Time | Self::Covariate)
    }
}

/// The place of every column among those of a file; none where the file has no such column.
pub(super) type Places = [Option<usize>; Column::ALL.len()];

/// Finds the columns by their names, whatever their case, order and neighbours.
///
/// # Errors
/// Which are missing or there twice.
pub(super) fn places<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Result<Places, String> {
    let mut places = Places::default();
    for (place, name) in names.clone().enumerate() {
        let Some(index) = Column::ALL
            .iter()
            .position(|column| column.name().eq_ignore_ascii_case(name.trim()))
        else {
            continue;
        };
        if places[index].replace(place).is_some() {
            return Err(format!("column `{}` is there twice", Column::ALL[index].name()));
        }
    }
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        let names: Vec<String> = names.map(|name| format!("`{}`", shortened(name))).collect();
        names.join(", ")
    };
    let mut missing = Column::ALL
        .iter()
        .zip(places)
        .filter(|(column, place)| column.required() && place.is_none())
        .map(|(column, _)| column.name())
        .peekable();
    if missing.peek().is_none() {
        return Ok(places);
    }
    Err(format!(
        "missing: {}; needed are `unit`, `variant`, `metric` and `value`, `time` and `covariate` are optional, and \
         found were {}",
        quoted(&mut missing),
        quoted(&mut names.take(12)),
    ))
}

/// What a field holds, as its format has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Absent,
    Text(&'a [u8]),
    Number(f64),
    Whole(i128),
    Truth(bool),
    /// Milliseconds since 1970.
    Moment(i64),
}

/// The fields of one row in the order of [`Column::ALL`].
pub(super) type Fields<'a> = [Field<'a>; Column::ALL.len()];

/// What was measured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Truth(bool),
}

/// A row whose every field can be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<'a> {
    /// The line of a text, the row of a table; both begin with 1.
    pub(super) at: u64,
    /// The analysis hash of the unit.
    pub(super) unit: u64,
    pub(super) variant: Cow<'a, str>,
    pub(super) metric: Cow<'a, str>,
    pub(super) value: Value,
    /// Milliseconds since 1970.
    pub(super) time: Option<i64>,
    /// What was known of the unit beforehand.
    pub(super) covariate: Option<f64>,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The line of a text, the row of a table; both begin with 1.
    pub(super) at: u64,
    /// None where the row itself is broken.
    pub(super) column: Option<Column>,
    /// What is there, and what is allowed.
    pub(super) detail: String,
}

/// Checks a row.
///
/// # Errors
/// The first field that is not what it must be.
pub(super) fn checked<'a>(at: u64, fields: &Fields<'a>) -> Result<Row<'a>, Problem> {
    let [unit, variant, metric, value, time, covariate] = fields;
    let problem = |column| {
        move |detail| Problem {
            at,
            column: Some(column),
            detail,
        }
    };
    Ok(Row {
        at,
        unit: name(unit)
            .map(|unit| analysis_hash(unit.as_bytes()))
            .map_err(problem(Column::Unit))?,
        variant: name(variant).map_err(problem(Column::Variant))?,
        metric: metric_name(metric).map_err(problem(Column::Metric))?,
        value: measured(value).map_err(problem(Column::Value))?,
        time: moment(time).map_err(problem(Column::Time))?,
        covariate: known_before(covariate).map_err(problem(Column::Covariate))?,
    })
}

fn name<'a>(field: &Field<'a>) -> Result<Cow<'a, str>, String> {
    match *field {
        Field::Absent | Field::Text(b"") => Err("is empty".to_owned()),
        Field::Text(bytes) => utf8(bytes).map(Cow::Borrowed),
        Field::Whole(number) => Ok(Cow::Owned(number.to_string())),
        Field::Truth(truth) => Ok(Cow::Borrowed(if truth { "true" } else { "false" })),
        Field::Number(_) | Field::Moment(_) => Err("must be text or a whole number".to_owned()),
    }
}

fn metric_name<'a>(field: &Field<'a>) -> Result<Cow<'a, str>, String> {
    let name = name(field)?;
    if name.len() > LONGEST_METRIC || name.chars().any(char::is_control) {
        return Err(format!(
            "{}, but must be at most {LONGEST_METRIC} bytes without control characters",
            is(&name)
        ));
    }
    Ok(name)
}

fn measured(field: &Field<'_>) -> Result<Value, String> {
    const ALLOWED: &str = "a number, true or false";
    let number = match *field {
        Field::Truth(truth) => return Ok(Value::Truth(truth)),
        Field::Absent | Field::Text(b"") => return Err(format!("is empty, but must be {ALLOWED}")),
        Field::Text(bytes) if bytes.eq_ignore_ascii_case(b"true") => return Ok(Value::Truth(true)),
        Field::Text(bytes) if bytes.eq_ignore_ascii_case(b"false") => return Ok(Value::Truth(false)),
        _ => number(field, ALLOWED)?,
    };
    Ok(Value::Number(number))
}

fn known_before(field: &Field<'_>) -> Result<Option<f64>, String> {
    match *field {
        Field::Absent | Field::Text(b"") => Ok(None),
        Field::Truth(truth) => Ok(Some(f64::from(u8::from(truth)))),
        _ => number(field, "a number, or empty where it is not known").map(Some),
    }
}

/// A number that sums stay finite with.
fn number(field: &Field<'_>, allowed: &str) -> Result<f64, String> {
    let number = match *field {
        Field::Number(number) => number,
        Field::Whole(number) => number as f64,
        Field::Text(bytes) => {
            let text = utf8(bytes)?;
            text.parse()
                .map_err(|_| format!("{}, but must be {allowed}", is(text)))?
        }
        _ => return Err(format!("must be {allowed}")),
    };
    if !number.is_finite() {
        return Err(format!("is {number}, but must be finite"));
    }
    if number.abs() > LARGEST_VALUE {
        return Err(format!("is {number}, beyond ±{LARGEST_VALUE:e}"));
    }
    Ok(number)
}

fn moment(field: &Field<'_>) -> Result<Option<i64>, String> {
    const ALLOWED: &str = "RFC 3339 (2026-11-21T08:30:00Z), or seconds or milliseconds since 1970";
    let number = match *field {
        Field::Absent | Field::Text(b"") => return Ok(None),
        Field::Moment(ms) => return Ok(Some(ms)),
        Field::Number(number) => number,
        Field::Whole(number) => number as f64,
        Field::Text(bytes) => {
            let text = utf8(bytes)?;
            if let Ok(at) = text.parse::<Timestamp>() {
                return Ok(Some(at.as_millisecond()));
            }
            text.parse()
                .map_err(|_| format!("{}, but must be {ALLOWED}", is(text)))?
        }
        Field::Truth(_) => return Err(format!("must be {ALLOWED}")),
    };
    let ms = if number < MILLISECONDS_FROM {
        number * 1000.0
    } else {
        number
    };
    if !(0.0..LATEST_MS).contains(&ms) {
        return Err(format!("is {number}, but must be {ALLOWED}"));
    }
    Ok(Some(ms.round() as i64))
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|_| format!("{}, which is not UTF-8", is(&String::from_utf8_lossy(bytes))))
}

/// Says what a wrong value is.
fn is(value: &str) -> String {
    format!("is `{}`", shortened(value))
}

/// The beginning of a text from a file.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}: {}: {}", self.at, column.name(), self.detail),
            None => write!(f, "{}: {}", self.at, self.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(texts: [&'a str; 6]) -> Fields<'a> {
        texts.map(|text| Field::Text(text.as_bytes()))
    }

    fn refused(texts: [&str; 6]) -> String {
        checked(7, &fields(texts)).unwrap_err().to_string()
    }

    #[test]
    fn a_row_is_typed() {
        let fields = fields([
            "u-1",
            "control",
            "latency_ms",
            "12.5",
            "2026-11-21T08:30:00+01:00",
            "3",
        ]);
        let row = checked(2, &fields).unwrap();
        assert_eq!(row.unit, analysis_hash(b"u-1"));
        assert_eq!((&*row.variant, &*row.metric), ("control", "latency_ms"));
        assert_eq!(row.value, Value::Number(12.5));
        assert_eq!((row.time, row.covariate), (Some(1_795_246_200_000), Some(3.0)));
    }

    #[test]
    fn times_and_truths_come_in_several_forms() {
        let time = |text: &str| moment(&Field::Text(text.as_bytes())).unwrap();
        assert_eq!(time("1795246200"), Some(1_795_246_200_000));
        assert_eq!(time("1795246200.25"), Some(1_795_246_200_250));
        assert_eq!(time("1795246200250"), Some(1_795_246_200_250));
        assert_eq!(time(""), None);
        for (text, value) in [
            ("true", Value::Truth(true)),
            ("False", Value::Truth(false)),
            ("1e3", Value::Number(1000.0)),
        ] {
            assert_eq!(measured(&Field::Text(text.as_bytes())), Ok(value));
        }
        // The same unit as in a text file.
        assert_eq!(name(&Field::Whole(42)).unwrap(), "42");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (texts, told) in [
            (["", "a", "m", "1", "", ""], "7: unit: is empty"),
            (["u", "", "m", "1", "", ""], "7: variant: is empty"),
            (
                ["u", "a", "m", "", "", ""],
                "7: value: is empty, but must be a number, true or false",
            ),
            (
                ["u", "a", "m", "1,5", "", ""],
                "7: value: is `1,5`, but must be a number, true or false",
            ),
            (
                ["u", "a", "m", "NaN", "", ""],
                "7: value: is NaN, but must be finite",
            ),
            (
                ["u", "a", "m", "-inf", "", ""],
                "7: value: is -inf, but must be finite",
            ),
            (
                ["u", "a", "m", "1e16", "", ""],
                "7: value: is 10000000000000000, beyond ±1e15",
            ),
            (
                ["u", "a", "m", "1", "", "x"],
                "7: covariate: is `x`, but must be a number, or empty",
            ),
            (
                ["u", "a", "m", "1", "yesterday", ""],
                "7: time: is `yesterday`, but must be RFC 3339",
            ),
            (
                ["u", "a", "m", "1", "1795246200000000", ""],
                "7: time: is 1795246200000000, but must be",
            ),
        ] {
            assert!(refused(texts).starts_with(told), "{}", refused(texts));
        }
        let mut broken = fields(["u", "a", "m", "1", "", ""]);
        broken[0] = Field::Text(b"caf\xe9");
        assert!(
            checked(1, &broken)
                .unwrap_err()
                .detail
                .ends_with("which is not UTF-8")
        );
    }

    #[test]
    fn columns_are_found_by_name() {
        let found = places(["Value", " metric", "note", "variant", "unit"].into_iter()).unwrap();
        assert_eq!(found, [Some(4), Some(3), Some(1), Some(0), None, None]);
        assert!(
            places(["unit", "unit"].into_iter())
                .unwrap_err()
                .contains("twice")
        );
        let missing = places(["user", "variant", "metric"].into_iter()).unwrap_err();
        assert!(
            missing.starts_with("missing: `unit`, `value`; needed are"),
            "{missing}"
        );
        assert!(
            missing.ends_with("found were `user`, `variant`, `metric`"),
            "{missing}"
        );
    }
}
