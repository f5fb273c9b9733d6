//! The normal posterior of a difference.
//!
//! Owns the chance to beat control, the expected losses and the credible interval of an effect whose estimate
//! is nearly normal. It sees a difference and its error, never where they come from. Called by a report.

use std::f64::consts::TAU;

use super::super::difference::Estimate;
use super::super::distribution::{normal_sf, normal_upper_quantile};
use super::super::{Undefined, check_alpha, finite};

/// What is believed about D, treatment minus control, after the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// The expectation of D.
    pub mean: f64,
    /// The standard deviation of D; greater than 0.
    pub sd: f64,
    /// P(D > 0), in [0, 1].
    pub chance_to_beat: f64,
    /// E max(−D, 0): what choosing treatment is expected to lose, in the unit of D.
    pub risk_treatment: f64,
    /// E max(D, 0): what staying with control is expected to lose, in the unit of D.
    pub risk_control: f64,
    /// Lower and upper end of the equal-tailed interval that holds D with probability 1 − alpha.
    pub ci: (f64, f64),
}

/// What was believed about the lift B/A − 1 before the data: a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalPrior {
    /// The expected lift: 0 takes no side.
    pub mean: f64,
    /// The squared standard deviation of the lift: 0.09 holds lifts beyond ±60 % for unlikely.
    pub variance: f64,
}

/// In which unit an effect is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// B − A, in the unit of the metric.
    Absolute,
    /// B/A − 1.
    Relative,
}

/// The posterior of a difference that was estimated as `difference` ± `se`, with no prior belief.
///
/// D ~ N(d, SE²); with z = d/SE: P(D > 0) = Φ(z), E max(D, 0) = SE·(zΦ(z) + φ(z)), E max(−D, 0) = SE·(φ(z) −
/// zΦ(−z)). Source: Gelman et al. (2013), "Bayesian data analysis", 3rd edition, section 2.5, for the
/// posterior; Raiffa & Schlaifer (1961), "Applied statistical decision theory", section 11.3, for the unit
/// normal loss. Pass the safe standard error of [`compare`](super::super::cluster::compare): a posterior is
/// as wrong as its variance.
///
/// Domain: `difference` finite, `se` > 0, `alpha` in (0, 1).
///
/// Worked number: 0.5 ± 0.25, z = 2: chance 0.97725, risk of treatment 0.25·0.0084907 = 0.00212268, risk of
/// control 0.00212268 + 0.5.
///
/// # Errors
/// [`Undefined::ZeroVariance`] for `se` = 0; [`Undefined::OutOfDomain`] for an `se` that is negative or not a
/// number or `alpha` outside (0, 1); [`Undefined::Overflow`] when an argument or a result is not finite.
///
/// ```
/// use serin::stats::bayesian::effect;
/// let belief = effect(0.5, 0.25, 0.05)?;
/// assert!((belief.chance_to_beat - 0.977_249_868_051_821).abs() < 1e-14);
/// assert!((belief.risk_treatment - 0.002_122_675_654_207).abs() < 1e-14);
/// assert!((belief.risk_control - 0.502_122_675_654_207).abs() < 1e-14);
/// assert!((belief.ci.0 - 0.010_009_003_864_987).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn effect(difference: f64, se: f64, alpha: f64) -> Result<Posterior, Undefined> {
    check_alpha(alpha)?;
    finite("the difference", difference)?;
    if se.is_nan() || se < 0.0 {
        return Err(Undefined::OutOfDomain {
            what: "standard error",
            value: se,
            domain: "greater than 0",
        });
    }
    finite("the standard error", se)?;
    if se == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let z = difference / se;
    // The smaller loss is computed, the larger follows: E max(D, 0) − E max(−D, 0) = d.
    let smaller = se * unit_loss(z.abs());
    let larger = smaller + difference.abs();
    let (risk_treatment, risk_control) = if z < 0.0 {
        (larger, smaller)
    } else {
        (smaller, larger)
    };
    let half_width = normal_upper_quantile(0.5 * alpha)? * se;
    Ok(Posterior {
        mean: difference,
        sd: se,
        chance_to_beat: normal_sf(-z),
        risk_treatment: finite("the risk", risk_treatment)?,
        risk_control: finite("the risk", risk_control)?,
        ci: (
            finite("the interval", difference - half_width)?,
            finite("the interval", difference + half_width)?,
        ),
    })
}

