//! The smallest harm a guardrail finds in a given amount of traffic.
//!
//! Owns the power of the tests in [`evidence`](super::super::evidence) at one look, the last one of a stage: the real test
//! statistic is asked which counts make it fire, and the binomial distribution how likely those counts are. The test is
//! looked at all the time, so that it fires earlier can only add to this power; measured, it adds up to seven points. It
//! takes evidence to begin with the stage: what came before only adds too. Called by the preflight.
//!
//! Units are independent here. A unit that makes r requests, each bad with probability p, is bad with 1 − (1 − p)^r.

use super::super::{
    Undefined, check_positive,
    distribution::normal_sf,
    evidence::{OddsGrid, RelativeStep, absolute_log_e, relative_log_e},
    finite,
};
use statrs::function::gamma::ln_gamma;

/// Counts of control that are looked at: more than these differ by less than the figure's last digit.
const NODES: u64 = 64;
/// The width of control's count that matters, in standard deviations.
const WIDTH: f64 = 6.0;
/// From this variance on a binomial tail is a normal one: they differ by less than a tenth of a point.
const NEARLY_NORMAL: f64 = 2_500.0;
/// How exactly a harm or an amount of traffic is told.
const PRECISION: f64 = 0.002;
/// The most traffic that is looked for, as a multiple of one unit on the candidate.
const MOST_UNITS: f64 = 1e12;
/// The buckets that units fall into, of which the absolute test leaves the worst out.
const BUCKETS: f64 = 1024.0;

/// When a guardrail fires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Firing {
    /// The ratios it looks for.
    pub grid: OddsGrid,
    /// The ln E it needs.
    pub log_threshold: f64,
    /// The distinct bad units of the candidate it needs besides.
    pub least_bad: u64,
    /// The restart blocks its evidence is divided into.
    pub blocks: usize,
}

/// The traffic of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageTraffic {
    /// Units on the candidate, greater than 0.
    pub candidate: f64,
    /// Units on control, greater than 0.
    pub control: f64,
    /// Requests of a unit, at least 1.
    pub requests_per_unit: f64,
}

impl StageTraffic {
    /// The candidate's share of the two arms.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.candidate / (self.candidate + self.control)
    }

    fn check(&self) -> Result<(), Undefined> {
        check_positive("the candidate's units", self.candidate)?;
        check_positive("control's units", self.control)?;
        if self.requests_per_unit >= 1.0 && self.requests_per_unit.is_finite() {
            return Ok(());
        }
        Err(Undefined::OutOfDomain {
            what: "requests per unit",
            value: self.requests_per_unit,
            domain: "finite and at least 1",
        })
    }
}

/// The chance that a unit of `requests` requests has at least one bad one, each bad with probability `rate`.
///
/// 1 − (1 − p)^r. Ten requests at 2 %: 0.1829.
///
/// ```
/// assert!((serin::stats::power::harm::bad_unit_rate(0.02, 10.0) - 0.182_927).abs() < 1e-6);
/// ```
#[must_use]
pub fn bad_unit_rate(rate: f64, requests: f64) -> f64 {
    -(requests * (-rate.clamp(0.0, 1.0)).ln_1p()).exp_m1()
}

/// The smallest multiple of control's bad rate per request, up to `largest`, that fires a `max_ratio` guardrail with
/// probability `power` in this traffic; none where not even `largest` does. `rate` in (0, 1) is control's.
///
/// Worked number: 5 % of 100,000 units, a rate of 2 %, one guardrail at α = 0.01: 1.54 times.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain.
///
/// ```
/// use serin::stats::{evidence::{OddsGrid, threshold}, power::harm::{Firing, StageTraffic, smallest_ratio}};
/// let firing = Firing {
///     grid: OddsGrid::new(1.25, 24)?, log_threshold: threshold(1, 0.01)?, least_bad: 5, blocks: 32 };
/// let traffic = StageTraffic { candidate: 5_000.0, control: 95_000.0, requests_per_unit: 1.0 };
/// let ratio = smallest_ratio(&firing, &traffic, 0.02, 16.0, 0.8)?;
/// assert!(ratio.is_some_and(|ratio| (ratio - 1.5401).abs() < 1e-3), "{ratio:?}");
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn smallest_ratio(
    firing: &Firing,
    traffic: &StageTraffic,
    rate: f64,
    largest: f64,
    power: f64,
) -> Result<Option<f64>, Undefined> {
    let frontier = Frontier::of(firing, traffic, rate)?;
    let found = |ratio: f64| {
        let rate = bad_unit_rate(rate * ratio, traffic.requests_per_unit);
        frontier.power(whole(traffic.candidate), rate) >= power
    };
    Ok(smallest(1.0, largest, found))
}

