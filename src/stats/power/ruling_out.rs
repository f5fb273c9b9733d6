//! How long it takes until a harm that is not there is ruled out.
//!
//! Owns the growth of the evidence for "the rate is not that bad": the mixtures of
//! [`evidence`](super::super::evidence) with the arms, or good and bad, exchanged. Wald's bound
//! ([`wald_bound`](super::progress::wald_bound)) knows the true rates and is the time of a test that knows them too, on
//! average; a mixture does not, and the counts may be on the wrong side of their mean. So the figures here are for the
//! mixture itself, at a count that is reached with the power that is asked for. They are about one look: that an
//! earlier one has ruled the harm out already can only add. Called by the preflight.

use super::super::{
    Undefined, check_alpha, check_positive,
    distribution::{log_mean_exp, normal_quantile},
    evidence::{DEFAULT_POINTS, OddsGrid, SMALLEST_RATIO},
    sequential::log_evidence_greater,
};

/// The most time, or outcomes, that is looked for.
const MOST: f64 = 1e15;
/// How exactly it is told.
const PRECISION: f64 = 1e-4;

/// Evidence as it is expected, for each ratio of a grid: the mean and the variance of ln E. Additive.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedEvidence {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl ExpectedEvidence {
    /// Nothing seen, for the grid's ratios.
    #[must_use]
    pub fn none(grid: &OddsGrid) -> Self {
        let zeros = vec![0.0; grid.ratios().len()];
        Self {
            mean: zeros.clone(),
            variance: zeros,
        }
    }

    /// Two independent Poisson counts of events, with these means: `in_favour` are those that under the null are a share
    /// of `null_share` in (0, 1) of both.
    ///
    /// With θ_j the share at the odds ratio r_j, ln E_j has the mean f·a_j + g·b_j and the variance f·a_j² + g·b_j², where
    /// a_j = ln(θ_j/θ_0) and b_j = ln((1 − θ_j)/(1 − θ_0)).
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for a share outside (0, 1).
    pub fn of_counts(
        grid: &OddsGrid,
        null_share: f64,
        (in_favour, against): (f64, f64),
    ) -> Result<Self, Undefined> {
        Self::per_ratio(grid, null_share, |a, b| {
            (in_favour * a + against * b, in_favour * a * a + against * b * b)
        })
    }

    /// So many `trials`, of which a share of `rate` in \[0, 1\] is expected in favour, and under the null `null_share`.
    ///
    /// As [`ExpectedEvidence::of_counts`] for a binomial count: the mean n(p·a_j + (1 − p)·b_j), the variance
    /// n·p(1 − p)(a_j − b_j)².
    ///
    /// # Errors
    /// As [`ExpectedEvidence::of_counts`].
    pub fn of_trials(grid: &OddsGrid, null_share: f64, trials: f64, rate: f64) -> Result<Self, Undefined> {
        Self::per_ratio(grid, null_share, |a, b| {
            let spread = a - b;
            (
                trials * (rate * a + (1.0 - rate) * b),
                trials * rate * (1.0 - rate) * spread * spread,
            )
        })
    }

    fn per_ratio(
        grid: &OddsGrid,
        null_share: f64,
        moments: impl Fn(f64, f64) -> (f64, f64),
    ) -> Result<Self, Undefined> {
        if !(null_share > 0.0 && null_share < 1.0) {
            return Err(Undefined::OutOfDomain {
                what: "the share under the null",
                value: null_share,
                domain: "between 0 and 1",
            });
        }
        let one = |ratio: &f64| {
            let whole = null_share * ratio + 1.0 - null_share;
            moments((ratio / whole).ln(), -whole.ln())
        };
        let (mean, variance) = grid.ratios().iter().map(one).unzip();
        Ok(Self { mean, variance })
    }

    /// This, and `times` at least 0 times `growth`.
    #[must_use]
    pub fn plus(&self, growth: &Self, times: f64) -> Self {
        let add = |(had, more): (&f64, &f64)| had + times * more;
        Self {
            mean: self.mean.iter().zip(&growth.mean).map(add).collect(),
            variance: self.variance.iter().zip(&growth.variance).map(add).collect(),
        }
    }

    /// The ln E that is reached with probability `power` in (0, 1).
    ///
    /// The logarithm of the mean over j of exp(mean_j − z·sd_j), z the quantile of `power`: all ln E_j rise and fall
    /// together with the same counts, so that the quantile of the mixture is the mixture of the quantiles.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for a power outside (0, 1).
    pub fn log_e(&self, power: f64) -> Result<f64, Undefined> {
        let z = normal_quantile(power)?;
        let moments = self.mean.iter().zip(&self.variance);
        let logs: Vec<f64> = moments
            .map(|(mean, variance)| mean - z * variance.sqrt())
            .collect();
        Ok(log_mean_exp(&logs))
    }

    /// How often `growth` must come on top of this until ln E reaches `log_threshold` > 0 with probability `power`; none
    /// where it never does.
    ///
    /// Worked number: one bad unit of the candidate and 19 of control per second, of a candidate with 5 % of the units,
    /// against twice control's rate at α = 0.05: 25.85 s or 517 bad units with 80 % power (312 with 50 %), where
    /// Wald's bound says 212.
    ///
    /// # Errors
    /// As [`ExpectedEvidence::log_e`].
    ///
    /// ```
    /// use serin::stats::{evidence::OddsGrid, power::ruling_out::ExpectedEvidence};
    /// let grid = OddsGrid::new(1.25, 24)?;
    /// let null_share = 0.95 / (2.0 * 0.05 + 0.95);
    /// let second = ExpectedEvidence::of_counts(&grid, null_share, (19.0, 1.0))?;
    /// let needed = ExpectedEvidence::none(&grid).time_to(&second, 20f64.ln(), 0.8)?;
    /// assert!(needed.is_some_and(|seconds| (seconds - 25.848).abs() < 0.01), "{needed:?}");
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn time_to(&self, growth: &Self, log_threshold: f64, power: f64) -> Result<Option<f64>, Undefined> {
        check_positive("the threshold", log_threshold)?;
        let reached = |times: f64| Ok(self.plus(growth, times).log_e(power)? >= log_threshold);
        if reached(0.0)? {
            return Ok(Some(0.0));
        }
        if growth.mean.iter().all(|mean| *mean <= 0.0) {
            return Ok(None);
        }
        least(reached)
    }
}

