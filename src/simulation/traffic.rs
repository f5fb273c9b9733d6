//! Users, how often they come, and what their requests bring.
//!
//! Owns the user model of every study. A user comes 1 to 200 times, few of them very often, and resembles themselves: what
//! a request brings depends on its user more than on chance. That is what makes tests lie that take every request for
//! a new piece of evidence. Knows no arms, except that a request may be `treated`. Called by the studies.

use super::random::Random;
use crate::domain::metric::{Goal, MetricKind};
use rand_distr::Beta;
use std::sync::LazyLock;

/// The most requests one user makes.
pub const MOST_REQUESTS: usize = 200;

/// The model in words, for whoever reads a table of figures.
pub const MODEL: &str = "users make 1 to 200 requests, P(n) proportional to n^-1.5 (mean 10.9), mixed in time; \
    binary 20 % with Beta rates per user (intra-user correlation 1/3), rare 2 % (1/6), \
    gauss with mean 2 and sd 1 (1/2), lognormal with half of its log variance of 1 between users, \
    informative rises with the number of a user's requests";

/// Shares of users with at most n requests, n = 1 … 200.
static REQUESTS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    // n^-1.5 without a power, whose last digit is not the same everywhere.
    let weights = (1..=MOST_REQUESTS).map(|n| 1.0 / (n as f64 * (n as f64).sqrt()));
    let sums: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let all = sums[MOST_REQUESTS - 1];
    sums.into_iter().map(|sum| sum / all).collect()
});

/// How many requests a new user makes.
pub fn requests(random: &mut Random) -> usize {
    let draw = random.uniform();
    (REQUESTS.partition_point(|share| *share <= draw) + 1).min(MOST_REQUESTS)
}

/// A yes or no whose probability differs between users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateModel {
    /// The mean of the users' rates, in (0, 1).
    pub mean: f64,
    /// The correlation between two requests of one user, in [0, 1); 0: all users are alike.
    pub correlation: f64,
}

impl RateModel {
    /// A user's own rate: Beta distributed with α + β = 1/correlation − 1, so that two of their requests correlate as
    /// wanted.
    pub fn user(&self, random: &mut Random) -> f64 {
        if self.correlation <= 0.0 {
            return self.mean;
        }
        let sum = 1.0 / self.correlation - 1.0;
        match Beta::new(self.mean * sum, (1.0 - self.mean) * sum) {
            Ok(rates) => random.draw(&rates),
            // A mean of 0 or 1 leaves nothing to differ.
            Err(_) => self.mean,
        }
    }
}

/// One of the five metrics that every request reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// A common yes or no.
    Binary,
    /// A rare one.
    Rare,
    /// A well-behaved number.
    Gauss,
    /// A skewed number with a long tail: a latency in milliseconds.
    Lognormal,
    /// A number that is higher for users who come often.
    Informative,
}

/// In milliseconds; the mean of [`Metric::Lognormal`] on control is exp(½) times that.
const LOGNORMAL_MEDIAN: f64 = 800.0;
const SQRT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;

impl Metric {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Binary,
        Self::Rare,
        Self::Gauss,
        Self::Lognormal,
        Self::Informative,
    ];

    /// Its name in designs and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Rare => "rare",
            Self::Gauss => "gauss",
            Self::Lognormal => "lognormal",
            Self::Informative => "informative",
        }
    }

    /// Rate or mean.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        match self {
            Self::Binary | Self::Rare => MetricKind::Rate,
            _ => MetricKind::Mean,
        }
    }

    /// The better direction; the effect of [`Treatment::Better`] has it.
    #[must_use]
    pub fn goal(self) -> Goal {
        match self {
            Self::Lognormal => Goal::Decrease,
            _ => Goal::Increase,
        }
    }

    /// How it differs between users, where it is a rate.
    #[must_use]
    pub fn rate(self) -> Option<RateModel> {
        match self {
            Self::Binary => Some(RateModel {
                mean: 0.2,
                correlation: 1.0 / 3.0,
            }),
            Self::Rare => Some(RateModel {
                mean: 0.02,
                correlation: 1.0 / 6.0,
            }),
            _ => None,
        }
    }

    /// The effect a test of [`Treatment::Better`] is planned for, as a share of control's mean: a little less than the
    /// true one, so that calling it no difference is wrong.
    #[must_use]
    pub fn planned_effect(self) -> f64 {
        let mean = match self {
            Self::Binary => 0.2,
            Self::Rare => 0.02,
            Self::Gauss => 2.0,
            Self::Lognormal => LOGNORMAL_MEDIAN * 0.5f64.exp(),
            // 1 + half of the mean logarithm over requests, Σ n·P(n)·ln n / Σ n·P(n).
            Self::Informative => 3.0,
        };
        0.75 * self.effect().abs() / mean
    }

    /// By how much the mean per request differs under [`Treatment::Better`], in the unit of the metric: known because
    /// it is put in, not estimated. About 3.5 standard errors of 10,000 users in two halves.
    #[must_use]
    pub fn effect(self) -> f64 {
        match self {
            Self::Binary => 0.04,
            Self::Rare => 0.01,
            Self::Gauss => 0.13,
            Self::Lognormal => (LOGNORMAL_FACTOR - 1.0) * LOGNORMAL_MEDIAN * 0.5f64.exp(),
            Self::Informative => 0.2,
        }
    }
}

