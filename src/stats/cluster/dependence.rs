//! How much two comparisons have in common because the same units came back.
//!
//! Owns the correlation of comparisons made in different epochs of the same buckets. Called by a report before it
//! combines epochs; independent epochs need none of it.

/// What each bucket adds to the difference of two ratios: its residual in treatment less its residual in control, both
/// as shares of the denominator and blown up for the bucket's own leverage.
///
/// ψ_b = e_B,b/(N_B √(1 − h_B,b)) − e_A,b/(N_A √(1 − h_A,b)) for the pairs ((N_A,b, S_A,b), (N_B,b, S_B,b)) of every
/// bucket, in the notation of [`ArmSummary`](super::ArmSummary): where no bucket is in use in both arms, Σψ_b² is the
/// CR2 variance of the difference. Empty when an arm has no denominator.
#[must_use]
pub fn influences(buckets: impl IntoIterator<Item = ((f64, f64), (f64, f64))> + Clone) -> Vec<f64> {
    let (mut control, mut treatment) = ((0.0, 0.0), (0.0, 0.0));
    for ((n_a, s_a), (n_b, s_b)) in buckets.clone() {
        control = (control.0 + n_a, control.1 + s_a);
        treatment = (treatment.0 + n_b, treatment.1 + s_b);
    }
    if control.0 <= 0.0 || treatment.0 <= 0.0 {
        return Vec::new();
    }
    let of = |(n, s): (f64, f64), (all, sum): (f64, f64)| {
        let rest = ((all - n) / all).max(f64::EPSILON);
        (s - sum / all * n) / all / rest.sqrt()
    };
    let one = |(a, b)| of(b, treatment) - of(a, control);
    buckets.into_iter().map(one).collect()
}

/// The correlation of two comparisons from the influences of the same buckets, in \[0, 1\]: Σψ_b φ_b / √(Σψ_b² Σφ_b²).
///
/// A negative one counts as none, because it would make an error smaller on the word of a few buckets; so does one that
/// cannot be had. Influences (1, −1, 0) and (1, 0, −1): ½.
///
/// ```
/// use serin::stats::cluster::correlation;
/// assert!((correlation(&[1.0, -1.0, 0.0], &[1.0, 0.0, -1.0]) - 0.5).abs() < 1e-15);
/// assert_eq!(correlation(&[1.0, -1.0], &[-1.0, 1.0]), 0.0);
/// assert_eq!(correlation(&[], &[1.0]), 0.0);
/// ```
#[must_use]
pub fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let (mut products, mut squares, mut others) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        products += a * b;
    }
    one.iter().for_each(|a| squares += a * a);
    other.iter().for_each(|b| others += b * b);
    let correlation = products / (squares.sqrt() * others.sqrt());
    if correlation.is_finite() {
        correlation.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ArmSummary, compare_welch};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn squared_influences_are_the_variance(
            rows in prop::collection::vec((any::<bool>(), 1.0..20.0f64, -5.0..5.0f64), 8..60),
        ) {
            let buckets: Vec<_> = rows
                .iter()
                .map(|&(arm, n, mean)| {
                    let own = (n, n * mean);
                    if arm { ((0.0, 0.0), own) } else { (own, (0.0, 0.0)) }
                })
                .collect();
            let arm = |pick: fn(&((f64, f64), (f64, f64))) -> (f64, f64)| {
                ArmSummary::from_clusters(buckets.iter().map(pick).collect::<Vec<_>>())
            };
            let (Ok(a), Ok(b)) = (arm(|row| row.0), arm(|row| row.1)) else { return Ok(()) };
            let Ok(test) = compare_welch(&a, &b, 0.05) else { return Ok(()) };
            let sum: f64 = influences(buckets.clone()).iter().map(|psi| psi * psi).sum();
            prop_assert!((sum.sqrt() / test.se - 1.0).abs() < 1e-6, "{sum} {test:?}");
        }

        #[test]
        fn a_correlation_is_never_nan(
            one in prop::collection::vec(any::<f64>(), 0..5), other in prop::collection::vec(any::<f64>(), 0..5),
        ) {
            prop_assert!((0.0..=1.0).contains(&correlation(&one, &other)));
        }
    }
}