/// The smallest bad rate above `limit` that fires a `max_rate` guardrail with probability `power` when the candidate has
/// so many `outcomes`; none where not even a rate of 1 does.
///
/// The worst bucket of units is taken out of the counts as the guardrail does it: with 1,024 of them that is one bad
/// outcome, or as many as the fullest bucket is expected to have. 2,000 outcomes at a limit of 2 %: 3.6 %.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for a limit outside (0, 1) or no outcomes.
///
/// ```
/// use serin::stats::{evidence::{OddsGrid, threshold}, power::harm::{Firing, smallest_rate}};
/// let firing = Firing {
///     grid: OddsGrid::new(1.25, 24)?, log_threshold: threshold(1, 0.01)?, least_bad: 5, blocks: 32 };
/// let rate = smallest_rate(&firing, 2_000.0, 0.02, 0.8)?;
/// assert!(rate.is_some_and(|rate| (0.03..0.042).contains(&rate)), "{rate:?}");
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn smallest_rate(
    firing: &Firing,
    outcomes: f64,
    limit: f64,
    power: f64,
) -> Result<Option<f64>, Undefined> {
    check_positive("outcomes", outcomes)?;
    let n = whole(outcomes);
    let fires = |bad: u64| {
        let (bad, n) = without_worst(bad, n);
        Ok(absolute_log_e(&firing.grid, limit, bad.min(n), n)? >= firing.log_threshold)
    };
    let Some(needed) = first(0, n, fires)? else {
        return Ok(None);
    };
    let needed = needed.max(firing.least_bad);
    Ok(smallest(limit, 1.0, |rate| at_least(needed, n, rate) >= power))
}

/// How many units all in all make a `max_ratio` guardrail fire with probability `power` at `ratio` times control's bad
/// `rate` per request, when the candidate has `share` in (0, 1) of the two arms.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain, [`Undefined::Overflow`] beyond 10¹² units.
pub fn units_to_find(
    firing: &Firing,
    share: f64,
    requests_per_unit: f64,
    (rate, ratio): (f64, f64),
    power: f64,
) -> Result<f64, Undefined> {
    let found = |units: f64| {
        let traffic = StageTraffic {
            candidate: units * share,
            control: units * (1.0 - share),
            requests_per_unit,
        };
        let frontier = Frontier::of(firing, &traffic, rate)?;
        let worse = bad_unit_rate((rate * ratio).min(1.0), requests_per_unit);
        Ok(frontier.power(whole(traffic.candidate), worse) >= power)
    };
    least_traffic(1.0 / share, found)
}

/// How many outcomes of the candidate make a `max_rate` guardrail fire with probability `power` at `rate` in
/// (`limit`, 1].
///
/// # Errors
/// As [`units_to_find`].
pub fn outcomes_to_find(firing: &Firing, limit: f64, rate: f64, power: f64) -> Result<f64, Undefined> {
    let found = |outcomes: f64| {
        let least = smallest_rate(firing, outcomes, limit, power)?;
        Ok(least.is_some_and(|least| least <= rate * (1.0 + PRECISION)))
    };
    least_traffic(1.0, found)
}

/// Which counts make the relative test fire: for each count of control's bad units that may come about, with its
/// probability, the least count of the candidate's.
struct Frontier(Vec<(f64, u64)>);

impl Frontier {
    fn of(firing: &Firing, traffic: &StageTraffic, rate: f64) -> Result<Self, Undefined> {
        traffic.check()?;
        if !(rate > 0.0 && rate < 1.0) {
            return Err(Undefined::OutOfDomain {
                what: "control's bad rate",
                value: rate,
                domain: "between 0 and 1",
            });
        }
        let (share, n, most) = (traffic.share(), whole(traffic.control), whole(traffic.candidate));
        let rate = bad_unit_rate(rate, traffic.requests_per_unit);
        let mean = n as f64 * rate;
        let reach = WIDTH * (mean * (1.0 - rate)).sqrt() + WIDTH;
        let (low, high) = (whole(mean - reach), whole(mean + reach).min(n));
        let step = ((high - low) / NODES).max(1);
        let mut nodes = Vec::new();
        let (mut needed, mut from, mut above) = (firing.least_bad, low, at_least(low, n, rate));
        while from <= high {
            let next = from + step;
            let beyond = at_least(next, n, rate);
            let control = from + (step - 1) / 2;
            // More bad units of control never make fewer of the candidate's enough.
            let fires = |candidate: u64| {
                let step = RelativeStep {
                    share,
                    candidate,
                    control,
                };
                Ok(relative_log_e(&firing.grid, &[[step]], firing.blocks) >= firing.log_threshold)
            };
            // More than there are units are never enough.
            needed = first(needed, most, fires)?.unwrap_or(most + 1);
            nodes.push((above - beyond, needed));
            (from, above) = (next, beyond);
        }
        Ok(Self(nodes))
    }

