//! Are two rates different? The test that needs no large numbers.
//!
//! Owns Fisher's exact test. It conditions on the number of events in both arms together. Called by a report
//! where events are too few for [`two_proportion_z`](super::two_proportion_z).

use super::super::Undefined;
use super::Proportion;

/// Units of both arms together up to which the exact test is computed: it takes about a millisecond there, and
/// above it the z test of the same counts gives the same answer.
pub const LARGEST_TABLE: u64 = 1_000_000_000;

/// What a term may contribute to its sum and still be left out.
const NEGLIGIBLE: f64 = 1e-24;

/// Fisher's exact test, two-sided: the probability of all tables no likelier than the observed one, given the
/// numbers of units and of events. In [0, 1]; 0 where it is below 1e-300.
///
/// With m events in both arms, control has k of them with probability ∝ C(n_A, k)·C(n_B, m − k): Fisher
/// (1935), "The logic of inductive inference", doi:10.2307/2342435; two sides by likelihood as Freeman &
/// Halton (1951), doi:10.1093/biomet/38.1-2.141. Summed from the observed table outwards by the ratios of
/// neighbours, so the time grows with the standard deviation of k and not with the counts: about a
/// millisecond for the slowest table up to [`LARGEST_TABLE`]. Tables equal up to the rounding of those ratios
/// count as equal.
///
/// The p-value is careful: with few events its true error rate is far below its nominal one. When every unit
/// had an event there is only the observed table, and its probability is 1.
///
/// Worked number: 3 of 4 against 1 of 4 (the lady tasting tea): (16 + 16 + 1 + 1)/70 = 0.4857.
///
/// # Errors
/// [`Undefined::InsufficientData`] when no unit had an event; [`Undefined::OutOfDomain`] for more than 1e9
/// units in both arms together.
///
/// ```
/// use serin::stats::proportion::{Proportion, fisher_exact};
/// let p = fisher_exact(&Proportion::new(1, 4)?, &Proportion::new(3, 4)?)?;
/// assert!((p - 34.0 / 70.0).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn fisher_exact(control: &Proportion, treatment: &Proportion) -> Result<f64, Undefined> {
    let total = u128::from(control.n) + u128::from(treatment.n);
    if total > u128::from(LARGEST_TABLE) {
        let (what, domain) = ("the number of units in both arms", "at most 1e9");
        return Err(Undefined::OutOfDomain {
            what,
            value: total as f64,
            domain,
        });
    }
    if control.events == 0 && treatment.events == 0 {
        let (what, needed) = ("units with an event", 1.0);
        return Err(Undefined::InsufficientData {
            what,
            have: 0.0,
            needed,
        });
    }
    // Seen from the arm with fewer events than the likeliest table gives it, all larger weights lie above.
    let (fewer, other) = (Table::of(control, treatment), Table::of(treatment, control));
    Ok(if fewer.next_is_likelier() {
        fewer.no_likelier()
    } else if other.next_is_likelier() {
        other.no_likelier()
    } else {
        1.0
    })
}

/// A table of two arms and two outcomes, known by the events of one arm once the margins are given. All
/// numbers are whole and at most 1e9, so their products are exact enough as floats.
struct Table {
    events: f64,
    n: f64,
    events_elsewhere: f64,
    n_elsewhere: f64,
}

impl Table {
    fn of(arm: &Proportion, other: &Proportion) -> Table {
        Table {
            events: arm.events as f64,
            n: arm.n as f64,
            events_elsewhere: other.events as f64,
            n_elsewhere: other.n as f64,
        }
    }

    /// Weight of the table with `by` + 1 more events in this arm over that with `by` more, as numerator and
    /// denominator. The numerator is 0 behind the last possible table.
    fn up(&self, by: f64) -> (f64, f64) {
        let (here, elsewhere) = (self.events + by, self.events_elsewhere - by);
        (
            (self.n - here) * elsewhere,
            (here + 1.0) * (self.n_elsewhere - elsewhere + 1.0),
        )
    }

    /// The same one event down.
    fn down(&self, by: f64) -> (f64, f64) {
        let (here, elsewhere) = (self.events - by, self.events_elsewhere + by);
        (
            here * (self.n_elsewhere - elsewhere),
            (self.n - here + 1.0) * (elsewhere + 1.0),
        )
    }

    fn next_is_likelier(&self) -> bool {
        let (numerator, denominator) = self.up(0.0);
        numerator > denominator
    }

