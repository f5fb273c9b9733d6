//! Median and slow end of the latency, and whether they moved.
//!
//! Sketches are of whole hours: what is said of a window is said of the hours it touches, and the window before gives up
//! the hour in which this one begins.

use super::{
    estimate::{Basis, Estimate},
    tally::{Blocks, Measured, Tally},
    trend::{Found, Trend},
};
use crate::{
    report::{ALPHA, Figure},
    stats::{
        Undefined,
        cluster::ArmSummary,
        quantile::{self, OpenInterval, Sketch},
    },
};

/// Points at which a sketch is read to find its variance.
const GRID: u32 = 200;
/// The smallest p-value that is looked for.
const LEAST_P: f64 = 1e-12;
/// Halvings of the logarithm: to a thousandth of itself.
const HALVINGS: u32 = 16;

/// The `q`-quantile of the latency; `before` is none where the window before is not kept.
pub(super) fn percentile(q: f64, now: &Tally, before: Option<&Tally>) -> Estimate {
    let effect = design_effect(now);
    let value = Figure::of(now.latency.quantile(q).map_err(|reason| match reason {
        Undefined::InsufficientData { .. } => "nothing was reported in these hours".to_owned(),
        other => other.to_string(),
    }));
    let trend = match before {
        None => Trend::unknown("counts of the window before are not kept any more"),
        Some(before) if before.latency.count() == 0 => Trend::unknown(
            "percentiles are kept by the hour, and nothing was reported in the hours before those of this window",
        ),
        Some(before) => Trend::tested(
            &value,
            &Figure::of(before.latency.quantile(q)),
            test(
                q,
                (&before.latency, design_effect(before)),
                (&now.latency, effect),
            ),
        ),
    };
    Estimate {
        ci: closed(now.latency.interval(q, ALPHA, effect)),
        value,
        se: None,
        n: now.latency.count(),
        basis: Basis::RequestsOfWholeHours,
        trend,
    }
}

/// The interval of the change, and the smallest α at which such an interval still excludes 0. Each of them holds with
/// confidence 1 − α, so that α is a p-value.
fn test(q: f64, before: (&Sketch, f64), now: (&Sketch, f64)) -> Result<Found, String> {
    let at = |alpha: f64| quantile::compare(before.0, now.0, q, alpha, (before.1, now.1));
    let shown = at(ALPHA).map_err(|reason| reason.to_string())?;
    let (Some(low), Some(high)) = shown.ci else {
        return Err("collecting: too few values lie beyond it to enclose it".to_owned());
    };
    let excludes = |alpha: f64| {
        at(alpha).is_ok_and(|found| {
            found.ci.0.is_some_and(|low| low > 0.0) || found.ci.1.is_some_and(|high| high < 0.0)
        })
    };
    let (mut not, mut does) = (LEAST_P.ln(), 0.0);
    if excludes(LEAST_P) {
        does = not;
    } else {
        for _ in 0..HALVINGS {
            let middle = 0.5 * (not + does);
            if excludes(middle.exp()) {
                does = middle;
            } else {
                not = middle;
            }
        }
    }
    Ok(Found {
        ci: (low, high),
        p: does.exp(),
    })
}

/// How many times larger the variance of the mean latency is, by blocks of time, than if requests had nothing to do
/// with each other; 1 where that cannot be had. The variance of single requests is read from the sketch.
fn design_effect(tally: &Tally) -> f64 {
    let effect = |blocks: &Blocks| {
        let clusters = blocks.0.values().map(|&(n, sum)| (n as f64, sum));
        let summary = ArmSummary::from_clusters(clusters).ok()?;
        let points: Vec<f64> = (0..GRID)
            .filter_map(|point| {
                let q = (f64::from(point) + 0.5) / f64::from(GRID);
                tally.latency.quantile(q).ok()
            })
            .collect();
        let n = points.len() as f64;
        let mean = points.iter().sum::<f64>() / n;
        let variance = points.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        Some(summary.variance * summary.n / variance)
    };
    tally
        .values
        .get(&Measured::Latency)
        .and_then(effect)
        .filter(|effect| effect.is_finite())
        .map_or(1.0, |effect| effect.max(1.0))
}

fn closed(interval: Result<OpenInterval, Undefined>) -> Figure<(f64, f64)> {
    match interval {
        Ok((Some(low), Some(high))) => Figure::Known((low, high)),
        Ok(_) => Figure::undefined("collecting: too few values lie beyond it to enclose it"),
        Err(reason) => Figure::of(Err(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(values: impl Iterator<Item = f64>) -> Tally {
        let mut tally = Tally::default();
        let blocks = tally.values.entry(Measured::Latency).or_default();
        for (index, value) in (0_u32..).zip(values) {
            tally.latency.add(value).unwrap();
            let (n, sum) = blocks.0.entry(index % 48).or_default();
            *n += 1;
            *sum += value;
        }
        tally
    }

    /// A permutation of 1 to n − 1 for a prime n, so that blocks differ by chance only.
    fn shuffled(n: u64) -> impl Iterator<Item = f64> {
        (1..n).map(move |k| (k * 5_003 % n) as f64)
    }

    #[test]
    fn a_slower_end_is_seen_and_a_quiet_one_is_not() {
        let before = tally(shuffled(4_001).map(|value| 500.0 + value / 10.0));
        let same = percentile(0.95, &before.clone(), Some(&before));
        assert!(
            (same.value.known().unwrap() - 880.0).abs() < 10.0,
            "{:?}",
            same.value
        );
        assert_eq!(same.n, 4_000);
        assert_eq!(same.trend.change, Figure::Known(0.0));
        assert!(*same.trend.p.known().unwrap() > 0.9);
        let slower = tally(shuffled(4_001).map(|value| 1.2 * (500.0 + value / 10.0)));
        let moved = percentile(0.95, &slower, Some(&before)).trend;
        assert!((moved.relative.known().unwrap() - 0.2).abs() < 0.02);
        assert!(*moved.p.known().unwrap() < 1e-6, "{moved:?}");
    }

    #[test]
    fn the_p_value_and_the_interval_agree() {
        let before = tally(shuffled(499).map(|value| 500.0 + value));
        for shift in [0.0, 20.0, 60.0, 70.0, 80.0, 90.0, 120.0] {
            let now = tally(shuffled(499).map(|value| 500.0 + shift + value));
            let trend = percentile(0.5, &now, Some(&before)).trend;
            let ((low, high), p) = (*trend.ci.known().unwrap(), *trend.p.known().unwrap());
            assert_eq!(low > 0.0 || high < 0.0, p <= ALPHA, "{shift}: {low} {high} {p}");
        }
    }

    #[test]
    fn without_hours_before_there_is_no_trend() {
        let now = tally(shuffled(499));
        let alone = percentile(0.5, &now, Some(&Tally::default())).trend;
        assert!(matches!(alone.p, Figure::Undefined(reason) if reason.contains("by the hour")));
        let none = percentile(0.5, &Tally::default(), None);
        assert_eq!(
            none.value,
            Figure::undefined("nothing was reported in these hours")
        );
    }
}