    fn power(&self, units: u64, rate: f64) -> f64 {
        let fires = |(probability, needed): &(f64, u64)| probability * at_least(*needed, units, rate);
        self.0.iter().map(fires).sum()
    }
}

/// The first whole number from `low` to `most` for which a property holds that holds from there on.
fn first(
    low: u64,
    most: u64,
    holds: impl Fn(u64) -> Result<bool, Undefined>,
) -> Result<Option<u64>, Undefined> {
    if low > most {
        return Ok(None);
    }
    if holds(low)? {
        return Ok(Some(low));
    }
    let (mut fails, mut stride) = (low, 1);
    let mut meets = loop {
        let next = fails.saturating_add(stride).min(most);
        if holds(next)? {
            break next;
        }
        if next == most {
            return Ok(None);
        }
        fails = next;
        stride = stride.saturating_mul(2);
    };
    while meets - fails > 1 {
        let middle = fails + (meets - fails) / 2;
        if holds(middle)? {
            meets = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Some(meets))
}

/// The smallest number of an interval for which a property holds that holds from there on; none where it fails at the
/// upper end.
fn smallest(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut fails, mut meets) = (low, high);
    if !holds(meets) {
        return None;
    }
    while meets - fails > PRECISION * fails {
        let middle = (fails * meets).sqrt();
        if holds(middle) {
            meets = middle;
        } else {
            fails = middle;
        }
    }
    Some(meets)
}

fn least_traffic(from: f64, found: impl Fn(f64) -> Result<bool, Undefined>) -> Result<f64, Undefined> {
    let from = finite("the traffic", from)?;
    let (mut fails, mut meets) = (from, from * 2.0);
    while !found(meets)? {
        if meets > MOST_UNITS {
            return Err(Undefined::Overflow { what: "the traffic" });
        }
        (fails, meets) = (meets, meets * 2.0);
    }
    // Whole counts make the power rise in small steps, so more digits than these would mean nothing.
    while meets > fails * 1.01 {
        let middle = (fails * meets).sqrt();
        if found(middle)? {
            meets = middle;
        } else {
            fails = middle;
        }
    }
    Ok(meets)
}

/// `bad` of `n` outcomes without the bucket that has the most bad ones, as it is expected to be.
fn without_worst(bad: u64, n: u64) -> (u64, u64) {
    let mean = bad as f64 / BUCKETS;
    // P(more than k in a bucket) of a Poisson count, until less than one of all buckets has more.
    let (mut worst, mut term, mut below) = (0u64, (-mean).exp(), (-mean).exp());
    while (1.0 - below) * BUCKETS >= 1.0 {
        worst += 1;
        term *= mean / worst as f64;
        below += term;
        if term <= f64::EPSILON && worst as f64 > mean {
            break;
        }
    }
    let worst = worst.max(1).min(bad);
    let outcomes = worst.max(whole(n as f64 / BUCKETS));
    (bad - worst, n.saturating_sub(outcomes))
}

/// P(X ≥ `count`) for a binomial X of `n` trials at `rate`.
fn at_least(count: u64, n: u64, rate: f64) -> f64 {
    if count == 0 {
        return 1.0;
    }
    if count > n || rate <= 0.0 {
        return 0.0;
    }
    if rate >= 1.0 {
        return 1.0;
    }
    let (trials, mean) = (n as f64, n as f64 * rate);
    let variance = mean * (1.0 - rate);
    if variance > NEARLY_NORMAL {
        return normal_sf((count as f64 - 0.5 - mean) / variance.sqrt());
    }
    let log_term = |k: f64| {
        let ways = ln_gamma(trials + 1.0) - ln_gamma(k + 1.0) - ln_gamma(trials - k + 1.0);
        ways + k * rate.ln() + (trials - k) * (-rate).ln_1p()
    };
    // Away from the mean the terms fall, so that the sum of the side that is farther from it is short.
    let odds = rate / (1.0 - rate);
    let upper = count as f64 > mean;
    let mut k = if upper { count as f64 } else { count as f64 - 1.0 };
    let (mut term, mut sum) = (log_term(k).exp(), 0.0);
    while term > sum * 1e-12 {
        sum += term;
        if upper {
            term *= odds * (trials - k) / (k + 1.0);
            k += 1.0;
        } else {
            term *= k / (odds * (trials - k + 1.0));
            k -= 1.0;
        }
    }
    let sum = sum.min(1.0);
    if upper { sum } else { 1.0 - sum }
}