    /// The share of all weight in tables no likelier than this one, when the likelier ones are those above.
    fn no_likelier(&self) -> f64 {
        // Weights relative to the observed table.
        let (mut below, mut weight, mut by) = (1.0, 1.0, 0.0);
        while weight > NEGLIGIBLE * below {
            let (numerator, denominator) = self.down(by);
            weight *= numerator / denominator;
            below += weight;
            by += 1.0;
        }
        let (mut likelier, mut beyond) = (0.0, 0.0);
        (weight, by) = (1.0, 0.0);
        let mut past = false;
        loop {
            let (numerator, denominator) = self.up(by);
            let ratio = numerator / denominator;
            weight *= ratio;
            by += 1.0;
            // A weight beyond a float is 1e300 times the observed one, and so is the sum.
            if !weight.is_finite() {
                return 0.0;
            }
            // Four roundings per step, each by at most half of EPSILON.
            past = past || (ratio < 1.0 && weight <= 1.0 + 2.0 * f64::EPSILON * by);
            if !past {
                likelier += weight;
            } else {
                beyond += weight;
                if weight <= NEGLIGIBLE * (below + beyond) {
                    break;
                }
            }
        }
        let rest = below + beyond;
        rest / (rest + likelier)
    }
}

#[cfg(test)]
mod tests {
    use super::super::two_proportion_z;
    use super::*;
    use proptest::prelude::*;

    fn fisher(x_a: u64, n_a: u64, x_b: u64, n_b: u64) -> f64 {
        fisher_exact(
            &Proportion::new(x_a, n_a).unwrap(),
            &Proportion::new(x_b, n_b).unwrap(),
        )
        .unwrap()
    }

    /// C(n, k) in whole numbers.
    fn choose(n: u64, k: u64) -> u128 {
        (0..k).fold(1, |value, i| value * u128::from(n - i) / u128::from(i + 1))
    }

    /// The definition itself.
    fn by_counting(x_a: u64, n_a: u64, x_b: u64, n_b: u64) -> f64 {
        let m = x_a + x_b;
        let weight = |k: u64| choose(n_a, k) * choose(n_b, m - k);
        let tables = m.saturating_sub(n_b)..=m.min(n_a);
        let no_likelier: u128 = tables.map(weight).filter(|&w| w <= weight(x_a)).sum();
        no_likelier as f64 / choose(n_a + n_b, m) as f64
    }

    #[test]
    fn far_tables_keep_their_digits() {
        // All events in one of two equal arms: two such tables out of C(2n, n).
        let expected = 2.0 / choose(120, 60) as f64;
        assert!((fisher(0, 60, 60, 60) / expected - 1.0).abs() < 1e-12);
        assert!((fisher(60, 60, 0, 60) / expected - 1.0).abs() < 1e-12);
        assert_eq!(fisher(0, 1_000_000, 1_000_000, 1_000_000), 0.0);
    }

    #[test]
    fn large_tables_agree_with_the_z_test() {
        for (x_a, x_b, n) in [
            (500_000, 501_500, 1_000_000),
            (20_000_000, 20_009_000, 500_000_000),
            (250_000_000, 250_020_000, 500_000_000),
        ] {
            let (a, b) = (Proportion::new(x_a, n).unwrap(), Proportion::new(x_b, n).unwrap());
            let exact = fisher_exact(&a, &b).unwrap();
            let normal = two_proportion_z(&a, &b).unwrap().p;
            assert!((exact / normal - 1.0).abs() < 0.01, "{exact} {normal}");
        }
    }

    #[test]
    fn what_it_cannot_say() {
        let arm = |x, n| Proportion::new(x, n).unwrap();
        let silent = fisher_exact(&arm(0, 5), &arm(0, 9));
        assert!(matches!(silent, Err(Undefined::InsufficientData { .. })));
        let large = fisher_exact(&arm(5, 1_000_000_000_000), &arm(9, u64::MAX));
        assert!(matches!(large, Err(Undefined::OutOfDomain { .. })));
        assert_eq!(fisher(5, 5, 9, 9), 1.0);
    }

    proptest! {
        #[test]
        fn small_tables_are_those_of_the_definition(
            (x_a, n_a) in (1u64..40).prop_flat_map(|n| (0..=n, Just(n))),
            (x_b, n_b) in (1u64..40).prop_flat_map(|n| (0..=n, Just(n))),
        ) {
            prop_assume!(x_a + x_b > 0);
            let (got, expected) = (fisher(x_a, n_a, x_b, n_b), by_counting(x_a, n_a, x_b, n_b));
            prop_assert!((got - expected).abs() <= 1e-12 * expected, "{} {}", got, expected);
        }

        #[test]
        fn it_is_a_probability_at_every_size(
            n_a in sizes(), n_b in sizes(), share_a in shares(), share_b in shares(),
        ) {
            let events = |n: u64, share: f64| (n as f64 * share) as u64;
            let (x_a, x_b) = (events(n_a, share_a), events(n_b, share_b));
            if x_a + x_b == 0 {
                return Ok(());
            }
            let p = fisher(x_a, n_a, x_b, n_b);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!((fisher(x_b, n_b, x_a, n_a) - p).abs() <= 1e-9 * p);
        }
    }

    fn sizes() -> impl Strategy<Value = u64> {
        prop::sample::select(vec![1u64, 2, 30, 999, 100_000, 10_000_000])
    }

    fn shares() -> impl Strategy<Value = f64> {
        prop::sample::select(vec![0.0, 1e-6, 0.02, 0.021, 0.5, 0.999, 1.0])
    }
}
