//! Two arms that share their clusters, because requests and not units were assigned.
//!
//! Owns the paired variance. It takes both arms of every bucket together, which only works when both arms put
//! a unit into the same bucket. Called by a report on an experiment that assigns requests.

use super::super::difference::{Difference, Estimate, Form};
use super::super::{Undefined, finite};
use super::arm::{ROUNDING, Totals};

/// Treatment against control over buckets whose units are in both arms, from ((N_A, S_A), (N_B, S_B)) per
/// bucket.
///
/// A unit that is generous in one arm is so in the other; the difference within its bucket is free of that,
/// where [`compare`](super::compare) would count it twice and find nothing. With e_b = S_b − R·N_b in either
/// arm, d_b = e_B,b/N_B − e_A,b/N_A and G the buckets with anything in either arm: V = G/(G − 1)·Σd_b², with G
/// − 1 degrees of freedom. It is the linearised (delta) variance of a difference of two ratios over the same
/// clusters: Deng, Knoblich & Lu (2018), "Applying the delta method in metric analytics",
/// doi:10.1145/3219819.3219919, arXiv:1803.06336. The variances and the covariance of the result are those of
/// the same d_b taken apart, so its lift agrees with its test. When units are in one arm only, use
/// [`compare`](super::compare), which is better with few clusters.
///
/// Domain: N at least 0, S any finite value; a bucket may be empty in one arm or in both.
///
/// Worked number: control (1, 1), (1, 2), (1, 4) and treatment (1, 3), (1, 5), (1, 9) in the same three
/// buckets: d = −4/9, −1/9, 5/9, so the difference is 10/3 ± √(7/9) with 2 degrees of freedom, p = 0.0634;
/// unpaired it is 0.1914.
///
/// # Errors
/// [`Undefined::InsufficientData`] when an arm has no observation or fewer than two buckets are in use;
/// [`Undefined::ZeroVariance`] when all d_b are 0 to rounding; [`Undefined::OutOfDomain`] for a denominator
/// that is negative or not a number, a numerator that is not a number, or `alpha` outside (0, 1);
/// [`Undefined::Overflow`] when a sum exceeds a float.
///
/// ```
/// use serin::stats::cluster::compare_paired;
/// let buckets = [((1.0, 1.0), (1.0, 3.0)), ((1.0, 2.0), (1.0, 5.0)), ((1.0, 4.0), (1.0, 9.0))];
/// let test = compare_paired(buckets, 0.05)?;
/// assert!((test.se - (7f64 / 9.0).sqrt()).abs() < 1e-14 && test.dof == 2.0);
/// assert!((test.p - 0.063_414_188_418_306_1).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn compare_paired<I>(buckets: I, alpha: f64) -> Result<Difference, Undefined>
where
    I: IntoIterator<Item = ((f64, f64), (f64, f64))>,
    I::IntoIter: Clone,
{
    let buckets = buckets.into_iter();
    let a = Totals::of(buckets.clone().map(|(control, _)| control))?;
    let b = Totals::of(buckets.clone().map(|(_, treatment)| treatment))?;
    let mean_a = finite("the ratio", a.numerator / a.denominator)?;
    let mean_b = finite("the ratio", b.numerator / b.denominator)?;
    let (mut in_use, mut magnitude) = (0u64, 0.0);
    let (mut squares, mut squares_a, mut squares_b, mut products) = (0.0, 0.0, 0.0, 0.0);
    for ((n_a, s_a), (n_b, s_b)) in buckets {
        in_use += u64::from(n_a != 0.0 || s_a != 0.0 || n_b != 0.0 || s_b != 0.0);
        let residual_a = (s_a - mean_a * n_a) / a.denominator;
        let residual_b = (s_b - mean_b * n_b) / b.denominator;
        let gap = residual_b - residual_a;
        squares += gap * gap;
        squares_a += residual_a * residual_a;
        squares_b += residual_b * residual_b;
        products += residual_a * residual_b;
        let (size_a, size_b) = (s_a / a.denominator, s_b / b.denominator);
        magnitude += size_a * size_a + size_b * size_b;
    }
    if in_use < 2 {
        let have = in_use as f64;
        return Err(Undefined::InsufficientData {
            what: "clusters",
            have,
            needed: 2.0,
        });
    }
    if finite("the variance of the clusters", squares)? <= ROUNDING * ROUNDING * magnitude {
        return Err(Undefined::ZeroVariance);
    }
    let dof = in_use as f64 - 1.0;
    let factor = in_use as f64 / dof;
    let control = Estimate {
        mean: mean_a,
        variance: factor * squares_a,
    };
    let treatment = Estimate {
        mean: mean_b,
        variance: factor * squares_b,
    };
    Difference::with_variance(
        control,
        treatment,
        factor * products,
        factor * squares,
        dof,
        Form::Paired,
        alpha,
    )
}

