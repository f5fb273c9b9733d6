//! Numbers and names in sentences.

use crate::domain::{
    experiment::Experiment,
    id::{VariantName, VersionNumber},
    prompt::Prompt,
};

/// A version as people call it: its semver, else its number.
pub(super) fn version(prompt: &Prompt, number: VersionNumber) -> String {
    let semver = prompt
        .numbered(number)
        .and_then(|version| version.draft.semver.as_ref());
    semver.map_or_else(|| format!("version {number}"), ToString::to_string)
}

/// What a variant serves, as people call it, with the number.
pub(super) fn served(
    prompt: &Prompt,
    experiment: &Experiment,
    variant: &VariantName,
) -> (String, Option<VersionNumber>) {
    match experiment.pinned_version(variant) {
        Some(pinned) => (version(prompt, pinned.version), Some(pinned.version)),
        None => (format!("`{variant}`"), None),
    }
}

/// A share in per cent: `18 %`, `2.1 %`, `0.35 %`.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let decimals = match value.abs() {
        v if v >= 10.0 => 0,
        v if v >= 1.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} %")
}

/// A share that somebody chose, in per cent and without needless zeros: `5 %`, `2.5 %`.
pub(super) fn chosen(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A share in percentage points, without the word: `3.0`, `0.35`.
pub(super) fn points(share: f64) -> String {
    let value = share * 100.0;
    let decimals = if value.abs() < 1.0 { 2 } else { 1 };
    format!("{value:.decimals$}")
}

/// A number with three digits that count: `958`, `0.0031`.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from((2 - magnitude).clamp(0, 12)).unwrap_or(0);
    format!("{value:.decimals$}")
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

/// So many of something: `1 outcome`, `12 outcomes`.
pub(super) fn several(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(n))
}

/// A p-value, never as a plain zero.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "p < 0.0001".to_owned()
    } else {
        format!("p = {p:.4}")
    }
}

/// The size of a difference and its interval, as positive numbers where the difference is: for "so much higher" and "so
/// much lower".
pub(super) fn size(difference: f64, (low, high): (f64, f64), format: fn(f64) -> String) -> (String, String) {
    let (size, low, high) = if difference < 0.0 {
        (-difference, -high, -low)
    } else {
        (difference, low, high)
    };
    (format(size), format!("[{}, {}]", format(low), format(high)))
}

/// A number of days: `5 hours`, `4 days`.
pub(super) fn days(days: f64) -> String {
    if days * 24.0 < 1.0 {
        "less than an hour".to_owned()
    } else if days < 2.0 {
        format!("{:.0} hours", (days * 24.0).ceil())
    } else {
        format!("{:.0} days", days.ceil())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        assert_eq!([0.18, 0.021, 0.0035].map(percent), ["18 %", "2.1 %", "0.35 %"]);
        assert_eq!([0.05, 0.025, 0.2].map(chosen), ["5 %", "2.5 %", "20 %"]);
        assert_eq!([0.03, 0.0035, -0.052].map(points), ["3.0", "0.35", "-5.2"]);
        assert_eq!(
            [958.2, 0.0031, 12.5, 0.0].map(number),
            ["958", "0.00310", "12.5", "0"]
        );
        assert_eq!(
            [several(1, "outcome"), several(1_200, "unit")],
            ["1 outcome", "1,200 units"]
        );
        assert_eq!(
            [0.01, 0.5, 3.2].map(days),
            ["less than an hour", "12 hours", "4 days"]
        );
        assert_eq!(
            size(-0.03, (-0.052, -0.008), points),
            ("3.0".to_owned(), "[0.80, 5.2]".to_owned())
        );
    }
}
