//! Is the candidate worse? Evidence that may be looked at after every event.
//!
//! Owns the guardrail's e-process: a number E that stays below 1/α for ever with probability 1 − α as long as
//! the candidate is no worse, whenever and however often it is read (Ville's inequality). It never counts
//! anything itself; counts must be of distinct units, each with its first bad outcome only, or one angry user
//! can freeze a candidate. Called by the guardrails on every tick and by a report for the gauge.
//!
//! **Relative to a concurrent control.** A bad unit that came in while the candidate had the share q of both
//! arms is the candidate's with probability q when the rates are equal, and with θ = qr/(qr + 1 − q) when its
//! rate is r times control's. Which rate that is does not matter, so an outage in both arms cancels out, and
//! weights may change at any time. The mixture over a grid of r is a test martingale. Source: Lindon & Malek
//! (2022), "Anytime-valid inference for multinomial count data", arXiv:2011.03567.
//!
//! **Restarts.** A candidate that did well for a day has collected evidence in its favour, which would hide a
//! late regression. So half of the weight starts with the candidate and half is spread over later starts, one
//! per block of the stage; an average of e-processes is one.

use super::distribution::log_mean_exp;
use super::{Undefined, check_alpha};

/// The most ratios a grid may have; sums over the grid live on the stack.
pub const MAX_POINTS: usize = 64;

/// The ratios of a guardrail's grid, unless told otherwise.
pub const DEFAULT_POINTS: usize = 24;

/// The smallest ratio of a grid for which nobody says where harm begins: of absolute limits, and of ruling harm out.
pub const SMALLEST_RATIO: f64 = 1.25;

/// The largest ratio of a guardrail's grid: worse than that is found just as fast.
pub const LARGEST_RATIO: f64 = 16.0;

/// The blocks a stage is divided into, the first of which is no restart.
pub const DEFAULT_BLOCKS: usize = 32;

/// The harm looked for: rate ratios (or odds ratios) in geometric steps, tested against a null ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OddsGrid {
    ratios: [f64; MAX_POINTS],
    points: usize,
    null_ratio: f64,
}

impl OddsGrid {
    /// The guardrail's grid: `points` ratios from `r_min` in (1, 16) to 16, against equality.
    ///
    /// r_j = exp(ln r_min + j(ln 16 − ln r_min)/(points − 1)). With r_min = 1.25 and 24 points, r_1 = 1.3965.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for `r_min` outside (1, 16) or `points` outside 2..=64.
    ///
    /// ```
    /// use serin::stats::evidence::OddsGrid;
    /// let grid = OddsGrid::new(1.25, 24)?;
    /// assert!((grid.ratios()[1] - 1.396_527_8).abs() < 1e-7 && (grid.ratios()[23] - 16.0).abs() < 1e-12);
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn new(r_min: f64, points: usize) -> Result<OddsGrid, Undefined> {
        if !(r_min > 1.0 && r_min < LARGEST_RATIO) {
            return Err(Undefined::OutOfDomain {
                what: "the smallest ratio",
                value: r_min,
                domain: "between 1 and 16",
            });
        }
        OddsGrid::spanning(r_min, LARGEST_RATIO, points)
    }

    /// A grid between two ratios of one's own, against equality.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] unless 1 ≤ `low` < `high` ≤ 1e6 and `points` is in 2..=64.
    pub fn spanning(low: f64, high: f64, points: usize) -> Result<OddsGrid, Undefined> {
        if !(low >= 1.0 && low < high) {
            let (what, domain) = ("the smallest ratio", "at least 1 and below the largest");
            return Err(Undefined::OutOfDomain {
                what,
                value: low,
                domain,
            });
        }
        if high > 1e6 {
            return Err(Undefined::OutOfDomain {
                what: "the largest ratio",
                value: high,
                domain: "at most 1e6",
            });
        }
        if !(2..=MAX_POINTS).contains(&points) {
            let (what, domain) = ("the number of ratios", "between 2 and 64");
            return Err(Undefined::OutOfDomain {
                what,
                value: points as f64,
                domain,
            });
        }
        let mut ratios = [low; MAX_POINTS];
        let step = (high / low).ln() / (points - 1) as f64;
        for (j, ratio) in ratios.iter_mut().enumerate().take(points) {
            *ratio = low * (step * j as f64).exp();
        }
        Ok(OddsGrid {
            ratios,
            points,
            null_ratio: 1.0,
        })
    }