#[cfg(test)]
mod tests {
    use super::super::{ArmSummary, compare};
    use super::*;
    use crate::stats::lift::{Lift, lift};
    use proptest::prelude::*;

    type Bucket = ((f64, f64), (f64, f64));

    #[test]
    fn what_a_bucket_has_in_both_arms_cancels() {
        // Buckets differ by 10 and more, treatment is better by 0.4 to 0.6 everywhere.
        let buckets: Vec<Bucket> = (0..40)
            .map(|b| {
                let (base, effect) = (f64::from(b), 0.4 + 0.1 * f64::from(b % 3));
                ((2.0, 2.0 * base), (2.0, 2.0 * (base + effect)))
            })
            .collect();
        let paired = compare_paired(buckets.iter().copied(), 0.05).unwrap();
        let arm =
            |pick: fn(&Bucket) -> (f64, f64)| ArmSummary::from_clusters(buckets.iter().map(pick)).unwrap();
        let apart = compare(&arm(|b| b.0), &arm(|b| b.1), 0.05).unwrap();
        assert!(paired.p < 1e-9 && apart.p > 0.5, "{paired:?} {apart:?}");
        let variance = paired.control.variance + paired.treatment.variance - 2.0 * paired.covariance;
        assert!((variance / (paired.se * paired.se) - 1.0).abs() < 1e-9);
        let (_, set) = lift(&paired).unwrap();
        assert!(matches!(set, Lift::Bounded(low, _) if low > 0.0), "{set:?}");
    }

    #[test]
    fn an_arm_without_observations_is_no_comparison() {
        let missing = compare_paired([((1.0, 1.0), (0.0, 0.0)), ((1.0, 2.0), (0.0, 0.0))], 0.05);
        assert!(matches!(
            missing,
            Err(Undefined::InsufficientData {
                what: "observations",
                ..
            })
        ));
        let one = compare_paired([((1.0, 1.0), (1.0, 2.0)), ((0.0, 0.0), (0.0, 0.0))], 0.05);
        assert!(matches!(
            one,
            Err(Undefined::InsufficientData {
                what: "clusters",
                have: 1.0,
                ..
            })
        ));
    }

    #[test]
    fn equal_buckets_are_no_variance() {
        let tenths = |n: u32| (f64::from(n), (0..n).map(|_| 0.1).sum::<f64>());
        let equal = [(tenths(7), tenths(3)), (tenths(200), tenths(31))];
        assert_eq!(compare_paired(equal, 0.05), Err(Undefined::ZeroVariance));
        let (never, always) = ((3.0, 0.0), (3.0, 3.0));
        assert_eq!(
            compare_paired([(never, always); 5], 0.05),
            Err(Undefined::ZeroVariance)
        );
    }

    proptest! {
        #[test]
        fn the_lift_agrees_with_the_test(
            buckets in prop::collection::vec(
                ((1.0..20.0f64, 0.1..30.0f64), (1.0..20.0f64, 0.1..30.0f64)), 3..40),
            alpha in 0.001..0.5f64,
        ) {
            let test = compare_paired(buckets, alpha).unwrap();
            prop_assume!((test.p - alpha).abs() > 1e-9);
            prop_assert_eq!(lift(&test).unwrap().1.contains(0.0), test.p >= alpha, "{:?}", test);
        }

        #[test]
        fn a_large_offset_keeps_the_spread(
            noise in prop::collection::vec((-3.0..3.0f64, -3.0..3.0f64), 30)
        ) {
            let se = |offset: f64| {
                let moved = noise.iter().map(|(a, b)| ((1.0, a + offset), (1.0, b + offset)));
                compare_paired(moved.collect::<Vec<_>>(), 0.05).unwrap().se
            };
            prop_assert!((se(1e9) / se(0.0) - 1.0).abs() < 1e-4);
        }

        #[test]
        fn nothing_is_nan(
            buckets in prop::collection::vec(((extreme(), extreme()), (extreme(), extreme())), 0..6),
            alpha in prop::sample::select(vec![1e-300, 0.001, 0.05, 0.999]),
        ) {
            if let Ok(test) = compare_paired(buckets, alpha) {
                for value in [test.difference, test.se, test.t, test.covariance, test.p, test.ci.0, test.ci.1] {
                    prop_assert!(value.is_finite(), "{test:?}");
                }
                prop_assert!((0.0..=1.0).contains(&test.p));
                if let Ok((_, Lift::Bounded(low, high))) = lift(&test) {
                    prop_assert!(low <= high);
                }
            }
        }
    }

    fn extreme() -> impl Strategy<Value = f64> {
        let values = [
            0.0,
            1e-300,
            1.0,
            2.0,
            1e9,
            1e9 + 1.0,
            1e12,
            1e154,
            1e308,
            -1e308,
            f64::NAN,
        ];
        prop::sample::select(values.to_vec())
    }
}