/// The posterior of treatment's effect on one `scale`, from the means of both arms with their variances, with
/// or without a prior on the lift.
///
/// Absolute: d = B − A, V = V_A + V_B. Relative: d = B/A − 1, V = V_B/A² + V_A·B²/A⁴ (delta method). With a
/// prior N(m, τ²) on the lift (on the absolute scale N(m|A|, τ²A²)) the posterior is N(wd + (1 − w)m, wV), w =
/// τ²/(τ² + V): Gelman et al. (2013), "Bayesian data analysis", 3rd edition, section 2.5, and as in the
/// open-source package gbstats. The rest as [`effect`]. Like every delta method the relative scale wants
/// control's mean many standard errors away from 0.
///
/// Worked number: means 0.12 ± √(0.12·0.88/1000) and 0.15 ± √(0.15·0.85/1000), relative, no prior: 0.25 ±
/// 0.1425, chance 0.9603.
///
/// # Errors
/// Those of [`effect`]; [`Undefined::NoControlEffect`] when control's mean is 0 and the scale or the prior is
/// relative; [`Undefined::OutOfDomain`] for a negative control on the relative scale, where "more" and
/// "better" part, for a negative variance and for a prior whose variance is not positive.
///
/// ```
/// use serin::stats::bayesian::{NormalPrior, Scale, gaussian_effect};
/// use serin::stats::difference::Estimate;
/// let rate = |p: f64| Estimate { mean: p, variance: p * (1.0 - p) / 1000.0 };
/// let flat = gaussian_effect(rate(0.12), rate(0.15), Scale::Relative, None, 0.05)?;
/// assert!((flat.mean - 0.25).abs() < 1e-15 && (flat.chance_to_beat - 0.960_294_687_000_5).abs() < 1e-12);
/// let prior = Some(NormalPrior { mean: 0.0, variance: 0.09 });
/// let careful = gaussian_effect(rate(0.12), rate(0.15), Scale::Relative, prior, 0.05)?;
/// assert!(careful.mean < 0.25 && careful.sd < flat.sd);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn gaussian_effect(
    control: Estimate,
    treatment: Estimate,
    scale: Scale,
    prior: Option<NormalPrior>,
    alpha: f64,
) -> Result<Posterior, Undefined> {
    for value in [control.variance, treatment.variance] {
        if value.is_nan() || value < 0.0 {
            return Err(Undefined::OutOfDomain {
                what: "variance",
                value,
                domain: "at least 0",
            });
        }
    }
    let a = finite("control's mean", control.mean)?;
    let b = finite("treatment's mean", treatment.mean)?;
    if a == 0.0 && (scale == Scale::Relative || prior.is_some()) {
        return Err(Undefined::NoControlEffect);
    }
    let (se_a, se_b) = (control.variance.sqrt(), treatment.variance.sqrt());
    // The size of a lift of 1 in the unit of the posterior.
    let (difference, se, unit) = match scale {
        Scale::Absolute => (b - a, se_a.hypot(se_b), a.abs()),
        Scale::Relative if a < 0.0 => {
            return Err(Undefined::OutOfDomain {
                what: "control's mean",
                value: a,
                domain: "greater than 0 on the relative scale",
            });
        }
        Scale::Relative => ((b - a) / a, (se_b / a).hypot(se_a / a * (b / a)), 1.0),
    };
    let Some(prior) = prior else {
        return effect(difference, se, alpha);
    };
    if !(prior.variance > 0.0 && prior.variance.is_finite()) {
        let (what, domain) = ("the prior's variance", "finite and greater than 0");
        return Err(Undefined::OutOfDomain {
            what,
            value: prior.variance,
            domain,
        });
    }
    finite("the prior's mean", prior.mean)?;
    finite("the standard error", se)?;
    if se == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let noise = finite("the weight of the prior", se / (prior.variance.sqrt() * unit))?;
    let from_data = 1.0 / (1.0 + noise * noise);
    let from_prior = 1.0 / (1.0 + 1.0 / (noise * noise));
    effect(
        from_data * difference + from_prior * (prior.mean * unit),
        se / noise.hypot(1.0),
        alpha,
    )
}