    /// The same grid against "at most `null_ratio` times as bad": a margin that is tolerated outright. It
    /// costs several times the data of the test against equality.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] unless `null_ratio` is positive and at most the smallest ratio of the grid;
    /// above it E would no longer be bounded under the null.
    pub fn against(mut self, null_ratio: f64) -> Result<OddsGrid, Undefined> {
        if !(null_ratio > 0.0 && null_ratio <= self.ratios[0]) {
            let (what, domain) = ("the null ratio", "greater than 0 and at most the smallest ratio");
            return Err(Undefined::OutOfDomain {
                what,
                value: null_ratio,
                domain,
            });
        }
        self.null_ratio = null_ratio;
        Ok(self)
    }

    /// The ratios, ascending.
    pub fn ratios(&self) -> &[f64] {
        &self.ratios[..self.points]
    }

    /// The ratio of the null hypothesis; 1 is equality.
    pub fn null_ratio(&self) -> f64 {
        self.null_ratio
    }

    /// The same multiples of another null ratio, which the confidence bound moves along.
    fn moved_to(&self, null_ratio: f64) -> OddsGrid {
        let factor = null_ratio / self.null_ratio;
        OddsGrid {
            ratios: self.ratios.map(|ratio| ratio * factor),
            points: self.points,
            null_ratio,
        }
    }
}

/// Bad units that came in while the split was one and the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeStep {
    /// q, the candidate's share of the two arms' assignments when these units were assigned. Outside (0, 1)
    /// one arm had no traffic, there is nothing to compare and the step adds nothing.
    pub share: f64,
    /// Distinct units of the candidate with their first bad outcome.
    pub candidate: u64,
    /// Distinct units of control with their first bad outcome.
    pub control: u64,
}

/// ln E of the guardrail: half of the weight on all steps, half spread over starts at each later block.
///
/// `blocks` are the stage's blocks begun so far, oldest first, each with its steps; steps from before the
/// stage belong to the first. E = ½E_0 + ½/(B − 1)·ΣE_b, b = 1 … B − 1, with B = `blocks_total`; E_b is
/// [`single_start_log_e`] of the steps of blocks b and later, and 1 for blocks not begun. Blocks beyond B
/// belong to the last. With B ≤ 1 there are no restarts. Formula: see the module. The share of weight on
/// restarts delays a freeze by at most the time ln 2 of evidence takes.
///
/// Costs O(steps × points), allocates nothing. Never NaN; a grid cannot be empty and counts up to 2⁶⁴ are
/// fine.
///
/// Worked number: one step of 5 candidate units and no control unit at share ½, nothing restarted:
/// ln(½·E_0 + ½) with ln E_0 = 2.4862.
///
/// ```
/// use serin::stats::evidence::{OddsGrid, RelativeStep, relative_log_e, single_start_log_e};
/// let grid = OddsGrid::new(1.25, 24)?;
/// let steps = [RelativeStep { share: 0.5, candidate: 5, control: 0 }];
/// let plain = single_start_log_e(&grid, &steps);
/// let guarded = relative_log_e(&grid, &[steps], 32);
/// assert!((plain - 2.486_244_325_453_2).abs() < 1e-12);
/// assert!((guarded - (0.5 * plain.exp() + 0.5).ln()).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn relative_log_e<B: AsRef<[RelativeStep]>>(grid: &OddsGrid, blocks: &[B], blocks_total: usize) -> f64 {
    mixed_log_e(grid, blocks, blocks_total, Side::Candidate)
}

