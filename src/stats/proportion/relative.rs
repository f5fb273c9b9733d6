//! How large is a difference of two rates, other than in points?
//!
//! Owns the intervals relative to control and Cohen's h. Lifts are treatment's rate over control's, minus 1.
//! Called by a report, and by whoever plans a sample with h.

use super::super::distribution::normal_upper_quantile;
use super::super::{Undefined, check_alpha, finite};
use super::{Proportion, crossed, difference};

/// The lift of two rates p_B/p_A − 1; −1 when only control had events.
///
/// 9 of 1000 against 2 of 1000: 3.5.
///
/// # Errors
/// [`Undefined::NoControlEffect`] when control had no event.
///
/// ```
/// use serin::stats::proportion::{Proportion, lift};
/// assert_eq!(lift(&Proportion::new(2, 1000)?, &Proportion::new(9, 1000)?)?, 3.5);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn lift(control: &Proportion, treatment: &Proportion) -> Result<f64, Undefined> {
    if control.events == 0 {
        return Err(Undefined::NoControlEffect);
    }
    Ok(crossed(control, treatment) / control.events as f64 / treatment.n as f64)
}

/// The standard error of ln(p_B/p_A): √((1 − p_B)/x_B + (1 − p_A)/x_A).
///
/// 0 when every unit of both arms had an event. Source as for [`katz`]. 9 of 1000 against 2 of 1000: 0.7805.
///
/// # Errors
/// [`Undefined::NoControlEffect`] when control had no event, [`Undefined::InsufficientData`] when treatment
/// had none.
///
/// ```
/// use serin::stats::proportion::{Proportion, log_ratio_se};
/// let se = log_ratio_se(&Proportion::new(2, 1000)?, &Proportion::new(9, 1000)?)?;
/// assert!((se - (0.991f64 / 9.0 + 0.998 / 2.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn log_ratio_se(control: &Proportion, treatment: &Proportion) -> Result<f64, Undefined> {
    if control.events == 0 {
        return Err(Undefined::NoControlEffect);
    }
    if treatment.events == 0 {
        return Err(Undefined::InsufficientData {
            what: "units with an event in treatment",
            have: 0.0,
            needed: 1.0,
        });
    }
    let part = |arm: &Proportion| arm.complement() / arm.events as f64;
    Ok((part(control) + part(treatment)).sqrt())
}

/// Katz's interval of confidence 1 − `alpha` for the lift: symmetric in the logarithm of the ratio of rates.
///
/// (p_B/p_A)·e^(±z·SE) − 1 with [`log_ratio_se`]: Katz, Baptista, Azen & Pike (1978), "Obtaining confidence
/// intervals for the risk ratio in cohort studies", Biometrics 34(3), method C, doi:10.2307/2530610. Never
/// below −1. 9 of 1000 against 2 of 1000 at 95 %: a lift of 3.5 between −0.0253 and 19.77.
///
/// # Errors
/// Those of [`log_ratio_se`], and [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
///
/// ```
/// use serin::stats::proportion::{Proportion, katz};
/// let (low, high) = katz(&Proportion::new(1, 10)?, &Proportion::new(2, 10)?, 0.05)?;
/// assert!((low + 0.785_952_128_138_913).abs() < 1e-12 && (high - 17.687_408_406_451_84).abs() < 1e-11);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn katz(control: &Proportion, treatment: &Proportion, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    let half_width = normal_upper_quantile(0.5 * alpha)? * log_ratio_se(control, treatment)?;
    let lift = lift(control, treatment)?;
    // Near 1 the lift has the digits of the logarithm, near 0 the ratio itself.
    let log_ratio = if lift.abs() < 0.5 {
        lift.ln_1p()
    } else {
        (treatment.rate() / control.rate()).ln()
    };
    Ok((
        finite("the interval", (log_ratio - half_width).exp_m1())?,
        finite("the interval", (log_ratio + half_width).exp_m1())?,
    ))
}

