//! Intervals of one rate, and of the difference of two.
//!
//! Owns Wilson's interval and the three for a difference. Which to use: [`newcombe`] for display, as it holds
//! its confidence for rare events and never leaves [−1, 1]; [`agresti_caffo`] where a centre ± a width is
//! wanted; [`wald`] only with hundreds of events, to agree with other tools. Called by a report for shares of
//! distinct units.

use super::super::distribution::normal_upper_quantile;
use super::super::{Undefined, check_alpha};
use super::{Proportion, difference};

/// Wilson's interval of confidence 1 − `alpha` for a rate seen as `events` out of `n` independent units.
///
/// The p with (x/n − p)² ≤ z²p(1 − p)/n, which stays within [0, 1] and has a width even at 0 and n events:
/// Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22,
/// doi:10.1080/01621459.1927.10502953. 1 of 10 at 95 %: (0.017876, 0.404150).
///
/// # Errors
/// [`Undefined::InsufficientData`] for `n` = 0, [`Undefined::OutOfDomain`] when there are more events than
/// units or `alpha` is outside (0, 1).
///
/// ```
/// use serin::stats::proportion::wilson;
/// let (low, high) = wilson(1, 10, 0.05)?;
/// assert!((low - 0.017_876_213_095_072_9).abs() < 1e-14 && (high - 0.404_150_026_795_238_5).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn wilson(events: u64, n: u64, alpha: f64) -> Result<(f64, f64), Undefined> {
    let arm = Proportion::new(events, n)?;
    check_alpha(alpha)?;
    Ok(wilson_ends(&arm, normal_upper_quantile(0.5 * alpha)?))
}

/// The standard error of the difference of two rates, each with its own variance: √(p_A(1 − p_A)/n_A + p_B(1
/// − p_B)/n_B).
///
/// It is 0 when both rates are 0 or 1, which is a defect of the formula and no certainty. Source: Newcombe
/// (1998), method 1, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I. 120 of 1000 and
/// 150 of 1000: 0.0152676.
///
/// ```
/// use serin::stats::proportion::{Proportion, unpooled_se};
/// let se = unpooled_se(&Proportion::new(120, 1000)?, &Proportion::new(150, 1000)?);
/// assert!((se - 0.015_267_612_779_999_4).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn unpooled_se(control: &Proportion, treatment: &Proportion) -> f64 {
    let variance = |arm: &Proportion| arm.rate() * arm.complement() / arm.n() as f64;
    (variance(control) + variance(treatment)).sqrt()
}

/// Wald's interval of confidence 1 − `alpha` for the difference of two rates: p_B − p_A ± z·SE with
/// [`unpooled_se`].
///
/// Not cut off at ±1, and without any width when both rates are 0 or 1. Source as for [`unpooled_se`]. 120 of
/// 1000 and 150 of 1000 at 95 %: 0.03 ± 0.029924.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
///
/// ```
/// use serin::stats::proportion::{Proportion, wald};
/// let (low, high) = wald(&Proportion::new(120, 1000)?, &Proportion::new(150, 1000)?, 0.05)?;
/// assert!((low - 0.000_076_028_821_298).abs() < 1e-14 && (high - 0.059_923_971_178_702).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn wald(control: &Proportion, treatment: &Proportion, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    let half_width = normal_upper_quantile(0.5 * alpha)? * unpooled_se(control, treatment);
    let centre = difference(control, treatment);
    Ok((centre - half_width, centre + half_width))
}

/// Newcombe's interval of confidence 1 − `alpha` for the difference of two rates, put together from Wilson's
/// intervals (l, u) of either.
///
/// d − √((p_B − l_B)² + (u_A − p_A)²) to d + √((u_B − p_B)² + (p_A − l_A)²): Newcombe (1998), "Interval
/// estimation for the difference between independent proportions", method 10,
/// doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I. 48 of 80 and 56 of 70 at 95 %:
/// (0.052431, 0.333873).
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
///
/// ```
/// use serin::stats::proportion::{Proportion, newcombe};
/// let (low, high) = newcombe(&Proportion::new(48, 80)?, &Proportion::new(56, 70)?, 0.05)?;
/// assert!((low - 0.052_431_472_402_4).abs() < 1e-12 && (high - 0.333_872_654_036_9).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn newcombe(control: &Proportion, treatment: &Proportion, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    let z = normal_upper_quantile(0.5 * alpha)?;
    let (low_a, high_a) = wilson_ends(control, z);
    let (low_b, high_b) = wilson_ends(treatment, z);
    let (a, b) = (control.rate(), treatment.rate());
    let centre = difference(control, treatment);
    let low = centre - (b - low_b).hypot(high_a - a);
    let high = centre + (high_b - b).hypot(a - low_a);
    // Only rounding can lead beyond ±1.
    Ok((low.max(-1.0), high.min(1.0)))
}