/// ln E of a single start: the mixture over the grid, evaluated after all `steps`.
///
/// L_j = Σ[k_c ln(θ_j/θ_0) + k_0 ln((1 − θ_j)/(1 − θ_0))] with θ_j = q r_j/(q r_j + 1 − q), θ_0 the same at
/// the null ratio; E is the mean of exp L_j. Lindon & Malek (2022), as in the module's introduction.
///
/// Worked number: one candidate unit at share ½ against equality gives E = mean of 2r_j/(1 + r_j) over the
/// grid, ln E = 0.4590.
///
/// ```
/// use serin::stats::evidence::{OddsGrid, RelativeStep, single_start_log_e};
/// let grid = OddsGrid::new(1.25, 24)?;
/// let log_e = single_start_log_e(&grid, &[RelativeStep { share: 0.5, candidate: 1, control: 0 }]);
/// let mean = grid.ratios().iter().map(|r| 2.0 * r / (1.0 + r)).sum::<f64>() / 24.0;
/// assert!((log_e - mean.ln()).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn single_start_log_e(grid: &OddsGrid, steps: &[RelativeStep]) -> f64 {
    mixed_log_e(grid, &[steps], 1, Side::Candidate)
}

/// ln E against an absolute limit: `bad` of `n` independent units when the rate should be at most `limit`.
///
/// The Bernoulli mixture over odds ratios: odds r_j p_0/(1 − p_0), p_j = odds/(1 + odds), E = mean over j of
/// (p_j/p_0)^bad ((1 − p_j)/(1 − p_0))^(n − bad). Source: Robbins (1970), "Statistical methods related to the
/// law of the iterated logarithm", doi:10.1214/aoms/1177696786, with a discrete mixture. It cannot tell a bad
/// candidate from a bad day of the provider. The grid's null ratio plays no part: the limit is the null.
///
/// 5 bad of 20 at a limit of 2 %: ln E = 7.3360.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for a limit outside (0, 1) or more bad units than units.
///
/// ```
/// use serin::stats::evidence::{OddsGrid, absolute_log_e};
/// let log_e = absolute_log_e(&OddsGrid::new(1.25, 24)?, 0.02, 5, 20)?;
/// assert!((log_e - 7.335_987_627_269_82).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn absolute_log_e(grid: &OddsGrid, limit: f64, bad: u64, n: u64) -> Result<f64, Undefined> {
    if !(limit > 0.0 && limit < 1.0) {
        return Err(Undefined::OutOfDomain {
            what: "the limit",
            value: limit,
            domain: "between 0 and 1",
        });
    }
    if bad > n {
        let (what, domain) = ("bad units", "at most the number of units");
        return Err(Undefined::OutOfDomain {
            what,
            value: bad as f64,
            domain,
        });
    }
    // A unit is to the limit what an event is to the share: the same two probabilities, the same odds ratio.
    let against_limit = OddsGrid {
        null_ratio: 1.0,
        ..*grid
    };
    let step = RelativeStep {
        share: limit,
        candidate: bad,
        control: n - bad,
    };
    Ok(single_start_log_e(&against_limit, &[step]))
}

/// The ln E at which a guardrail fires: ln(m/α) when `guardrails` = m share one error rate.
///
/// Ville's inequality with the union bound. Three guardrails at 1 %: ln 300 = 5.7038.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1) or no guardrail at all.
///
/// ```
/// use serin::stats::evidence::threshold;
/// assert!((threshold(3, 0.01)? - 300f64.ln()).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn threshold(guardrails: usize, alpha: f64) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    if guardrails == 0 {
        return Err(Undefined::OutOfDomain {
            what: "the number of guardrails",
            value: 0.0,
            domain: "at least 1",
        });
    }
    Ok((guardrails as f64).ln() - alpha.ln())
}

/// How close evidence is to its threshold, from 0 (none, or in the candidate's favour) to 1 (fires).
///
/// ```
/// use serin::stats::evidence::gauge;
/// assert_eq!([-1.0, 2.0, 9.0].map(|log_e| gauge(log_e, 4.0)), [0.0, 0.5, 1.0]);
/// ```
pub fn gauge(log_e: f64, threshold: f64) -> f64 {
    if log_e.is_nan() || log_e <= 0.0 {
        0.0
    } else if threshold > 0.0 && log_e < threshold {
        log_e / threshold
    } else {
        1.0
    }
}

