//! An experiment that does not exist yet, and the sizes it needs.
//!
//! All sizes come from `stats::power`; owned here is only what they are sizes of: requests, units, variants, days.

use crate::stats::{
    Undefined,
    distribution::normal_sf,
    power::{
        self, Goal, means,
        progress::{Progress, days_left_always_valid},
        proportions,
    },
    sequential::critical_value,
};
use anyhow::{Context as _, Result};
use serde::Serialize;

/// Steps of a bisection; a float has no more digits to give.
const STEPS: u32 = 200;

/// Control as it is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Baseline {
    /// In (0, 1).
    Rate(f64),
    /// Not 0.
    Mean {
        mean: f64,
        /// Of single requests.
        sd: f64,
    },
}

/// Who gets how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arms {
    pub(super) candidates: u32,
    /// Of each candidate.
    pub(super) share: f64,
}

/// How requests belong to units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Requests {
    /// On average; none where only the design effect is known.
    pub(super) per_unit: Option<f64>,
    pub(super) design_effect: f64,
}

impl Requests {
    pub(super) const ONE_EACH: Self = Self {
        per_unit: Some(1.0),
        design_effect: 1.0,
    };
}

/// What comes in a day, of all variants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Traffic {
    RequestsPerDay(f64),
    UnitsPerDay(f64),
}

/// An experiment to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Design {
    pub(super) baseline: Baseline,
    /// Of all comparisons together.
    pub(super) alpha: f64,
    /// Of each comparison.
    pub(super) goal: Goal,
    pub(super) arms: Arms,
    pub(super) requests: Requests,
    pub(super) traffic: Option<Traffic>,
}

/// How much is needed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Needed {
    pub(super) requests: PerArm,
    /// None where only the design effect is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) units: Option<PerArm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct PerArm {
    pub(super) control: u64,
    /// Of each candidate.
    pub(super) candidate: u64,
    pub(super) all: u64,
}

impl Needed {
    /// Units where they are known, else requests.
    pub(super) fn counted(&self) -> PerArm {
        self.units.unwrap_or(self.requests)
    }

    pub(super) fn all(&self) -> f64 {
        self.counted().all as f64
    }
}

/// One effect and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Row {
    /// As a share of control's mean.
    pub(super) effect: f64,
    /// In the unit of the metric.
    pub(super) difference: f64,
    pub(super) fixed: Needed,
    pub(super) always_valid: Needed,
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Found {
    pub(super) effect: f64,
    pub(super) difference: f64,
}

/// What a number of units can find.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Detectable {
    pub(super) units: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<f64>,
    /// None where not even a rise of a rate to 1 would be found.
    pub(super) fixed: Option<Found>,
    pub(super) always_valid: Option<Found>,
}