/// How many outcomes, each bad with probability `rate`, it takes until the bound of a rate lies below `limit` in (0, 1)
/// with probability `power`; none for a rate that does not.
///
/// The one-sided normal mixture ([`log_evidence_greater`]) with units as clusters, tuned for half the limit, at
/// se² = p(1 − p)/n and an estimate that is z_power·se too high. A normal estimate of a rate means nothing before bad
/// outcomes were seen, so it takes no fewer outcomes than would be enough if none were bad.
///
/// Worked number: 1 % against a limit of 5 % at α = 0.05 and 80 % power: 80.8, where 75.9 without a bad one are enough.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain.
///
/// ```
/// use serin::stats::power::ruling_out::outcomes_below;
/// let needed = outcomes_below(0.05, 0.01, 0.05, 0.8)?;
/// assert!(needed.is_some_and(|n| (n - 80.802).abs() < 0.01), "{needed:?}");
/// assert_eq!(outcomes_below(0.05, 0.05, 0.05, 0.8)?, None);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn outcomes_below(limit: f64, rate: f64, alpha: f64, power: f64) -> Result<Option<f64>, Undefined> {
    check_alpha(alpha)?;
    let z = normal_quantile(power)?;
    if !(limit > 0.0 && limit < 1.0) {
        return Err(Undefined::OutOfDomain {
            what: "the limit",
            value: limit,
            domain: "between 0 and 1",
        });
    }
    if rate.is_nan() || rate >= limit {
        return Ok(None);
    }
    let grid = OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS)?;
    let good = ExpectedEvidence::of_trials(&grid, 1.0 - limit, 1.0, 1.0)?;
    let none_bad = ExpectedEvidence::none(&grid).time_to(&good, -alpha.ln(), power)?;
    let deviation = (rate * (1.0 - rate)).max(0.0).sqrt();
    if deviation == 0.0 {
        return Ok(none_bad);
    }
    let reached = |n: f64| {
        let se = deviation / n.sqrt();
        let log_e = log_evidence_greater((limit - rate) / se - z, (0.5 * limit / se).powi(2))?;
        Ok(log_e >= -alpha.ln())
    };
    Ok(least(reached)?.map(|needed| needed.max(none_bad.unwrap_or(0.0))))
}

