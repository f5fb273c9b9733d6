//! How much traffic an answer needs, and what the traffic so far can answer.
//!
//! Owns the arithmetic of planning: sample sizes, smallest detectable effects, power, and the time that is
//! left. It never looks at an outcome to decide when to stop, and reads no clock: time goes in as a number.
//! Called by a report and by whoever plans an experiment.
//!
//! [`means`] and [`proportions`] plan from a spread or a rate that is known beforehand; [`progress`] takes the
//! standard error of a comparison that is under way, which already contains how requests cluster; [`harm`] and
//! [`ruling_out`] are about guardrails: what harm they find in how much traffic, and when they rule one out.

pub mod harm;
pub mod means;
mod noncentral_t;
pub mod progress;
pub mod proportions;
pub mod ruling_out;

use super::distribution::{normal_quantile, normal_upper_quantile};
use super::{Undefined, check_alpha, check_positive, finite};

/// What a test is to achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The two-sided error rate, in (0, 1).
    pub alpha: f64,
    /// The probability of finding the effect when it is there, in (alpha, 1).
    pub power: f64,
}

impl Goal {
    /// z_{1−α/2} + z_power: how many standard errors the true effect must be away from 0.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1) or `power` outside (alpha, 1).
    ///
    /// ```
    /// use serin::stats::power::Goal;
    /// let distance = Goal { alpha: 0.05, power: 0.8 }.standard_errors()?;
    /// assert!((distance - 2.801_585_218_112_966).abs() < 1e-12);
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn standard_errors(&self) -> Result<f64, Undefined> {
        let (critical, reserve) = self.quantiles()?;
        Ok(critical + reserve)
    }

    /// z_{1−α/2} and z_power.
    fn quantiles(&self) -> Result<(f64, f64), Undefined> {
        check_alpha(self.alpha)?;
        if !(self.power > self.alpha && self.power < 1.0) {
            return Err(Undefined::OutOfDomain {
                what: "power",
                value: self.power,
                domain: "between alpha and 1",
            });
        }
        Ok((
            normal_upper_quantile(0.5 * self.alpha)?,
            normal_quantile(self.power)?,
        ))
    }
}

/// How traffic is divided, and how much of it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// n_B/n_A: treatment's size over control's; greater than 0. 1/19 is a canary of 5 %.
    pub ratio: f64,
    /// How many requests say as much as one independent request; 1 when all are independent.
    pub design_effect: f64,
}

impl Design {
    /// Two arms of one size, every request independent.
    pub const EVEN: Design = Design {
        ratio: 1.0,
        design_effect: 1.0,
    };

    fn check(&self) -> Result<(), Undefined> {
        check_positive("the ratio of the arms", self.ratio)?;
        if self.design_effect >= 1.0 && self.design_effect.is_finite() {
            Ok(())
        } else {
            Err(Undefined::OutOfDomain {
                what: "the design effect",
                value: self.design_effect,
                domain: "at least 1",
            })
        }
    }
}

/// How many observations each arm needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Control's size as the formula gives it, not rounded.
    pub exact: f64,
    /// Control's size, rounded up.
    pub control: u64,
    /// Treatment's size, rounded up.
    pub treatment: u64,
}