impl Design {
    /// What sizes count.
    pub(super) fn counted(&self) -> &'static str {
        if self.requests.per_unit.is_some() {
            "units"
        } else {
            "requests"
        }
    }

    /// Control's mean.
    pub(super) fn mean(&self) -> f64 {
        match self.baseline {
            Baseline::Rate(rate) => rate,
            Baseline::Mean { mean, .. } => mean,
        }
    }

    /// Whether there is such an effect: a rate stays below 1.
    pub(super) fn possible(&self, effect: f64) -> bool {
        match self.baseline {
            Baseline::Rate(rate) => rate * (1.0 + effect) < 1.0,
            Baseline::Mean { .. } => true,
        }
    }

    /// What an effect takes.
    pub(super) fn row(&self, effect: f64) -> Result<Row> {
        let difference = effect * self.mean().abs();
        let why = || format!("an effect of {effect} cannot be planned for");
        Ok(Row {
            effect,
            difference,
            fixed: self.needed(self.fixed_size(difference).with_context(why)?),
            always_valid: self.needed(self.always_valid_size(difference).with_context(why)?),
        })
    }

    /// What so many units of all variants can find.
    pub(super) fn detectable(&self, units: f64) -> Result<Detectable> {
        let requests = units * self.requests.per_unit.unwrap_or(1.0) * self.control_share();
        let found = |size: &dyn Fn(f64) -> Result<f64, Undefined>| {
            let difference = self.smallest(requests, size)?;
            Ok::<_, Undefined>(difference.map(|difference| Found {
                effect: difference / self.mean().abs(),
                difference,
            }))
        };
        Ok(Detectable {
            units,
            days: self.days(units * self.requests.per_unit.unwrap_or(1.0)),
            fixed: found(&|difference| self.fixed_size(difference))?,
            always_valid: found(&|difference| self.always_valid_size(difference))?,
        })
    }

    /// The chance that an effect is found at a size of all variants, counted as [`Design::counted`] says: by a test at
    /// that fixed size, and by the always-valid interval at one look.
    pub(super) fn power(&self, effect: f64, size: f64) -> Result<(f64, f64)> {
        let difference = effect * self.mean().abs();
        let requests = size * self.requests.per_unit.unwrap_or(1.0) * self.control_share();
        let distance = difference / (self.spread(difference) / requests.sqrt());
        let found =
            |critical: f64| (normal_sf(critical - distance) + normal_sf(critical + distance)).min(1.0);
        let fixed = crate::stats::distribution::normal_upper_quantile(0.5 * self.goal.alpha)?;
        // Tuned to the effect itself, τ/se is the distance.
        let always = critical_value(distance * distance, self.goal.alpha)?;
        Ok((found(fixed), found(always)))
    }

    /// Control's share.
    fn control_share(&self) -> f64 {
        1.0 - self.arms.share * f64::from(self.arms.candidates)
    }

    fn split(&self) -> power::Design {
        power::Design {
            ratio: self.arms.share / self.control_share(),
            design_effect: self.requests.design_effect,
        }
    }

    /// Control's requests for a test at a fixed size. Of a rate the larger of two forms, because the test itself takes
    /// the larger of two errors.
    fn fixed_size(&self, difference: f64) -> Result<f64, Undefined> {
        let (goal, split) = (self.goal, self.split());
        match self.baseline {
            Baseline::Mean { sd, .. } => Ok(means::size((sd, sd), difference, goal, split)?.exact),
            Baseline::Rate(rate) => {
                let size = |form| proportions::size(form, rate, rate + difference, goal, split);
                let (pooled, unpooled) = (
                    size(proportions::Form::Pooled)?,
                    size(proportions::Form::Unpooled)?,
                );
                Ok(pooled.exact.max(unpooled.exact))
            }
        }
    }

    /// Control's requests until the always-valid interval, tuned to the difference, excludes 0 with the power sought; at
    /// least one.
    fn always_valid_size(&self, difference: f64) -> Result<f64, Undefined> {
        let after_one = Progress {
            se: self.spread(difference),
            traffic: 1.0,
            elapsed: 1.0,
        };
        let left = days_left_always_valid(&after_one, difference, difference, self.goal)?;
        Ok(1.0 + left.traffic)
    }

    /// The standard error of the difference when control has one request: the larger of Welch's and the pooled one.
    fn spread(&self, difference: f64) -> f64 {
        let split = self.split();
        let variance = match self.baseline {
            Baseline::Mean { sd, .. } => sd * sd * (1.0 + 1.0 / split.ratio),
            Baseline::Rate(rate) => {
                let other = rate + difference;
                let pooled = (rate + split.ratio * other) / (1.0 + split.ratio);
                let welch = rate * (1.0 - rate) + other * (1.0 - other) / split.ratio;
                welch.max(pooled * (1.0 - pooled) * (1.0 + 1.0 / split.ratio))
            }
        };
        (variance * split.design_effect).sqrt()
    }

    fn needed(&self, control: f64) -> Needed {
        let ratio = self.split().ratio;
        let requests = self.per_arm(control, ratio);
        let units = self
            .requests
            .per_unit
            .map(|per_unit| self.per_arm(control / per_unit, ratio));
        Needed {
            requests,
            units,
            days: self.days(requests.all as f64),
        }
    }

    fn per_arm(&self, control: f64, ratio: f64) -> PerArm {
        let whole = |size: f64| size.ceil() as u64;
        let (control, candidate) = (whole(control), whole(control * ratio));
        PerArm {
            control,
            candidate,
            all: control.saturating_add(candidate.saturating_mul(self.arms.candidates.into())),
        }
    }

    fn days(&self, requests: f64) -> Option<f64> {
        match self.traffic? {
            Traffic::RequestsPerDay(per_day) => Some(requests / per_day),
            Traffic::UnitsPerDay(per_day) => Some(requests / self.requests.per_unit? / per_day),
        }
    }

    /// The smallest difference whose size is at most `requests`, by bisection: sizes fall with the difference.
    fn smallest(
        &self,
        requests: f64,
        size: &dyn Fn(f64) -> Result<f64, Undefined>,
    ) -> Result<Option<f64>, Undefined> {
        let mut high = match self.baseline {
            // Just below 1, where a rate has no variance left.
            Baseline::Rate(rate) => (1.0 - rate) * (1.0 - 1e-9),
            Baseline::Mean { sd, .. } => sd,
        };
        while size(high)? > requests {
            if matches!(self.baseline, Baseline::Rate(_)) || high > 1e300 {
                return Ok(None);
            }
            high *= 2.0;
        }
        let mut low = 0.0;
        for _ in 0..STEPS {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            // What is too small for a size is too small to be found.
            if size(middle).is_ok_and(|size| size <= requests) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(Some(high))
    }
}