const LOGNORMAL_FACTOR: f64 = 0.86;

/// What the candidate does to those who get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing: an A/A test.
    Nothing,
    /// Every metric moves by [`Metric::effect`].
    Better,
}

/// Somebody who comes back.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// The unit id.
    pub id: u64,
    /// How many requests they make.
    pub requests: usize,
    /// On control and under the treatment.
    binary: [f64; 2],
    rare: [f64; 2],
    gauss: f64,
    lognormal: f64,
    informative: f64,
}

impl User {
    /// A new user under a treatment.
    pub fn new(random: &mut Random, treatment: Treatment) -> Self {
        let requests = requests(random);
        let mut rates = |metric: Metric| {
            let Some(model) = metric.rate() else {
                return [0.0; 2];
            };
            let control = model.user(random);
            match treatment {
                Treatment::Nothing => [control; 2],
                // Beta rates around a higher mean; a user is only ever seen with one of the two.
                Treatment::Better => {
                    let mean = model.mean + metric.effect();
                    [control, RateModel { mean, ..model }.user(random)]
                }
            }
        };
        let (binary, rare) = (rates(Metric::Binary), rates(Metric::Rare));
        Self {
            id: random.bits(),
            requests,
            binary,
            rare,
            gauss: SQRT_HALF * random.normal(),
            lognormal: SQRT_HALF * random.normal(),
            informative: 1.0 + 0.5 * (requests as f64).ln() + 0.5 * random.normal(),
        }
    }

    /// What one of their requests brings, in the order of [`Metric::ALL`].
    pub fn request(&self, random: &mut Random, treatment: Treatment, treated: bool) -> [f64; 5] {
        let treated = treated && treatment == Treatment::Better;
        let yes = |random: &mut Random, rates: [f64; 2]| {
            f64::from(u8::from(random.chance(rates[usize::from(treated)])))
        };
        let shift = |metric: Metric| if treated { metric.effect() } else { 0.0 };
        let factor = if treated { LOGNORMAL_FACTOR } else { 1.0 };
        [
            yes(random, self.binary),
            yes(random, self.rare),
            2.0 + self.gauss + SQRT_HALF * random.normal() + shift(Metric::Gauss),
            factor * LOGNORMAL_MEDIAN * (self.lognormal + SQRT_HALF * random.normal()).exp(),
            self.informative + 0.5 * random.normal() + shift(Metric::Informative),
        ]
    }
}

/// Numbers of users, each as often as they make requests, in random order: everybody is around all the time.
pub fn interleaved(random: &mut Random, requests: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..)
        .zip(requests)
        .flat_map(|(user, requests)| std::iter::repeat_n(user, requests))
        .collect();
    random.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn few_users_send_half_of_the_requests() {
        let mut random = Random::of_run(1, "", "", 0);
        let mut counts: Vec<usize> = (0..200_000).map(|_| requests(&mut random)).collect();
        let all: usize = counts.iter().sum();
        let mean = all as f64 / counts.len() as f64;
        assert!((mean - 10.9).abs() < 0.2, "{mean}");
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&1), Some(&200)));
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let heavy: usize = counts[..12_000].iter().sum();
        let share = heavy as f64 / all as f64;
        assert!((share - 0.53).abs() < 0.02, "6 % of users send {share}");
    }

    #[test]
    fn rates_have_the_mean_and_the_correlation_asked_for() {
        let mut random = Random::of_run(2, "", "", 0);
        for metric in [Metric::Binary, Metric::Rare] {
            let model = metric.rate().unwrap();
            let rates: Vec<f64> = (0..200_000).map(|_| model.user(&mut random)).collect();
            let (mean, variance) = moments(&rates);
            assert!((mean / model.mean - 1.0).abs() < 0.03, "{mean}");
            // The variance of the rates is the covariance of two requests.
            let correlation = variance / (model.mean * (1.0 - model.mean));
            assert!(
                (correlation / model.correlation - 1.0).abs() < 0.05,
                "{correlation}"
            );
        }
        let alike = RateModel {
            mean: 0.02,
            correlation: 0.0,
        };
        assert_eq!(alike.user(&mut random), 0.02);
    }

    #[test]
    fn the_treatment_moves_every_mean_by_its_effect() {
        let mut random = Random::of_run(3, "", "", 0);
        let mut means = |treated| {
            let mut sums = [0.0; 5];
            let users = 300_000;
            for _ in 0..users {
                let user = User::new(&mut random, Treatment::Better);
                let values = user.request(&mut random, Treatment::Better, treated);
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            sums.map(|sum| sum / f64::from(users))
        };
        let (control, treated) = (means(false), means(true));
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            let found = treated[index] - control[index];
            let off = (found / metric.effect() - 1.0).abs();
            assert!(off < 0.12, "{metric:?}: {found} instead of {}", metric.effect());
        }
    }

    #[test]
    fn everybody_comes_as_often_as_they_should() {
        let mut random = Random::of_run(4, "", "", 0);
        let order = interleaved(&mut random, [3, 0, 2].into_iter());
        assert_eq!(order.len(), 5);
        assert_eq!(order.iter().filter(|user| **user == 0).count(), 3);
        assert_eq!(order.iter().filter(|user| **user == 2).count(), 2);
    }
}