/// Agresti and Caffo's interval of confidence 1 − `alpha` for the difference of two rates: Wald's after one
/// event and one unit without an event are added to either arm.
///
/// Not cut off at ±1. Source: Agresti & Caffo (2000), "Simple and effective confidence intervals for
/// proportions and differences of proportions result from adding two successes and two failures", The
/// American Statistician 54(4), doi:10.1080/00031305.2000.10474560. 0 of 10 and 0 of 10 at 95 %: ± 0.221150.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
///
/// ```
/// use serin::stats::proportion::{Proportion, agresti_caffo};
/// let none = Proportion::new(0, 10)?;
/// let (low, high) = agresti_caffo(&none, &none, 0.05)?;
/// assert!((high - 0.221_150_315_029_260).abs() < 1e-14 && low == -high);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn agresti_caffo(
    control: &Proportion,
    treatment: &Proportion,
    alpha: f64,
) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    let added = |arm: &Proportion| {
        let n = arm.n() as f64 + 2.0;
        let rate = (arm.events() as f64 + 1.0) / n;
        let complement = ((arm.n() - arm.events()) as f64 + 1.0) / n;
        (rate, rate * complement / n)
    };
    let ((a, variance_a), (b, variance_b)) = (added(control), added(treatment));
    let half_width = normal_upper_quantile(0.5 * alpha)? * (variance_a + variance_b).sqrt();
    Ok((b - a - half_width, b - a + half_width))
}

/// The roots of (n + z²)p² − (2x + z²)p + x²/n. The smaller is the product of both over the larger one: the
/// difference that gives it directly loses all digits for rare events.
fn wilson_ends(arm: &Proportion, z: f64) -> (f64, f64) {
    let (x, n) = (arm.events() as f64, arm.n() as f64);
    let square = z * z;
    let larger = x + 0.5 * square + z * (x * arm.complement() + 0.25 * square).sqrt();
    let low = arm.rate() * x / larger.max(f64::MIN_POSITIVE);
    (
        low.min(arm.rate()),
        (larger / (n + square)).clamp(arm.rate(), 1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_interval_holds_the_rate(
            n in 1u64..2_000_000_000_000, share in 0.0..=1.0f64, alpha in 1e-12..0.999f64,
        ) {
            let events = ((n as f64 * share) as u64).min(n);
            let (low, high) = wilson(events, n, alpha).unwrap();
            let rate = events as f64 / n as f64;
            prop_assert!(0.0 <= low && low <= rate && rate <= high && high <= 1.0);
        }

        #[test]
        fn the_difference_lies_in_its_intervals(
            (x_a, n_a) in counts(), (x_b, n_b) in counts(), alpha in prop::sample::select(vec![1e-300, 0.05, 0.9]),
        ) {
            let (a, b) = (Proportion::new(x_a, n_a).unwrap(), Proportion::new(x_b, n_b).unwrap());
            let seen = difference(&a, &b);
            let (low, high) = newcombe(&a, &b, alpha).unwrap();
            prop_assert!(-1.0 <= low && low <= seen && seen <= high && high <= 1.0);
            let (low, high) = wald(&a, &b, alpha).unwrap();
            prop_assert!(low <= seen && seen <= high);
            let (low, high) = agresti_caffo(&a, &b, alpha).unwrap();
            // With 1e19 units the width can be less than a float next to 1 can show.
            prop_assert!(low <= high && low.is_finite() && high.is_finite());
            // Exchanging the arms turns every interval round.
            let (other_low, other_high) = newcombe(&b, &a, alpha).unwrap();
            let (low, high) = newcombe(&a, &b, alpha).unwrap();
            prop_assert!((low + other_high).abs() < 1e-12 && (high + other_low).abs() < 1e-12);
        }
    }

    fn counts() -> impl Strategy<Value = (u64, u64)> {
        let n = prop::sample::select(vec![1, 2, 10, 1_000, 1_000_000_000_000, u64::MAX]);
        let share = prop::sample::select(vec![0.0, 1e-12, 0.02, 0.5, 1.0]);
        (n, share).prop_map(|(n, share)| (((n as f64 * share) as u64).min(n), n))
    }

    #[test]
    fn a_very_rare_event_keeps_the_digits_of_its_bounds() {
        // One event of 1e12: the ends are those of a Poisson count, (2 + z² ± z√(4 + z²))/2 in units of 1/n.
        let z = normal_upper_quantile(0.025).unwrap();
        let (low, high) = wilson(1, 1_000_000_000_000, 0.05).unwrap();
        let root = z * (4.0 + z * z).sqrt();
        let expected = [2.0 + z * z - root, 2.0 + z * z + root].map(|twice| 0.5e-12 * twice);
        assert!((low / expected[0] - 1.0).abs() < 1e-10 && (high / expected[1] - 1.0).abs() < 1e-10);
    }

    #[test]
    fn no_units_have_no_rate() {
        assert!(wilson(0, 0, 0.05).is_err());
        assert!(wilson(2, 1, 0.05).is_err());
    }
}
