//! Sums by block of time → a figure with its error, its interval and its trend.

use super::{
    span::Span,
    tally::Blocks,
    trend::{Side, Trend},
};
use crate::{
    report::{ALPHA, Figure},
    stats::{
        Undefined,
        cluster::{ArmSummary, interval},
    },
};
use serde::Serialize;

const NOTHING: &str = "nothing was reported in this window";

/// What the error of a figure was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Basis {
    /// Blocks of the window as clusters. Requests close in time are alike, and counts by minute know no units.
    #[serde(rename = "blocks of time")]
    BlocksOfTime,
    /// Single requests of whole hours, made fewer by the design effect that the mean has in blocks of time.
    #[serde(rename = "requests of whole hours")]
    RequestsOfWholeHours,
}

/// A rate, a mean or a percentile of one version in the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Its value.
    pub value: Figure<f64>,
    /// The standard error; a percentile has none, because its interval is not symmetric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub se: Option<Figure<f64>>,
    /// The 95 % interval; of a rate, what of it lies in [0, 1].
    pub ci: Figure<(f64, f64)>,
    /// How many values there were.
    pub n: u64,
    /// What the error was made from.
    pub basis: Basis,
    /// Against the window before.
    pub trend: Trend,
}

/// A number of something in the window; exact, so without an error of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total<T> {
    /// How many, or how much.
    pub value: T,
    /// Against the window before.
    pub trend: Trend,
}

/// How the sums of a figure are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The share of ones.
    Rate,
    /// The share of zeros.
    Complement,
    /// The mean.
    Mean,
}

/// A rate or a mean. `before` is none where the window before is not kept.
pub(super) fn estimate(form: Form, current: Option<&Blocks>, before: Option<Option<&Blocks>>) -> Estimate {
    let now = side(form, current);
    let bounded = |(low, high): (f64, f64)| match form {
        Form::Mean => (low, high),
        Form::Rate | Form::Complement => (low.max(0.0), high.min(1.0)),
    };
    let se = now.summary.clone().and_then(|summary| {
        if summary.se > 0.0 {
            Ok(summary.se)
        } else {
            Err(Undefined::ZeroVariance.to_string())
        }
    });
    let ci = now
        .summary
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|summary| interval(summary, ALPHA).map_err(|reason| reason.to_string()));
    Estimate {
        value: now.value.clone(),
        se: Some(Figure::of(se)),
        ci: Figure::of(ci.map(bounded)),
        n: current.map_or(0, Blocks::n),
        basis: Basis::BlocksOfTime,
        trend: Trend::of(&now, before.map(|before| side(form, before)).as_ref()),
    }
}

/// How many requests or outcomes there were.
pub(super) fn count(span: Span, current: &Blocks, before: Option<&Blocks>) -> Total<u64> {
    let of = |(n, _): (u64, f64)| n as f64;
    Total {
        value: current.n(),
        trend: total_trend(span, current, before, of),
    }
}

/// How much the values add up to.
pub(super) fn sum(
    span: Span,
    current: Option<&Blocks>,
    before: Option<Option<&Blocks>>,
) -> Total<Figure<f64>> {
    let none = Blocks::default();
    let known = current.filter(|current| current.n() > 0);
    Total {
        value: known.map_or_else(
            || Figure::undefined(NOTHING),
            |current| Figure::finite("the sum", current.sum()),
        ),
        trend: total_trend(
            span,
            current.unwrap_or(&none),
            before.map(|before| before.unwrap_or(&none)),
            |(_, sum)| sum,
        ),
    }
}

/// A total is the ratio of its blocks to the share of the window that each of them is, empty blocks included.
fn total_trend(
    span: Span,
    current: &Blocks,
    before: Option<&Blocks>,
    of: impl Fn((u64, f64)) -> f64 + Copy,
) -> Trend {
    let side = |blocks: &Blocks, from: u32, to: u32| {
        let length = f64::from(to - from);
        let clusters: Vec<(f64, f64)> = span
            .blocks(from, to)
            .map(|(start, minutes)| {
                let counted = blocks.0.get(&start).copied().unwrap_or_default();
                (f64::from(minutes) / length, of(counted))
            })
            .collect();
        Side::total(blocks.n(), clusters.iter().copied())
    };
    let now = side(current, span.from, span.to);
    Trend::of(
        &now,
        before
            .map(|before| side(before, span.first_before(), span.from))
            .as_ref(),
    )
}