/// The rate ratios, candidate to control, that the same evidence does not reject. `None` is an end that is
/// open within [1e-3, 1e3].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioConfidence {
    /// The candidate's bad rate is at least this many times control's.
    pub lower: Option<f64>,
    /// The candidate's bad rate is at most this many times control's.
    pub upper: Option<f64>,
}

/// The confidence sequence of the rate ratio; each end alone misses with probability at most `alpha`, at all
/// looks together, so both hold with 1 − 2·`alpha`.
///
/// The lower end is the largest null ratio the guardrail's own test rejects, with the grid as multiples of
/// that null: it passes the grid's null ratio exactly when [`relative_log_e`] reaches ln(1/α). The upper end
/// is the same test with the arms exchanged. E falls as the null ratio rises, so bisection finds the end.
/// Arguments as for [`relative_log_e`].
///
/// Worked number: 100 candidate and 100 control units at share ½, no restarts, α = 0.05: (0.637, 1.569).
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
///
/// ```
/// use serin::stats::evidence::{OddsGrid, RelativeStep, ratio_confidence};
/// let step = RelativeStep { share: 0.5, candidate: 100, control: 100 };
/// let ratio = ratio_confidence(&OddsGrid::new(1.25, 24)?, &[[step]], 1, 0.05)?;
/// let (lower, upper) = (ratio.lower.unwrap(), ratio.upper.unwrap());
/// assert!((lower - 0.637_333).abs() < 1e-6 && (upper - 1.569_038).abs() < 1e-6);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn ratio_confidence<B: AsRef<[RelativeStep]>>(
    grid: &OddsGrid,
    blocks: &[B],
    blocks_total: usize,
    alpha: f64,
) -> Result<RatioConfidence, Undefined> {
    let fires = threshold(1, alpha)?;
    let bound = |side| {
        let rejected =
            |null_ratio: f64| mixed_log_e(&grid.moved_to(null_ratio), blocks, blocks_total, side) >= fires;
        let (mut low, mut high) = (1e-3, 1e3);
        if !rejected(low) {
            return None;
        }
        // A ratio beyond the range is still a bound: the largest null tried.
        if rejected(high) {
            return Some(high);
        }
        for _ in 0..60 {
            let middle = f64::sqrt(low * high);
            if rejected(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
    };
    Ok(RatioConfidence {
        lower: bound(Side::Candidate),
        upper: bound(Side::Control).map(|ratio| 1.0 / ratio),
    })
}

/// Which arm is suspected of the higher rate.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Candidate,
    Control,
}

/// The weighted average of all starts, from the last block to the first so that each step is evaluated once.
fn mixed_log_e<B: AsRef<[RelativeStep]>>(
    grid: &OddsGrid,
    blocks: &[B],
    blocks_total: usize,
    side: Side,
) -> f64 {
    let mut logs = [0.0; MAX_POINTS];
    let logs = &mut logs[..grid.points];
    let restarts = blocks_total.saturating_sub(1);
    if restarts == 0 {
        blocks
            .iter()
            .for_each(|block| add_block(grid, block.as_ref(), side, logs));
        return log_mean_exp(logs);
    }
    let log_weight = -(2.0 * restarts as f64).ln();
    let mut mixture = LogSum::default();
    for (index, block) in blocks.iter().enumerate().rev() {
        add_block(grid, block.as_ref(), side, logs);
        if (1..=restarts).contains(&index) {
            mixture.add(log_weight + log_mean_exp(logs));
        }
    }
    let begun = blocks.len().saturating_sub(1).min(restarts);
    if begun < restarts {
        mixture.add(log_weight + ((restarts - begun) as f64).ln());
    }
    mixture.add(0.5f64.ln() + log_mean_exp(logs));
    mixture.value()
}

/// Adds a block's steps to the log likelihood ratio of every ratio of the grid.
///
/// ln(θ_j/θ_0) = ln(r_j/r_0) − D_j and ln((1 − θ_j)/(1 − θ_0)) = −D_j, with D_j = ln(1 + q(r_j − 1)) − ln(1 +
/// q(r_0 − 1)): no probability is ever near 1, so no digit is lost at tiny or large shares.
fn add_block(grid: &OddsGrid, steps: &[RelativeStep], side: Side, logs: &mut [f64]) {
    for step in steps {
        let (share, suspect, other) = match side {
            Side::Candidate => (step.share, step.candidate, step.control),
            Side::Control => (1.0 - step.share, step.control, step.candidate),
        };
        if !(share > 0.0 && share < 1.0) || (suspect == 0 && other == 0) {
            continue;
        }
        let (suspect, all) = (suspect as f64, suspect as f64 + other as f64);
        let null = (share * (grid.null_ratio - 1.0)).ln_1p();
        for (log, ratio) in logs.iter_mut().zip(grid.ratios()) {
            let damping = (share * (ratio - 1.0)).ln_1p() - null;
            *log += suspect * (ratio / grid.null_ratio).ln() - all * damping;
        }
    }
}

/// A running ln Σ exp, by its largest term.
struct LogSum {
    largest: f64,
    rest: f64,
}

impl Default for LogSum {
    fn default() -> LogSum {
        LogSum {
            largest: f64::NEG_INFINITY,
            rest: 0.0,
        }
    }
}

impl LogSum {
    fn add(&mut self, log: f64) {
        if log > self.largest {
            self.rest = self.rest * (self.largest - log).exp() + 1.0;
            self.largest = log;
        } else if log > f64::NEG_INFINITY {
            self.rest += (log - self.largest).exp();
        }
    }

    fn value(&self) -> f64 {
        if self.rest > 0.0 {
            self.largest + self.rest.ln()
        } else {
            f64::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid() -> OddsGrid {
        OddsGrid::new(1.25, DEFAULT_POINTS).unwrap()
    }

    fn step(share: f64, candidate: u64, control: u64) -> RelativeStep {
        RelativeStep {
            share,
            candidate,
            control,
        }
    }

    /// The definition, term by term.
    fn definition(blocks: &[Vec<RelativeStep>], total: usize) -> f64 {
        let start = |b: usize| {
            let steps: Vec<_> = blocks.iter().skip(b).flatten().copied().collect();
            single_start_log_e(&grid(), &steps).exp()
        };
        let restarts: f64 = (1..total).map(start).sum();
        (0.5 * start(0) + 0.5 * restarts / (total - 1) as f64).ln()
    }

    #[test]
    fn the_mixture_is_its_definition() {
        let blocks = [
            vec![step(0.05, 3, 40), step(0.1, 1, 10)],
            vec![],
            vec![step(0.1, 6, 10)],
            vec![step(0.5, 9, 5)],
        ];
        for total in [4, 5, 32] {
            let got = relative_log_e(&grid(), &blocks, total);
            assert!((got - definition(&blocks, total)).abs() < 1e-12);
        }
    }

    #[test]
    fn blocks_beyond_the_last_belong_to_it() {
        let steps = [step(0.05, 3, 40), step(0.1, 6, 10), step(0.5, 9, 5)];
        let apart: Vec<_> = steps.iter().map(|&s| vec![s]).collect();
        let joined = [vec![steps[0]], vec![steps[1], steps[2]]];
        let (apart, joined) = (
            relative_log_e(&grid(), &apart, 2),
            relative_log_e(&grid(), &joined, 2),
        );
        assert!((apart - joined).abs() < 1e-12);
    }

    #[test]
    fn nothing_seen_is_no_evidence() {
        let none: [Vec<RelativeStep>; 0] = [];
        assert!(relative_log_e(&grid(), &none, 32).abs() < 1e-12);
        assert_eq!(relative_log_e(&grid(), &none, 1), 0.0);
        assert_eq!(relative_log_e(&grid(), &none, 0), 0.0);
        let blind = [
            step(0.0, 9, 9),
            step(1.0, 9, 9),
            step(f64::NAN, 9, 9),
            step(-1.0, 9, 9),
            step(2.0, 9, 9),
        ];
        assert_eq!(single_start_log_e(&grid(), &blind), 0.0);
    }

    #[test]
    fn a_good_past_does_not_hide_a_late_regression() {
        let past = vec![step(0.05, 100, 4000)];
        let late = vec![step(0.05, 25, 100)];
        let blocks = [past, late];
        let restarted = relative_log_e(&grid(), &blocks, DEFAULT_BLOCKS);
        let steps: Vec<_> = blocks.concat();
        assert!(restarted > threshold(1, 0.01).unwrap(), "{restarted}");
        assert!(single_start_log_e(&grid(), &steps) < 0.0);
    }

    #[test]
    fn a_margin_needs_more_evidence() {
        let steps = [step(0.2, 40, 60)];
        let margin = OddsGrid::new(1.5, 24).unwrap().against(1.25).unwrap();
        assert!(single_start_log_e(&margin, &steps) < single_start_log_e(&grid(), &steps));
        assert!(OddsGrid::new(1.5, 24).unwrap().against(1.6).is_err());
    }

    #[test]
    fn the_confidence_bound_passes_the_null_when_the_guardrail_fires() {
        for candidate in 0..60 {
            let blocks = [[step(0.3, candidate, 40)]];
            let ratio = ratio_confidence(&grid(), &blocks, 32, 0.01).unwrap();
            let fires = relative_log_e(&grid(), &blocks, 32) >= threshold(1, 0.01).unwrap();
            assert_eq!(
                ratio.lower.is_some_and(|lower| lower >= 1.0),
                fires,
                "{candidate} {ratio:?}"
            );
        }
        let none: [Vec<RelativeStep>; 0] = [];
        let open = RatioConfidence {
            lower: None,
            upper: None,
        };
        assert_eq!(ratio_confidence(&grid(), &none, 32, 0.01), Ok(open));
    }

    proptest! {
        #[test]
        fn labels_in_the_candidates_disfavour_only_add(
            q in 0.001..0.999f64, candidate in 0u64..300, control in 0u64..300, early in 0u64..50,
        ) {
            let e = |candidate| {
                relative_log_e(&grid(), &[[step(q, early, early)], [step(q, candidate, control)]], 32)
            };
            // Equal where the difference is lost beside the restarts' constant share.
            prop_assert!(e(candidate + 1) >= e(candidate));
            let single = |candidate| single_start_log_e(&grid(), &[step(q, candidate, control)]);
            prop_assert!(single(candidate + 1) > single(candidate));
            // E is an average of positive numbers, some of them 1: never far below zero however good the
            // candidate is.
            prop_assert!(e(candidate) >= (0.5f64 * 30.0 / 31.0).ln() - 1e-12);
            prop_assert!(gauge(e(candidate), 4.6) >= 0.0);
        }

        #[test]
        fn the_expectation_under_equal_rates_is_one(q in 0.01..0.99f64, n in 1u64..12) {
            // Sums E over all ways n equal events can fall, with their probabilities: the martingale property
            // itself.
            let mut total = 0.0;
            let mut ways = 1.0;
            for k in 0..=n {
                let probability = ways * q.powi(k as i32) * (1.0 - q).powi((n - k) as i32);
                total += probability * single_start_log_e(&grid(), &[step(q, k, n - k)]).exp();
                ways *= (n - k) as f64 / (k + 1) as f64;
            }
            prop_assert!((total - 1.0).abs() < 1e-9, "{total}");
        }

        #[test]
        fn nothing_is_nan(
            shares in prop::collection::vec(
                prop::sample::select(vec![0.0, 5e-324, 1e-300, 1e-9, 0.5, 1.0 - 1e-16, 1.0, f64::NAN]), 1..6),
            candidate in prop::sample::select(vec![0, 1, 1_000_000_000_000, u64::MAX]),
            control in prop::sample::select(vec![0, 1, 1_000_000_000_000, u64::MAX]),
        ) {
            let blocks: Vec<_> = shares.iter().map(|&share| [step(share, candidate, control)]).collect();
            prop_assert!(relative_log_e(&grid(), &blocks, 32).is_finite());
            let ratio = ratio_confidence(&grid(), &blocks, 32, 0.01).unwrap();
            prop_assert!(ratio.lower.is_none_or(f64::is_finite) && ratio.upper.is_none_or(f64::is_finite));
            for &share in &shares {
                prop_assert!(!absolute_log_e(&grid(), share, candidate, control).is_ok_and(f64::is_nan));
            }
        }
    }
}