/// E max(Z − z, 0) = φ(z) − z(1 − Φ(z)) for a standard normal Z and z ≥ 0. From 10 on accurate to z² roundings.
fn unit_loss(z: f64) -> f64 {
    if z > 40.0 {
        return 0.0;
    }
    ((-0.5 * z * z).exp() / TAU.sqrt() - z * normal_sf(z)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_unit_loss_keeps_its_digits() {
        // φ(z)/z²·(1 − 3/z² + 15/z⁴ − 105/z⁶ + 945/z⁸ − 10395/z¹⁰ …)
        for z in [12.0f64, 20.0, 35.0] {
            let s = 1.0 / (z * z);
            let series = 1.0 + s * (-3.0 + s * (15.0 + s * (-105.0 + s * (945.0 - s * 10_395.0))));
            let expected = (-0.5 * z * z).exp() / TAU.sqrt() * s * series;
            assert!((unit_loss(z) / expected - 1.0).abs() < 1e-7, "{z}");
        }
        assert!((unit_loss(0.0) - 0.398_942_280_401_432_7).abs() < 1e-16);
    }

    #[test]
    fn no_error_is_no_certainty() {
        assert_eq!(effect(1.0, 0.0, 0.05), Err(Undefined::ZeroVariance));
        let exact = Estimate {
            mean: 1.0,
            variance: 0.0,
        };
        for prior in [
            None,
            Some(NormalPrior {
                mean: 0.0,
                variance: 0.09,
            }),
        ] {
            let found = gaussian_effect(exact, exact, Scale::Relative, prior, 0.05);
            assert_eq!(found, Err(Undefined::ZeroVariance));
        }
    }

    #[test]
    fn control_must_allow_a_lift() {
        let of = |mean| Estimate { mean, variance: 1.0 };
        let relative = |mean| gaussian_effect(of(mean), of(1.0), Scale::Relative, None, 0.05);
        assert_eq!(relative(0.0), Err(Undefined::NoControlEffect));
        assert!(matches!(relative(-1.0), Err(Undefined::OutOfDomain { .. })));
        assert!(gaussian_effect(of(0.0), of(1.0), Scale::Absolute, None, 0.05).is_ok());
    }

    proptest! {
        #[test]
        fn the_two_sides_are_one_belief(
            difference in -50.0..50.0f64, se in 1e-6..100.0f64, alpha in 0.001..0.9f64,
        ) {
            let belief = effect(difference, se, alpha).unwrap();
            let mirrored = effect(-difference, se, alpha).unwrap();
            prop_assert!((belief.chance_to_beat + mirrored.chance_to_beat - 1.0).abs() < 1e-14);
            prop_assert_eq!(belief.risk_treatment, mirrored.risk_control);
            let gap = belief.risk_control - belief.risk_treatment - difference;
            prop_assert!(gap.abs() <= 1e-13 * (1.0 + difference.abs()));
            // Zero lies below the interval exactly when the chance exceeds its upper tail.
            prop_assume!((belief.chance_to_beat - 1.0 + 0.5 * alpha).abs() > 1e-9);
            prop_assert_eq!(belief.ci.0 > 0.0, belief.chance_to_beat > 1.0 - 0.5 * alpha);
        }

        #[test]
        fn a_prior_pulls_towards_itself(
            a in 0.1..10.0f64, b in 0.1..10.0f64, va in 1e-6..1.0f64, vb in 1e-6..1.0f64,
            mean in -0.5..0.5f64, variance in 1e-4..10.0f64,
        ) {
            let (a, b) = (Estimate { mean: a, variance: va }, Estimate { mean: b, variance: vb });
            let prior = Some(NormalPrior { mean, variance });
            for (scale, unit) in [(Scale::Absolute, a.mean), (Scale::Relative, 1.0)] {
                let flat = gaussian_effect(a, b, scale, None, 0.05).unwrap();
                let pulled = gaussian_effect(a, b, scale, prior, 0.05).unwrap();
                let (low, high) = if flat.mean < mean * unit { (flat.mean, mean * unit) } else { (mean * unit, flat.mean) };
                let near = 1e-12 * (1.0 + high.abs() + low.abs());
                prop_assert!(low - near <= pulled.mean && pulled.mean <= high + near);
                prop_assert!(pulled.sd <= flat.sd * (1.0 + 1e-14));
                prop_assert!(pulled.sd <= variance.sqrt() * unit * (1.0 + 1e-14));
            }
        }

        #[test]
        fn nothing_is_nan(
            a in extreme(), va in extreme(), b in extreme(), vb in extreme(),
            mean in extreme(), variance in extreme(), alpha in prop::sample::select(vec![1e-300, 0.05, 0.999]),
        ) {
            let (a, b) = (Estimate { mean: a, variance: va }, Estimate { mean: b, variance: vb });
            for scale in [Scale::Absolute, Scale::Relative] {
                for prior in [None, Some(NormalPrior { mean, variance })] {
                    if let Ok(belief) = gaussian_effect(a, b, scale, prior, alpha) {
                        let Posterior { mean, sd, chance_to_beat, risk_treatment, risk_control, ci } = belief;
                        for value in [mean, sd, risk_treatment, risk_control, ci.0, ci.1] {
                            prop_assert!(value.is_finite(), "{:?}", belief);
                        }
                        prop_assert!((0.0..=1.0).contains(&chance_to_beat) && sd > 0.0);
                        prop_assert!(risk_treatment >= 0.0 && risk_control >= 0.0);
                    }
                }
            }
        }
    }

    fn extreme() -> impl Strategy<Value = f64> {
        let values = [
            0.0,
            5e-324,
            1e-300,
            1e-9,
            1.0,
            1e9,
            1e9 + 1.0,
            1e12,
            1e154,
            1e308,
            -1e308,
            f64::NAN,
        ];
        prop::sample::select(values.to_vec())
    }
}