/// The least amount from which on a property holds; none beyond [`MOST`].
fn least(reached: impl Fn(f64) -> Result<bool, Undefined>) -> Result<Option<f64>, Undefined> {
    let (mut fails, mut meets) = (0.0, 1e-6);
    while !reached(meets)? {
        if meets > MOST {
            return Ok(None);
        }
        (fails, meets) = (meets, 2.0 * meets);
    }
    while meets - fails > PRECISION * meets {
        let middle = 0.5 * (fails + meets);
        if reached(middle)? {
            meets = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Some(meets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{
        evidence::{RelativeStep, absolute_log_e, single_start_log_e},
        power::progress::wald_bound,
    };

    fn grid() -> OddsGrid {
        OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS).unwrap()
    }

    #[test]
    fn at_even_odds_it_is_the_test_itself_at_the_expected_counts() {
        let growth = ExpectedEvidence::of_counts(&grid(), 0.9, (38.0, 2.0)).unwrap();
        let step = RelativeStep {
            share: 0.9,
            candidate: 380,
            control: 20,
        };
        let expected = ExpectedEvidence::none(&grid()).plus(&growth, 10.0);
        let known = single_start_log_e(&grid(), &[step]);
        assert!((expected.log_e(0.5).unwrap() - known).abs() < 1e-9);
        assert!(expected.log_e(0.8).unwrap() < known);
        let trials = ExpectedEvidence::of_trials(&grid(), 0.99, 1_000.0, 0.996).unwrap();
        let known = absolute_log_e(&grid(), 0.99, 996, 1_000).unwrap();
        assert!((trials.log_e(0.5).unwrap() - known).abs() < 1e-9);
    }

    #[test]
    fn a_mixture_that_may_be_unlucky_takes_longer_than_wald_s_bound() {
        for (share, margin) in [(0.01, 2.0), (0.05, 2.0), (0.5, 1.5), (0.1, 4.0)] {
            let null = (1.0 - share) / (margin * share + 1.0 - share);
            let growth = ExpectedEvidence::of_counts(&grid(), null, (1.0 - share, share)).unwrap();
            let time = |power| {
                let none = ExpectedEvidence::none(&grid());
                none.time_to(&growth, 20f64.ln(), power).unwrap().unwrap()
            };
            let wald = wald_bound(1.0 - share, null, 0.05).unwrap();
            let (typical, safe) = (time(0.5), time(0.8));
            assert!(wald < typical && typical < safe, "{wald} {typical} {safe}");
            assert!(safe < 4.0 * wald, "{share} {margin}: {wald} {safe}");
        }
    }

    #[test]
    fn what_has_come_together_counts_and_what_never_grows_never_comes() {
        let growth = ExpectedEvidence::of_counts(&grid(), 0.9, (95.0, 5.0)).unwrap();
        let none = ExpectedEvidence::none(&grid());
        let needed = none.time_to(&growth, 3.0, 0.8).unwrap().unwrap();
        let half = none.plus(&growth, 0.5 * needed);
        let rest = half.time_to(&growth, 3.0, 0.8).unwrap().unwrap();
        assert!((rest / needed - 0.5).abs() < 1e-3);
        let enough = none.plus(&growth, 1.01 * needed);
        assert_eq!(enough.time_to(&growth, 3.0, 0.8), Ok(Some(0.0)));
        // A candidate at the margin, and one that the nearest ratio of the grid does not tell from it.
        for in_favour in [90.0, 90.5] {
            let growth = ExpectedEvidence::of_counts(&grid(), 0.9, (in_favour, 100.0 - in_favour)).unwrap();
            assert_eq!(none.time_to(&growth, 3.0, 0.8), Ok(None));
        }
        assert!(ExpectedEvidence::of_counts(&grid(), 1.0, (1.0, 1.0)).is_err());
    }

    #[test]
    fn a_rate_needs_as_many_outcomes_as_without_a_bad_one_at_least() {
        let none_bad = outcomes_below(0.05, 0.0, 0.05, 0.8).unwrap().unwrap();
        assert!((60.0..160.0).contains(&none_bad), "{none_bad}");
        assert_eq!(outcomes_below(0.05, 1e-6, 0.05, 0.8), Ok(Some(none_bad)));
        let near = outcomes_below(0.05, 0.045, 0.05, 0.8).unwrap().unwrap();
        assert!(near > 5_000.0, "{near}");
        assert!(outcomes_below(1.0, 0.5, 0.05, 0.8).is_err());
    }
}
