//! Numbers, times and other values of the server's answers in words for people.

use super::table::plain;
use crate::domain::Timestamp;
use serde_json::Value;

/// The longest reason shown for a figure that cannot be had, in characters.
const LONGEST_REASON: usize = 44;

/// The text of a member; empty where it has none.
pub(super) fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

/// The entries of a list; none where it is something else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A figure that may be `{"undefined":"reason"}`: `format` shows it where there is one, else `– (reason)`.
pub(super) fn figure(value: &Value, format: impl Fn(f64) -> String) -> String {
    value.as_f64().map_or_else(|| missing(value), format)
}

/// An interval `[low, high]` that may be `{"undefined":"reason"}`.
pub(super) fn interval(value: &Value, format: impl Fn(f64) -> String) -> String {
    match list(value) {
        [low, high] => format!("[{}, {}]", figure(low, &format), figure(high, &format)),
        _ => missing(value),
    }
}

/// What stands in for a figure that is not there.
pub(super) fn missing(value: &Value) -> String {
    let Some(reason) = value["undefined"].as_str() else {
        return "–".to_owned();
    };
    let reason = plain(reason);
    if reason.chars().count() <= LONGEST_REASON {
        return format!("– ({reason})");
    }
    let short: String = reason.chars().take(LONGEST_REASON - 1).collect();
    format!("– ({}…)", short.trim_end())
}

/// A whole number with commas: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A whole number of an answer, or what stands in for it.
pub(super) fn counted(value: &Value) -> String {
    value.as_u64().map_or_else(|| missing(value), count)
}

/// A measured rate in per cent, with the same decimals from look to look: `62.0 %`, `3.68 %`.
pub(super) fn rate(rate: f64) -> String {
    let decimals = if rate.abs() < 0.1 { 2 } else { 1 };
    format!("{:.decimals$} %", rate * 100.0)
}

/// A share or limit in per cent, without needless zeros: `12.5 %`, `5 %`, `0.83 %`.
pub(super) fn percent(share: f64) -> String {
    let decimals = if share.abs() < 0.1 { 2 } else { 1 };
    format!("{} %", shortened(share * 100.0, decimals))
}

/// A number with about four digits that count: `0.003100`, `12.35`, `8127`.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from((3 - magnitude).clamp(0, 8)).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// A difference of rates in percentage points, with its sign.
pub(super) fn points(difference: f64) -> String {
    format!("{:+.2}", difference * 100.0)
}

/// A difference of numbers with its sign.
pub(super) fn signed(difference: f64) -> String {
    let sign = if difference < 0.0 { "" } else { "+" };
    format!("{sign}{}", number(difference))
}

/// A p-value, never as a plain zero.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        format!("{p:.4}")
    }
}

/// At most so many decimals, without zeros at the end.
pub(super) fn shortened(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A time for people, to the second and in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time of an answer for people; left as it is when it is none.
pub(super) fn moment_of(value: &Value) -> String {
    let written = value.as_str().unwrap_or("–");
    written
        .parse::<Timestamp>()
        .map_or_else(|_| plain(written), moment)
}

/// A length of time in seconds for people: `84 ms`, `4.2 s`, `3 min 20 s`.
pub(super) fn seconds(length: f64) -> String {
    if length < 0.0095 {
        format!("{} ms", shortened(length * 1000.0, 1))
    } else if length < 1.0 {
        format!("{:.0} ms", length * 1000.0)
    } else if length < 60.0 {
        format!("{length:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (length / 60.0).floor(), length % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.5, 0.125, 0.05, 0.0083, 1.0, 0.0].map(percent),
            ["50 %", "12.5 %", "5 %", "0.83 %", "100 %", "0 %"]
        );
        assert_eq!(
            [0.0031, 12.345_6, 8_127.4, 0.0].map(number),
            ["0.003100", "12.35", "8127", "0"]
        );
        assert_eq!([0.62, 0.036_82, 0.0].map(rate), ["62.0 %", "3.68 %", "0.00 %"]);
        assert_eq!(points(0.118), "+11.80");
        assert_eq!([-3.25, 0.5].map(signed), ["-3.250", "+0.5000"]);
        assert_eq!([0.00001, 0.0086].map(p_value), ["< 0.0001", "0.0086"]);
        assert_eq!(
            [0.0042, 0.084, 4.21, 200.0].map(seconds),
            ["4.2 ms", "84 ms", "4.2 s", "3 min 20 s"]
        );
    }

    #[test]
    fn a_figure_that_cannot_be_had_says_why() {
        assert_eq!(
            figure(&json!({"undefined": "collecting"}), number),
            "– (collecting)"
        );
        assert_eq!(figure(&json!(null), number), "–");
        assert_eq!(interval(&json!([0.008, 0.052]), points), "[+0.80, +5.20]");
        let long =
            json!({"undefined": "needs at least thirty effective buckets of units in each of the arms"});
        let shown = figure(&long, number);
        assert!(
            shown.starts_with("– (needs at least") && shown.ends_with("…)"),
            "{shown}"
        );
    }

    #[test]
    fn times_are_told_to_the_second() {
        assert_eq!(
            moment_of(&json!("2026-12-01T10:00:05.123Z")),
            "2026-12-01 10:00:05 UTC"
        );
        assert_eq!(moment_of(&json!("soon")), "soon");
    }
}