impl Size {
    fn new(exact: f64, ratio: f64) -> Result<Size, Undefined> {
        /// From here on a count no longer fits 64 bits.
        const LIMIT: f64 = 1e19;
        let what = "the sample size";
        let larger = finite(what, exact.max(exact * ratio))?;
        if larger >= LIMIT {
            return Err(Undefined::Overflow { what });
        }
        Ok(Size {
            exact,
            control: exact.ceil() as u64,
            treatment: (exact * ratio).ceil() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::means::{Sides, mde, power, power_t, size, size_t};
    use super::progress::{
        Progress, days_left, days_left_always_valid, detectable, detectable_always_valid, wald_bound,
    };
    use super::proportions::{Form, mde as mde_rate, size as size_rate};
    use super::*;
    use proptest::prelude::*;

    const GOAL: Goal = Goal {
        alpha: 0.05,
        power: 0.8,
    };

    fn extreme() -> impl Strategy<Value = f64> {
        let values = [
            0.0,
            1e-300,
            1e-9,
            0.05,
            0.5,
            0.8,
            1.0 - 1e-16,
            1.0,
            2.0,
            1e9,
            1e12,
            1e300,
            -1.0,
            f64::INFINITY,
            f64::NAN,
        ];
        prop::sample::select(values.to_vec())
    }

    #[test]
    fn a_goal_below_its_own_error_rate_is_refused() {
        for power in [0.05, 0.01, 1.0, f64::NAN] {
            assert!(Goal { power, ..GOAL }.standard_errors().is_err());
        }
        let none = Design {
            design_effect: 0.5,
            ..Design::EVEN
        };
        assert!(size((1.0, 1.0), 0.1, GOAL, none).is_err());
    }

    #[test]
    fn rates_near_one_another_keep_their_divergence() {
        // KL ≈ (p₁ − p₀)²/(2p₀(1 − p₀)) when they are close.
        let bound = wald_bound(0.5 + 1e-9, 0.5, 0.05).unwrap();
        assert!((bound / (20f64.ln() / 2e-18) - 1.0).abs() < 1e-6, "{bound}");
    }

    proptest! {
        #[test]
        fn sizes_powers_and_effects_agree(
            sd in (0.1..10.0f64, 0.1..10.0f64), delta in 0.01..1.0f64, ratio in 0.05..5.0f64,
            design_effect in 1.0..20.0f64, power_sought in 0.5..0.99f64,
        ) {
            let (goal, design) = (Goal { alpha: 0.05, power: power_sought }, Design { ratio, design_effect });
            let n = size(sd, delta, goal, design).unwrap().exact;
            prop_assert!((mde(sd, n, goal, design).unwrap() / delta - 1.0).abs() < 1e-12);
            let reached = power(sd, delta, n, goal.alpha, design).unwrap();
            // The other tail adds at most Φ(−2·1.96), when the power is one half.
            prop_assert!(reached >= power_sought - 1e-12 && reached < power_sought + 4.5e-5);
        }

        #[test]
        fn the_t_test_needs_a_little_more_than_the_normal(d in 0.05..2.0f64, ratio in 0.2..5.0f64) {
            let design = Design { ratio, ..Design::EVEN };
            let normal = size((1.0, 1.0), d, GOAL, design).unwrap().exact;
            let t = size_t(d, GOAL, ratio, Sides::Two).unwrap().exact;
            prop_assert!(t > normal && t < normal + 6.0 * (1.0 + 1.0 / ratio), "{normal} {t}");
            prop_assert!((power_t(d, t, 0.05, ratio, Sides::Two).unwrap() - 0.8).abs() < 1e-9);
        }

        #[test]
        fn a_rate_found_is_the_rate_sought(p in 1e-4..0.9f64, gap in 0.01..0.99f64, ratio in 0.05..5.0f64) {
            let rise = gap * (1.0 - p);
            let design = Design { ratio, ..Design::EVEN };
            let n = size_rate(Form::Pooled, p, p + rise, GOAL, design).unwrap().exact;
            prop_assert!((mde_rate(p, n, GOAL, design).unwrap() / rise - 1.0).abs() < 1e-9);
        }

        #[test]
        fn nothing_is_nan(a in extreme(), b in extreme(), c in extreme(), d in extreme(), e in extreme()) {
            let goal = Goal { alpha: d, power: e };
            let design = Design { ratio: c, design_effect: b };
            let sizes = [
                size((a, b), c, goal, Design::EVEN), size((a, 1.0), b, GOAL, design), size_t(a, goal, b, Sides::Two),
                size_t(a, GOAL, b, Sides::One), size_rate(Form::Unpooled, a, b, goal, design),
                size_rate(Form::Pooled, a, b, GOAL, design), size_rate(Form::Arcsine, a, b, goal, Design::EVEN),
            ];
            for size in sizes.into_iter().flatten() {
                prop_assert!(size.exact.is_finite() && size.exact >= 0.0);
            }
            let progress = Progress { se: a, traffic: b, elapsed: c };
            let left = [days_left(&progress, d, GOAL), days_left(&progress, 1.0, goal),
                days_left_always_valid(&progress, d, e, goal)];
            for left in left.into_iter().flatten() {
                prop_assert!(left.traffic.is_finite() && left.days.is_finite() && left.days >= 0.0);
            }
            let values = [
                mde((a, b), c, goal, Design::EVEN), mde_rate(a, b, goal, design), detectable(a, goal),
                detectable_always_valid(a, b, goal), wald_bound(a, b, d),
            ];
            for value in values.into_iter().flatten() {
                prop_assert!(value.is_finite() && value >= 0.0, "{value}");
            }
            for value in [power((a, b), c, d, e, Design::EVEN), power_t(a, b, c, d, Sides::Two),
                power_t(a, b, c, d, Sides::One)].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&value), "{value}");
            }
        }
    }
}
