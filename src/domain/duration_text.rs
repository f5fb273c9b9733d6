//! Durations as people write them: `5s`, `15m`, `1h 30m`, `7d`.

use serde::{Deserialize, Deserializer, Serializer, de};
use std::time::Duration;

/// Reads a duration such as `250ms`, `5s`, `15m`, `4h` or `7d`; a bare number has no unit and is refused.
///
/// # Errors
/// What is allowed, as text.
pub fn parse(text: &str) -> Result<Duration, String> {
    let complaint =
        || format!("`{text}` is not a duration; write a number and a unit such as 250ms, 5s, 15m, 4h or 7d");
    // A day is 24 hours here: these durations are lengths of time, not dates in a time zone.
    let (days, rest) = match text.trim().split_once('d') {
        Some((days, rest)) if !days.is_empty() && days.bytes().all(|b| b.is_ascii_digit()) => {
            (days.parse::<u32>().map_err(|_| complaint())?, rest.trim())
        }
        _ => (0, text.trim()),
    };
    let rest = if rest.is_empty() && days > 0 {
        Duration::ZERO
    } else {
        let span: jiff::SignedDuration = rest.parse().map_err(|_| complaint())?;
        Duration::try_from(span).map_err(|_| complaint())?
    };
    Ok(Duration::from_secs(u64::from(days) * 86_400) + rest)
}

/// Writes a duration so that [`parse`] reads it back: `15m`, `250ms`.
#[must_use]
pub fn format(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{}s", duration.as_secs()), |d| format!("{d:#}"))
}

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Text that [`parse`] refuses.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(de::Error::custom)
}

/// The same for a duration that may be absent.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, de, format, parse};

    /// For `#[serde(with = …)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(with = …)]`.
    ///
    /// # Errors
    /// Text that [`parse`] refuses.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, seconds) in [
            ("5s", 5.0),
            ("250ms", 0.25),
            ("15m", 900.0),
            ("1h 30m", 5_400.0),
            ("7d", 604_800.0),
        ] {
            let duration = parse(text).unwrap();
            assert!((duration.as_secs_f64() - seconds).abs() < 1e-9, "{text}");
            assert_eq!(parse(&format(duration)).unwrap(), duration, "{text}");
        }
        for bad in ["", "5", "-5s", "5 parsecs", "d"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
