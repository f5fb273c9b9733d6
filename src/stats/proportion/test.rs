//! Are two rates of independent units different? The test for counts that are not small.
//!
//! Owns the pooled z test. It has no interval: under "no difference" both arms share a variance that an
//! interval may not assume. Called by a report; [`fisher_exact`](super::fisher_exact) is the form for few
//! events.

use super::super::distribution::normal_sf;
use super::super::{Undefined, finite};
use super::{Proportion, difference};

/// Treatment's rate against control's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZTest {
    /// Treatment's rate minus control's, in [−1, 1].
    pub difference: f64,
    /// The standard error of the difference if both arms had one rate; greater than 0.
    pub se: f64,
    /// Difference over standard error.
    pub z: f64,
    /// The two-sided p-value under "no difference", in [0, 1]. Accurate down to 1e-300.
    pub p: f64,
    /// The one-sided p-value that is small when treatment's rate is the larger.
    pub p_greater: f64,
    /// The one-sided p-value that is small when treatment's rate is the smaller.
    pub p_less: f64,
}

/// The two-proportion z test with one variance for both arms.
///
/// z = (p_B − p_A)/√(p(1 − p)(1/n_A + 1/n_B)) with p the rate of both arms together, referred to the standard
/// normal; z² is Pearson's chi-square of the table: Pearson (1900), doi:10.1080/14786440009463897; Fleiss,
/// Levin & Paik (2003), "Statistical methods for rates and proportions", section 3.2,
/// doi:10.1002/0471445428. Good from about five expected events per arm.
///
/// Worked number: 120 of 1000 and 150 of 1000 have z = 0.03/√(0.135·0.865·0.002) = 1.9630, p = 0.0496.
///
/// # Errors
/// [`Undefined::ZeroVariance`] when no unit or every unit had an event.
///
/// ```
/// use serin::stats::proportion::{Proportion, two_proportion_z};
/// let test = two_proportion_z(&Proportion::new(120, 1000)?, &Proportion::new(150, 1000)?)?;
/// assert!((test.z - 0.03 / (0.135f64 * 0.865 * 0.002).sqrt()).abs() < 1e-13);
/// assert!((test.p - 0.049_64).abs() < 1e-5 && test.p_greater == 0.5 * test.p);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn two_proportion_z(control: &Proportion, treatment: &Proportion) -> Result<ZTest, Undefined> {
    let (n_a, n_b) = (control.n as f64, treatment.n as f64);
    let total = n_a + n_b;
    let without = (control.n - control.events) as f64 + (treatment.n - treatment.events) as f64;
    let rate = (control.events as f64 + treatment.events as f64) / total;
    let variance = rate * (without / total) * (1.0 / n_a + 1.0 / n_b);
    if variance == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let difference = difference(control, treatment);
    let se = variance.sqrt();
    let z = finite("z", difference / se)?;
    Ok(ZTest {
        difference,
        se,
        z,
        p: 2.0 * normal_sf(z.abs()),
        p_greater: normal_sf(z),
        p_less: normal_sf(-z),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_that_cannot_vary_have_no_test() {
        let of = |events| Proportion::new(events, 10).unwrap();
        assert_eq!(two_proportion_z(&of(0), &of(0)), Err(Undefined::ZeroVariance));
        assert_eq!(two_proportion_z(&of(10), &of(10)), Err(Undefined::ZeroVariance));
        assert!(two_proportion_z(&of(0), &of(10)).is_ok());
    }

    #[test]
    fn equal_rates_of_unequal_arms_are_no_difference_at_all() {
        let (a, b) = (Proportion::new(1, 49).unwrap(), Proportion::new(3, 147).unwrap());
        let test = two_proportion_z(&a, &b).unwrap();
        assert_eq!((test.difference, test.z, test.p), (0.0, 0.0, 1.0));
    }

    proptest! {
        #[test]
        fn exchanging_arms_or_events_exchanges_the_sides(
            (x_a, n_a) in counts(), (x_b, n_b) in counts(),
        ) {
            let (a, b) = (Proportion::new(x_a, n_a).unwrap(), Proportion::new(x_b, n_b).unwrap());
            let Ok(test) = two_proportion_z(&a, &b) else {
                let total = u128::from(x_a) + u128::from(x_b);
                prop_assert!(total == 0 || total == u128::from(n_a) + u128::from(n_b));
                return Ok(());
            };
            prop_assert!(test.z.is_finite() && (0.0..=1.0).contains(&test.p));
            prop_assert!((test.p_greater + test.p_less - 1.0).abs() < 1e-12);
            let arms = two_proportion_z(&b, &a).unwrap();
            let without = |x, n| Proportion::new(n - x, n).unwrap();
            let events = two_proportion_z(&without(x_a, n_a), &without(x_b, n_b)).unwrap();
            for other in [arms, events] {
                prop_assert!((other.z + test.z).abs() <= 1e-12 * test.z.abs(), "{:?} {:?}", test, other);
            }
        }
    }

    fn counts() -> impl Strategy<Value = (u64, u64)> {
        let n = prop::sample::select(vec![1, 2, 10, 1_000, 1_000_000_000_000, u64::MAX]);
        let share = prop::sample::select(vec![0.0, 1e-12, 0.02, 0.5, 1.0]);
        (n, share).prop_map(|(n, share)| (((n as f64 * share) as u64).min(n), n))
    }
}