/// The nearest whole number, from 0.
fn whole(number: f64) -> u64 {
    // Beyond the range of u64 the cast saturates, and NaN becomes 0.
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{evidence::threshold, power::progress::wald_bound};

    fn firing(guardrails: usize) -> Firing {
        Firing {
            grid: OddsGrid::new(1.25, 24).unwrap(),
            log_threshold: threshold(guardrails, 0.01).unwrap(),
            least_bad: 5,
            blocks: 32,
        }
    }

    fn traffic(units: f64, share: f64) -> StageTraffic {
        StageTraffic {
            candidate: units * share,
            control: units * (1.0 - share),
            requests_per_unit: 1.0,
        }
    }

    #[test]
    fn binomial_tails_are_the_sums_of_the_definition() {
        // scipy.stats.binom.sf(k - 1, n, p)
        for (count, n, rate, known) in [
            (5, 100, 0.02, 0.050_830_4),
            (1, 100, 0.02, 0.867_380_4),
            (60, 100, 0.5, 0.028_444_0),
            (100, 100, 0.999, 0.904_792_1),
        ] {
            let found = at_least(count, n, rate);
            assert!((found - known).abs() < 1e-6, "{count} {n} {rate}: {found}");
        }
        assert_eq!(at_least(0, 0, 0.5), 1.0);
        assert_eq!(at_least(1, 0, 0.5), 0.0);
        assert_eq!(at_least(3, 9, 1.0), 1.0);
        // Both forms meet where one takes over from the other.
        let (below, above) = (at_least(2_600, 127_000, 0.02), at_least(2_606, 127_600, 0.02));
        assert!((below - above).abs() < 0.03, "{below} {above}");
    }

    #[test]
    fn more_traffic_finds_less_harm_and_none_finds_nothing() {
        let mut before = f64::INFINITY;
        for units in [3e3, 1e4, 1e5, 1e6, 1e7] {
            let ratio = smallest_ratio(&firing(1), &traffic(units, 0.05), 0.02, 16.0, 0.8).unwrap();
            let ratio = ratio.unwrap();
            assert!(ratio < before, "{units}: {ratio} after {before}");
            before = ratio;
        }
        // Excesses well below the smallest ratio of the grid are tolerated, whatever the traffic.
        assert!((1.1..1.15).contains(&before), "{before}");
        for units in [1.0, 100.0] {
            let ratio = smallest_ratio(&firing(1), &traffic(units, 0.05), 0.02, 16.0, 0.8);
            assert_eq!(ratio, Ok(None), "{units}");
        }
        assert!(smallest_ratio(&firing(1), &traffic(0.0, 0.05), 0.02, 16.0, 0.8).is_err());
        assert!(smallest_ratio(&firing(1), &traffic(9.0, 0.05), 0.0, 16.0, 0.8).is_err());
    }

    #[test]
    fn what_is_needed_is_a_small_multiple_of_the_bound() {
        // The mean of the sequential test is 1.2 to 2 times the bound; four of five times it is through after little
        // more than that.
        for ratio in [1.5, 2.0, 3.0, 5.0] {
            let units = units_to_find(&firing(1), 0.05, 1.0, (0.02, ratio), 0.8).unwrap();
            let theirs = 0.05 * ratio / (0.05 * ratio + 0.95);
            let bad = wald_bound(theirs, 0.05, 0.01).unwrap();
            let bound = bad / (0.02 * (0.05 * ratio + 0.95));
            assert!(
                (1.4..3.2).contains(&(units / bound)),
                "{ratio}: {}",
                units / bound
            );
            let found = smallest_ratio(&firing(1), &traffic(units, 0.05), 0.02, 16.0, 0.8).unwrap();
            assert!((found.unwrap() / ratio - 1.0).abs() < 0.02, "{ratio} {found:?}");
        }
    }

    #[test]
    fn more_guardrails_find_less() {
        let ratio =
            |guardrails| smallest_ratio(&firing(guardrails), &traffic(1e5, 0.05), 0.02, 16.0, 0.8).unwrap();
        assert!(ratio(5) > ratio(1), "{:?} {:?}", ratio(5), ratio(1));
    }

    #[test]
    fn absolute_limits_need_outcomes_too() {
        let rate = |outcomes| smallest_rate(&firing(1), outcomes, 0.02, 0.8).unwrap();
        assert_eq!(rate(3.0), None);
        assert!(rate(20.0).unwrap() > rate(2_000.0).unwrap());
        assert!(rate(1e8).unwrap() < 0.0228, "{:?}", rate(1e8));
        let outcomes = outcomes_to_find(&firing(1), 0.02, 0.04, 0.8).unwrap();
        assert!((500.0..3_000.0).contains(&outcomes), "{outcomes}");
        assert!(smallest_rate(&firing(1), 9.0, 1.0, 0.8).is_err());
    }
}