/// The delta-method interval of confidence 1 − `alpha` for the lift: symmetric in the ratio itself.
///
/// p_B/p_A − 1 ± z·(p_B/p_A)·SE with [`log_ratio_se`], the first-order variance of a ratio: Stuart & Ord
/// (1994), "Kendall's advanced theory of statistics", volume 1, section 10.5. May reach below −1, and is wrong
/// by up to 20 points for few events, where [`katz`] is not: here to agree with tools that use it. 2 of 10
/// against 1 of 10 at 95 %: 1 ± 4.469.
///
/// # Errors
/// Those of [`katz`].
///
/// ```
/// use serin::stats::proportion::{Proportion, delta_lift};
/// let (low, high) = delta_lift(&Proportion::new(1, 10)?, &Proportion::new(2, 10)?, 0.05)?;
/// assert!((low + 3.469_405_538_503_913).abs() < 1e-12 && (high - 5.469_405_538_503_913).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn delta_lift(control: &Proportion, treatment: &Proportion, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    let ratio = treatment.rate() / control.rate();
    let half_width = normal_upper_quantile(0.5 * alpha)? * log_ratio_se(control, treatment)? * ratio;
    let centre = lift(control, treatment)?;
    Ok((
        finite("the interval", centre - half_width)?,
        finite("the interval", centre + half_width)?,
    ))
}

/// Cohen's h, the difference of two rates on the scale where their error does not depend on the rate; in [−π,
/// π].
///
/// h = 2 arcsin √p_B − 2 arcsin √p_A: Cohen (1988), "Statistical power analysis for the behavioral sciences",
/// section 6.2; 0.2 is small, 0.5 medium, 0.8 large. Computed as 2·atan2(sin h/2, cos h/2), whose parts have
/// nothing to cancel. 2 of 10 against 1 of 10: 0.283794.
///
/// ```
/// use serin::stats::proportion::{Proportion, cohens_h};
/// let h = cohens_h(&Proportion::new(1, 10)?, &Proportion::new(2, 10)?);
/// assert!((h - 0.283_794_109_208_327_9).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn cohens_h(control: &Proportion, treatment: &Proportion) -> f64 {
    let difference = difference(control, treatment);
    if difference == 0.0 {
        return 0.0;
    }
    let (a, b) = (control.rate().sqrt(), treatment.rate().sqrt());
    let (not_a, not_b) = (control.complement().sqrt(), treatment.complement().sqrt());
    // sin(β − α) = (sin²β − sin²α)/(sin β cos α + cos β sin α)
    let sine = difference / (b * not_a + not_b * a);
    2.0 * sine.atan2(a * b + not_a * not_b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    #[test]
    fn an_arm_without_events_has_no_interval_of_its_lift() {
        let (none, some) = (Proportion::new(0, 10).unwrap(), Proportion::new(3, 10).unwrap());
        assert_eq!(lift(&none, &some), Err(Undefined::NoControlEffect));
        assert_eq!(katz(&none, &some, 0.05), Err(Undefined::NoControlEffect));
        assert_eq!(lift(&some, &none), Ok(-1.0));
        let nothing = |found| matches!(found, Err(Undefined::InsufficientData { .. }));
        assert!(nothing(katz(&some, &none, 0.05)) && nothing(delta_lift(&some, &none, 0.05)));
    }

    #[test]
    fn the_widest_difference_is_pi() {
        let (none, all) = (Proportion::new(0, 7).unwrap(), Proportion::new(3, 3).unwrap());
        assert_eq!((cohens_h(&none, &all), cohens_h(&all, &none)), (PI, -PI));
        assert_eq!(cohens_h(&all, &all), 0.0);
    }

    proptest! {
        #[test]
        fn lifts_lie_in_their_intervals(
            (x_a, n_a) in counts(), (x_b, n_b) in counts(), alpha in prop::sample::select(vec![1e-300, 0.05, 0.9]),
        ) {
            let (a, b) = (Proportion::new(x_a, n_a).unwrap(), Proportion::new(x_b, n_b).unwrap());
            let h = cohens_h(&a, &b);
            prop_assert!((-PI..=PI).contains(&h) && h == -cohens_h(&b, &a));
            prop_assert_eq!(h > 0.0, difference(&a, &b) > 0.0);
            if let (Ok(seen), Ok((low, high))) = (lift(&a, &b), katz(&a, &b, alpha)) {
                let near = 1e-12 * (1.0 + seen.abs());
                prop_assert!(-1.0 <= low && low <= seen + near && seen - near <= high, "{} {} {}", low, seen, high);
                let (low, high) = delta_lift(&a, &b, alpha).unwrap();
                prop_assert!(low <= seen && seen <= high);
            }
        }
    }

    fn counts() -> impl Strategy<Value = (u64, u64)> {
        let n = prop::sample::select(vec![1, 2, 10, 1_000, 1_000_000_000_000, u64::MAX]);
        let share = prop::sample::select(vec![0.0, 1e-12, 0.02, 0.5, 1.0]);
        (n, share).prop_map(|(n, share)| (((n as f64 * share) as u64).min(n), n))
    }
}
