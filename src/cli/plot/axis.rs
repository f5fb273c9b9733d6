//! Axes whose marks stand at numbers and times that people read at a glance.

use crate::domain::Timestamp;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

const MINUTE: f64 = 60_000.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
/// Steps between the marks of a time axis, in milliseconds.
const TIME_STEPS: [f64; 20] = [
    1000.0,
    5000.0,
    15_000.0,
    30_000.0,
    MINUTE,
    5.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    3.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    7.0 * DAY,
    14.0 * DAY,
    28.0 * DAY,
    84.0 * DAY,
    168.0 * DAY,
    364.0 * DAY,
];

/// An axis with its marks and what is written at each.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    marks: Vec<(f64, String)>,
}

impl Axis {
    /// Numbers from `low` to `high` with about so many marks.
    pub(super) fn numbers(low: f64, high: f64, marks: usize) -> Self {
        let (low, high) = apart(low, high);
        let step = nice_step((high - low) / marks.max(1) as f64);
        let decimals = usize::try_from((-step.log10().floor()) as i64)
            .unwrap_or(0)
            .min(9);
        let large = low.abs().max(high.abs()) >= 1e9 || step < 1e-7;
        let write = |value: f64| {
            if large {
                format!("{value:.2e}")
            } else {
                grouped(value, decimals)
            }
        };
        let marks = multiples(low, high, step).map(|value| (value, write(value)));
        Self {
            low,
            high,
            logarithmic: false,
            marks: marks.collect(),
        }
    }

    /// Positive numbers from `low` to `high`, equal ratios apart: marks at 1, 2 and 5 times powers of ten.
    pub(super) fn ratios(low: f64, high: f64) -> Self {
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let wide = high / low > 1e4;
        let factors: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let marks = decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)))
            .filter(|value| (low..=high).contains(value))
            .map(|value| (value, grouped(value, usize::from(value < 1.0))));
        Self {
            low,
            high,
            logarithmic: true,
            marks: marks.collect(),
        }
    }

    /// Times in milliseconds since 1970, with at most so many marks; in UTC.
    pub(super) fn times(low: f64, high: f64, most: usize) -> Self {
        let (low, high) = if high - low < 1000.0 {
            (low - 30_000.0, high + 30_000.0)
        } else {
            (low, high)
        };
        let fits = |step: &f64| (high - low) / step <= most as f64;
        let step = TIME_STEPS.into_iter().find(|step| fits(step));
        let step = step.unwrap_or(TIME_STEPS[TIME_STEPS.len() - 1]);
        let mut before = String::new();
        let mut write = |value: f64| {
            let Ok(at) = Timestamp::from_millisecond(value as i64) else {
                return String::new();
            };
            if step >= DAY {
                return at.strftime("%Y-%m-%d").to_string();
            }
            let clock = if step < MINUTE { "%H:%M:%S" } else { "%H:%M" };
            let day = at.strftime("%Y-%m-%d").to_string();
            let written = at.strftime(clock).to_string();
            // The day where it begins, and not at every mark.
            let text = if day == before {
                written
            } else {
                format!("{day} {written}")
            };
            before = day;
            text
        };
        let marks = multiples(low, high, step).map(|value| (value, write(value)));
        Self {
            low,
            high,
            logarithmic: false,
            marks: marks.collect(),
        }
    }

    /// What is written at a mark.
    pub(super) fn label(&self, value: f64) -> String {
        let mark = self.marks.iter().find(|(mark, _)| *mark == value);
        mark.map(|(_, label)| label.clone()).unwrap_or_default()
    }

    /// A value that stays on the axis.
    pub(super) fn within(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = |value: f64| if self.logarithmic { value.ln() } else { value };
        let share = (place(*value) - place(self.low)) / (place(self.high) - place(self.low));
        let length = f64::from(limit.1 - limit.0);
        let offset = (share * length).round() as i32;
        limit.0 + offset
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

/// Two ends with room between them.
fn apart(low: f64, high: f64) -> (f64, f64) {
    if high - low > 1e-12 * low.abs().max(high.abs()) && high > low {
        return (low, high);
    }
    let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
    (low - room, high + room)
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

fn multiples(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    let count = (last - first).clamp(-1.0, 100.0) + 1.0;
    let count = count as u32;
    // Zero, and not minus zero.
    (0..count).map(move |index| (first + f64::from(index)) * step + 0.0)
}

/// A number with a comma after thousands, without needless digits.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        // The minus of typesetting, as wide as a plus.
        out.push('−');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn marks_stand_at_round_numbers() {
        assert_eq!(labels(&Axis::numbers(-1.3, 2.2, 6)), ["−1", "0", "1", "2"]);
        assert_eq!(
            labels(&Axis::numbers(-0.031, 0.012, 5)),
            ["−0.03", "−0.02", "−0.01", "0.00", "0.01"]
        );
        assert_eq!(
            labels(&Axis::numbers(0.0, 41_000.0, 4)),
            ["0", "20,000", "40,000"]
        );
        assert_eq!(
            labels(&Axis::ratios(90.0, 2500.0)),
            ["100", "200", "500", "1,000", "2,000"]
        );
        assert_eq!(labels(&Axis::numbers(5.0, 5.0, 2)), ["4.5", "5.0", "5.5"]);
    }

    #[test]
    fn times_name_the_day_where_it_begins() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond() as f64;
        let days = Axis::times(at("2026-11-01T07:00:00Z"), at("2026-11-08T07:00:00Z"), 8);
        assert_eq!(labels(&days).len(), 7);
        assert_eq!(labels(&days)[0], "2026-11-02");
        let hours = Axis::times(at("2026-11-01T20:10:00Z"), at("2026-11-02T02:00:00Z"), 6);
        assert_eq!(
            labels(&hours),
            [
                "2026-11-01 21:00",
                "22:00",
                "23:00",
                "2026-11-02 00:00",
                "01:00",
                "02:00"
            ]
        );
    }
}
