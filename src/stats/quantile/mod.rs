//! Quantiles: a sketch that keeps them, the ranks that enclose them, and two arms compared in one.
//!
//! Owns everything said about a median or a 95th percentile. It never assumes a distribution, and it counts
//! requests: what is said here ignores that requests of one unit are alike, except through a design effect
//! that the caller passes. Called by a report; [`Sketch`] is filled by whatever collects a metric.

mod encoding;
mod ranks;
mod sketch;

pub use encoding::Damaged;
pub use ranks::{Ranks, order_interval};
pub use sketch::Sketch;

use super::{Undefined, check_alpha, finite};

/// An interval whose ends are only there when the values reach far enough; see [`Ranks`].
pub type OpenInterval = (Option<f64>, Option<f64>);

/// A quantile of treatment minus the same quantile of control, in the unit of the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileDifference {
    /// Control's quantile, within 1 %.
    pub control: f64,
    /// Treatment's quantile, within 1 %.
    pub treatment: f64,
    /// Treatment's quantile minus control's.
    pub difference: f64,
    /// The interval of confidence at least 1 − `alpha`: per request, ignoring repeats of a unit as far as the
    /// design effects do.
    pub ci: OpenInterval,
    /// The two-sided error rate of `ci`, in (0, 1).
    pub alpha: f64,
}

impl Sketch {
    /// The interval of confidence at least 1 − `alpha` for the `q`-quantile of what the values were drawn
    /// from, for `q` in (0, 1).
    ///
    /// The ends are those of [`order_interval`], read outwards: the lower edge of the bin with the lower rank
    /// and the upper edge of the bin with the upper one, so the sketch's 1 % widens the interval and never
    /// costs it coverage. An end is absent when the values do not reach that far. It is **per request and
    /// ignores repeats of a unit**, except through `design_effect` ≥ 1 (1 for none), as described there.
    ///
    /// The median of 1 to 100 lies between the 40th and the 61st value: 39.78 to 61.57 as read.
    ///
    /// # Errors
    /// Those of [`order_interval`].
    ///
    /// ```
    /// use serin::stats::quantile::Sketch;
    /// let mut sketch = Sketch::default();
    /// for value in 1..=100 {
    ///     sketch.add(f64::from(value))?;
    /// }
    /// let (low, high) = sketch.interval(0.5, 0.05, 1.0)?;
    /// assert!(low.is_some_and(|low| low > 39.2 && low <= 40.0));
    /// assert!(high.is_some_and(|high| high >= 61.0 && high < 62.3));
    /// assert_eq!(sketch.interval(0.99, 0.05, 1.0)?.1, None);
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn interval(&self, q: f64, alpha: f64, design_effect: f64) -> Result<OpenInterval, Undefined> {
        let ranks = order_interval(self.count(), q, alpha, design_effect)?;
        Ok((
            ranks.lower.map(|rank| self.bounds_of_rank(rank).0),
            ranks.upper.map(|rank| self.bounds_of_rank(rank).1),
        ))
    }
}

/// The `q`-quantile of treatment against control's, for `q` in (0, 1), with a conservative interval.
///
/// The interval is (L_B − U_A, U_B − L_A) from the arms' own [`Sketch::interval`]s at level 1 − α/2 each. Each
/// misses its quantile with probability at most α/2, so both hold together with probability at least 1 − α
/// (Bonferroni, which needs no independence between the arms), and whenever both hold the difference lies
/// within. At equal arms it is about 1.6 times as wide as an interval that knew the densities; it cannot be
/// shorter than what the sketches resolve, 2 % of either quantile. There is no p-value: the interval is the
/// test.
///
/// It is **per request and ignores repeats of a unit**: with returning units pass each arm's design effect
/// (control's first, 1 for none), or compare the rate of values above a fixed limit instead, for which
/// [`cluster`](super::cluster) is exact about repeats. Looking at it daily is not covered either.
///
/// # Errors
/// [`Undefined::InsufficientData`] when an arm has no value left; [`Undefined::OutOfDomain`] for `q` or
/// `alpha` outside (0, 1), a design effect below 1, or a quantile among values that a sketch has folded
/// together; [`Undefined::Overflow`] when the difference or an end exceeds a float.
///
/// ```
/// use serin::stats::quantile::{Sketch, compare};
/// let (mut control, mut treatment) = (Sketch::default(), Sketch::default());
/// for value in 1..=1000 {
///     control.add(f64::from(value))?;
///     treatment.add(f64::from(value) + 300.0)?;
/// }
/// let median = compare(&control, &treatment, 0.5, 0.05, (1.0, 1.0))?;
/// assert!((median.difference - 300.0).abs() <= 13.0);
/// assert!(median.ci.0.is_some_and(|low| low > 200.0) && median.ci.1.is_some_and(|high| high < 400.0));
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn compare(
    control: &Sketch,
    treatment: &Sketch,
    q: f64,
    alpha: f64,
    design_effects: (f64, f64),
) -> Result<QuantileDifference, Undefined> {
    check_alpha(alpha)?;
    let a = control.interval(q, 0.5 * alpha, design_effects.0)?;
    let b = treatment.interval(q, 0.5 * alpha, design_effects.1)?;
    let minus = |high: Option<f64>, low: Option<f64>| {
        high.zip(low)
            .map(|(high, low)| finite("the interval", high - low))
            .transpose()
    };
    let (a_value, b_value) = (control.quantile(q)?, treatment.quantile(q)?);
    Ok(QuantileDifference {
        control: a_value,
        treatment: b_value,
        difference: finite("the difference", b_value - a_value)?,
        ci: (minus(b.0, a.1)?, minus(b.1, a.0)?),
        alpha,
    })
}