fn side(form: Form, blocks: Option<&Blocks>) -> Side {
    let Some(blocks) = blocks.filter(|blocks| blocks.n() > 0) else {
        return Side::empty(NOTHING);
    };
    let clusters = blocks.0.values().map(|&(n, sum)| match form {
        Form::Complement => (n as f64, n as f64 - sum),
        Form::Rate | Form::Mean => (n as f64, sum),
    });
    let mean = blocks.sum() / blocks.n() as f64;
    Side {
        value: Figure::finite(
            "the mean",
            if form == Form::Complement {
                1.0 - mean
            } else {
                mean
            },
        ),
        summary: ArmSummary::from_clusters(clusters).map_err(|reason| words(&reason)),
        rate: form != Form::Mean,
    }
}

/// A reason, with clusters called what they are here.
pub(super) fn words(reason: &Undefined) -> String {
    match *reason {
        Undefined::InsufficientData {
            what: "clusters",
            have,
            needed,
        } => Undefined::InsufficientData {
            what: "blocks of time",
            have,
            needed,
        }
        .to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(of: &[(u64, f64)]) -> Blocks {
        Blocks((0..).zip(of.iter().copied()).collect())
    }

    #[test]
    fn a_mean_is_the_ratio_of_the_blocks() {
        // The worked number of the cluster summary: 1/2 with a variance of 1/24 and 1.8 degrees of freedom.
        let found = estimate(Form::Mean, Some(&blocks(&[(2, 1.0), (1, 1.0), (1, 0.0)])), None);
        assert_eq!((found.value, found.n), (Figure::Known(0.5), 4));
        let se = *found.se.unwrap().known().unwrap();
        assert!((se - (1.0f64 / 24.0).sqrt()).abs() < 1e-12);
        let (low, high) = *found.ci.known().unwrap();
        assert!((low + 0.478_751_060).abs() < 1e-9 && (high - 1.478_751_060).abs() < 1e-9);
        let rate = estimate(Form::Rate, Some(&blocks(&[(2, 1.0), (1, 1.0), (1, 0.0)])), None);
        assert_eq!(rate.ci, Figure::Known((0.0, 1.0)));
        let failures = estimate(Form::Complement, Some(&blocks(&[(8, 1.0), (2, 0.0)])), None);
        assert_eq!(failures.value, Figure::Known(0.9));
    }

    fn any_blocks() -> impl Strategy<Value = Blocks> {
        let n = prop::sample::select(vec![1_u64, 2, 1_000, 1_000_000_000_000]);
        let mean = prop::sample::select(vec![0.0, 1.0, 0.5, 1e-300, 1e9, 1e9 + 1.0, -1e15, 1e15, f64::MAX]);
        let block = (n, mean).prop_map(|(n, mean)| (n, (n as f64 * mean).clamp(f64::MIN, f64::MAX)));
        prop::collection::btree_map(0_u32..40, block, 0..40).prop_map(Blocks)
    }

    proptest! {
        #[test]
        fn no_figure_is_without_a_number_or_a_reason(now in any_blocks(), before in any_blocks()) {
            let span = Span { from: 20, to: 40, block: 1, kept_from: 0 };
            for form in [Form::Rate, Form::Complement, Form::Mean] {
                // What is not finite would be written as null.
                let text = serde_json::to_string(&estimate(form, Some(&now), Some(Some(&before)))).unwrap();
                prop_assert!(!text.contains("null"), "{text}");
            }
            let text = serde_json::to_string(&sum(span, Some(&now), Some(Some(&before)))).unwrap();
            prop_assert!(!text.contains("null"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_had_says_why() {
        let none = estimate(Form::Rate, None, None);
        assert_eq!(none.value, Figure::undefined(NOTHING));
        let one = estimate(Form::Rate, Some(&blocks(&[(5, 1.0)])), Some(None));
        assert_eq!(one.value, Figure::Known(0.2));
        assert_eq!(
            one.ci,
            Figure::undefined("not enough data: 1 blocks of time, at least 2 needed")
        );
        let same = estimate(Form::Mean, Some(&blocks(&[(1, 3.0), (2, 6.0)])), None);
        assert!(matches!(same.se, Some(Figure::Undefined(reason)) if reason.starts_with("zero variance")));
    }
}