#[cfg(test)]
mod tests {
    use super::sketch::tests::{any_value, sketch_of};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_values_are_known_exactly() {
        let constant = sketch_of(&[42.0; 200]);
        let same = compare(&constant, &constant, 0.5, 0.05, (1.0, 1.0)).unwrap();
        assert_eq!((same.difference, same.ci), (0.0, (Some(0.0), Some(0.0))));
    }

    #[test]
    fn too_few_values_leave_an_end_open() {
        let few = sketch_of(&[1.0, 2.0, 3.0]);
        let many = sketch_of(&(0..500).map(f64::from).collect::<Vec<_>>());
        let open = compare(&few, &many, 0.9, 0.05, (1.0, 1.0)).unwrap();
        assert!(open.ci.0.is_none() && open.ci.1.is_some());
        assert!(compare(&Sketch::default(), &many, 0.9, 0.05, (1.0, 1.0)).is_err());
    }

    #[test]
    fn the_interval_covers_at_least_as_often_as_it_says() {
        // Draws of a fixed generator; the quantile of a uniform on (1, 2) is 1 + q.
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            1.0 + (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut missed, mut missed_repeats) = (0, 0);
        for _ in 0..2000 {
            let draws: Vec<f64> = (0..120).map(|_| next()).collect();
            let (a, b) = (sketch_of(&draws[..60]), sketch_of(&draws[60..]));
            let found = compare(&a, &b, 0.5, 0.2, (1.0, 1.0)).unwrap();
            missed += u32::from(found.ci.0 > Some(0.0) || found.ci.1.is_none_or(|high| high < 0.0));
            // Ten requests of each unit, all alike, with the design effect that says so.
            let units = draws[..60]
                .iter()
                .flat_map(|value| [*value; 10])
                .collect::<Vec<_>>();
            let (low, high) = sketch_of(&units).interval(0.5, 0.2, 10.0).unwrap();
            missed_repeats += u32::from(low > Some(1.5) || high.is_none_or(|high| high < 1.5));
        }
        assert!(
            missed < 400 && missed_repeats < 400,
            "{missed} {missed_repeats} of 2000 at 20 %"
        );
    }

    proptest! {
        #[test]
        fn nothing_is_nan(
            a in prop::collection::vec(any_value(), 0..60), b in prop::collection::vec(any_value(), 0..60),
            q in prop::sample::select(vec![0.0, 1e-300, 0.01, 0.5, 0.95, 1.0, f64::NAN]),
            alpha in prop::sample::select(vec![1e-300, 0.05, 0.9, 1.0]),
            effect in prop::sample::select(vec![0.0, 1.0, 2.5, 1e300]),
        ) {
            let (a, b) = (sketch_of(&a), sketch_of(&b));
            if let Ok(found) = compare(&a, &b, q, alpha, (effect, 1.0)) {
                prop_assert!(found.difference.is_finite());
                prop_assert!(found.ci.0.is_none_or(f64::is_finite) && found.ci.1.is_none_or(f64::is_finite));
                let (low, high) = (found.ci.0.unwrap_or(f64::MIN), found.ci.1.unwrap_or(f64::MAX));
                prop_assert!(low <= found.difference && found.difference <= high, "{found:?}");
            }
        }
    }
}
