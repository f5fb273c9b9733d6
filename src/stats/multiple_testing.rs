//! Several comparisons at once: how small must a p-value be when others were looked at too?
//!
//! Owns the adjustments of p-values and of e-values. It never decides which comparisons belong together, and
//! knows nothing of where they come from. Called by a report: [`holm`] over the variants of the primary
//! metric, [`benjamini_hochberg`] over secondary metrics, [`e_benjamini_hochberg`] where figures may be looked
//! at every day.
//!
//! Every function takes the whole family and returns adjusted p-values in the order of the input, in [0, 1]: a
//! hypothesis is rejected at level α when its adjusted p-value is at most α, which [`rejected`] writes out. An
//! empty family has an empty answer. What is promised is of two kinds. The family-wise error rate is the
//! probability of any false rejection ([`bonferroni`], [`sidak`], [`holm`], [`hochberg`]); the false discovery
//! rate is the expected share of false ones among the rejected ([`benjamini_hochberg`],
//! [`benjamini_yekutieli`], [`e_benjamini_hochberg`]).

use super::{Undefined, check_alpha};

/// p·m: family-wise, whatever the dependence.
///
/// Source: Dunn (1961), "Multiple comparisons among means", doi:10.1080/01621459.1961.10482090. [`holm`]
/// promises the same and rejects more. 0.01, 0.04, 0.03 become 0.03, 0.12, 0.09.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for a p-value outside [0, 1].
///
/// ```
/// use serin::stats::multiple_testing::bonferroni;
/// assert_eq!(bonferroni(&[0.25, 0.5])?, [0.5, 1.0]);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn bonferroni(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    check(p)?;
    let m = p.len() as f64;
    Ok(p.iter().map(|p| (p * m).min(1.0)).collect())
}

/// 1 − (1 − p)^m: family-wise for independent comparisons, and exact for them.
///
/// Source: Šidák (1967), "Rectangular confidence regions for the means of multivariate normal distributions",
/// doi:10.1080/01621459.1967.10482935. Tiny p-values keep their digits. 0.5 among two becomes 0.75.
///
/// # Errors
/// Those of [`bonferroni`].
///
/// ```
/// use serin::stats::multiple_testing::sidak;
/// assert_eq!(sidak(&[0.5, 1.0])?, [0.75, 1.0]);
/// assert!((sidak(&[1e-200, 0.5])?[0] / 2e-200 - 1.0).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn sidak(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    check(p)?;
    let m = p.len() as f64;
    Ok(p.iter().map(|p| -(m * (-p).ln_1p()).exp_m1()).collect())
}

/// Holm's step-down: the largest (m − j + 1)·p_(j) over j ≤ i, family-wise whatever the dependence.
///
/// Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
/// Statistics 6(2), 65–70. 0.01, 0.04, 0.03 become 0.03, 0.06, 0.06.
///
/// # Errors
/// Those of [`bonferroni`].
///
/// ```
/// use serin::stats::multiple_testing::holm;
/// assert_eq!(holm(&[0.01, 0.04, 0.03])?, [0.03, 0.06, 0.06]);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn holm(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    let mut family = Family::of(p)?;
    family.raise_from_the_smallest(|p, rank, m| p * (m - rank + 1.0));
    Ok(family.in_order())
}

/// Hochberg's step-up: the smallest (m − j + 1)·p_(j) over j ≥ i, family-wise for independent or positively
/// dependent comparisons.
///
/// Source: Hochberg (1988), "A sharper Bonferroni procedure for multiple tests of significance", Biometrika
/// 75(4), doi:10.1093/biomet/75.4.800. 0.01, 0.04, 0.03 become 0.03, 0.04, 0.04.
///
/// # Errors
/// Those of [`bonferroni`].
///
/// ```
/// use serin::stats::multiple_testing::hochberg;
/// assert_eq!(hochberg(&[0.01, 0.04, 0.03])?, [0.03, 0.04, 0.04]);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn hochberg(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    let mut family = Family::of(p)?;
    family.lower_from_the_largest(|p, rank, m| p * (m - rank + 1.0));
    Ok(family.in_order())
}

/// Benjamini and Hochberg's step-up: the smallest p_(j)·m/j over j ≥ i, a false discovery rate for
/// independent or positively dependent comparisons.
///
/// Source: Benjamini & Hochberg (1995), "Controlling the false discovery rate", JRSS B 57(1),
/// doi:10.1111/j.2517-6161.1995.tb02031.x. 0.01, 0.04, 0.03 become 0.03, 0.04, 0.04; 0.005, 0.02, 0.5 become
/// 0.015, 0.03, 0.5.
///
/// # Errors
/// Those of [`bonferroni`].
///
/// ```
/// use serin::stats::multiple_testing::benjamini_hochberg;
/// assert_eq!(benjamini_hochberg(&[0.005, 0.02, 0.5])?, [0.015, 0.03, 0.5]);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn benjamini_hochberg(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    let mut family = Family::of(p)?;
    family.lower_from_the_largest(|p, rank, m| p * (m / rank));
    Ok(family.in_order())
}

/// [`benjamini_hochberg`] times Σ1/j: a false discovery rate whatever the dependence.
///
/// Source: Benjamini & Yekutieli (2001), "The control of the false discovery rate in multiple testing under
/// dependency", Annals of Statistics 29(4), theorem 1.3, doi:10.1214/aos/1013699998. 0.005, 0.02, 0.5 become
/// 0.0275, 0.055, 0.9167.
///
/// # Errors
/// Those of [`bonferroni`].
///
/// ```
/// use serin::stats::multiple_testing::benjamini_yekutieli;
/// let adjusted = benjamini_yekutieli(&[0.005, 0.02, 0.5])?;
/// assert!((adjusted[1] - 0.055).abs() < 1e-15 && (adjusted[2] - 11.0 / 12.0).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn benjamini_yekutieli(p: &[f64]) -> Result<Vec<f64>, Undefined> {
    let mut family = Family::of(p)?;
    let harmonic: f64 = (1..=p.len()).map(|rank| 1.0 / rank as f64).sum();
    family.lower_from_the_largest(|p, rank, m| p * (m / rank * harmonic));
    Ok(family.in_order())
}

/// The e-BH procedure for evidence given as ln e: the smallest m/(k·e_(k)) over k ≥ i, with e_(1) the largest;
/// a false discovery rate whatever the dependence, and at every look when the evidence is always valid.
///
/// At level α it rejects the hypotheses with the k* largest e-values, k* the last k with e_(k) ≥ m/(αk):
/// Wang & Ramdas (2022), "False discovery rate control with e-values", JRSS B 84(3), doi:10.1111/rssb.12489,
/// arXiv:2009.02824. ln e may be −∞ (no evidence possible) or +∞ (the hypothesis is impossible).
///
/// Worked number: e = 80, 30, 5 and ½ give m/(k·e_(k)) = 0.05, 0.0667, 0.267 and 2, so 1.
///
/// # Errors
/// [`Undefined::OutOfDomain`] when an ln e is NaN.
///
/// ```
/// use serin::stats::multiple_testing::e_benjamini_hochberg;
/// let adjusted = e_benjamini_hochberg(&[5f64.ln(), 80f64.ln(), 0.5f64.ln(), 30f64.ln()])?;
/// for (got, expected) in adjusted.iter().zip([4.0 / 15.0, 0.05, 1.0, 4.0 / 60.0]) {
///     assert!((got - expected).abs() < 1e-15);
/// }
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn e_benjamini_hochberg(log_e: &[f64]) -> Result<Vec<f64>, Undefined> {
    if let Some(&value) = log_e.iter().find(|log_e| log_e.is_nan()) {
        let (what, domain) = ("ln e", "a number");
        return Err(Undefined::OutOfDomain { what, value, domain });
    }
    // 1/e takes the part of the p-value, but only as a logarithm: it may lie far beyond a float.
    let mut family = Family::sorted(log_e.iter().map(|log_e| -log_e));
    family.lower_from_the_largest(|log_p, rank, m| (log_p + (m / rank).ln()).exp());
    Ok(family.in_order())
}

/// Which hypotheses are rejected at level `alpha`: those whose adjusted p-value is at most `alpha`.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1) or an adjusted p-value outside [0, 1].
///
/// ```
/// use serin::stats::multiple_testing::{holm, rejected};
/// assert_eq!(rejected(&holm(&[0.01, 0.04, 0.03])?, 0.05)?, [true, false, false]);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn rejected(adjusted: &[f64], alpha: f64) -> Result<Vec<bool>, Undefined> {
    check_alpha(alpha)?;
    check(adjusted)?;
    Ok(adjusted.iter().map(|&p| p <= alpha).collect())
}

/// A family in order of size, each value with its place in the input.
struct Family(Vec<(usize, f64)>);

impl Family {
    fn of(p: &[f64]) -> Result<Family, Undefined> {
        check(p)?;
        Ok(Family::sorted(p.iter().copied()))
    }

    fn sorted(values: impl Iterator<Item = f64>) -> Family {
        let mut sorted: Vec<_> = values.enumerate().collect();
        sorted.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        Family(sorted)
    }

    /// Replaces every value by the largest of `step`(value, rank, m) up to its rank, the ranks being 1 … m.
    fn raise_from_the_smallest(&mut self, step: impl Fn(f64, f64, f64) -> f64) {
        let m = self.0.len() as f64;
        let mut reached = 0.0f64;
        for (place, (_, value)) in self.0.iter_mut().enumerate() {
            reached = reached.max(step(*value, place as f64 + 1.0, m)).min(1.0);
            *value = reached;
        }
    }

    /// Replaces every value by the smallest of `step`(value, rank, m) from its rank on.
    fn lower_from_the_largest(&mut self, step: impl Fn(f64, f64, f64) -> f64) {
        let m = self.0.len() as f64;
        let mut reached = 1.0f64;
        for (place, (_, value)) in self.0.iter_mut().enumerate().rev() {
            reached = reached.min(step(*value, place as f64 + 1.0, m));
            *value = reached;
        }
    }

    /// The values in the order of the input.
    fn in_order(mut self) -> Vec<f64> {
        self.0.sort_unstable_by_key(|&(place, _)| place);
        self.0.into_iter().map(|(_, value)| value).collect()
    }
}

fn check(p: &[f64]) -> Result<(), Undefined> {
    match p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        None => Ok(()),
        Some(&value) => Err(Undefined::OutOfDomain {
            what: "p",
            value,
            domain: "between 0 and 1",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Adjustment = fn(&[f64]) -> Result<Vec<f64>, Undefined>;

    const ALL: [Adjustment; 6] = [
        bonferroni,
        sidak,
        holm,
        hochberg,
        benjamini_hochberg,
        benjamini_yekutieli,
    ];

    #[test]
    fn mistakes_are_named_and_nothing_is_nothing() {
        for adjust in ALL {
            assert_eq!(adjust(&[]), Ok(vec![]));
            for bad in [f64::NAN, -1e-300, 1.0 + 1e-9] {
                assert!(adjust(&[0.5, bad]).is_err());
            }
        }
        assert!(e_benjamini_hochberg(&[1.0, f64::NAN]).is_err());
        assert!(rejected(&[0.5], 0.0).is_err() && rejected(&[f64::NAN], 0.5).is_err());
    }

    #[test]
    fn evidence_beyond_a_float_keeps_its_order() {
        let adjusted = e_benjamini_hochberg(&[f64::NEG_INFINITY, 800.0, f64::INFINITY, 2.0]).unwrap();
        assert_eq!((adjusted[0], adjusted[1], adjusted[2]), (1.0, 0.0, 0.0));
        assert!((adjusted[3] - (-2f64).exp() * 4.0 / 3.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn an_adjustment_never_helps_and_keeps_the_order(p in prop::collection::vec(p_value(), 1..30)) {
            for adjust in ALL {
                let adjusted = adjust(&p).unwrap();
                for (i, &own) in adjusted.iter().enumerate() {
                    prop_assert!(own <= 1.0 && own >= p[i] * (1.0 - 1e-14), "{} {}", own, p[i]);
                    for (j, &other) in adjusted.iter().enumerate() {
                        prop_assert!(p[i] > p[j] || own <= other);
                    }
                }
            }
        }

        #[test]
        fn the_promises_are_ordered(p in prop::collection::vec(p_value(), 1..30)) {
            let families = [
                benjamini_hochberg(&p).unwrap(),
                hochberg(&p).unwrap(),
                holm(&p).unwrap(),
                bonferroni(&p).unwrap(),
            ];
            for pair in families.windows(2) {
                for (bold, careful) in pair[0].iter().zip(&pair[1]) {
                    prop_assert!(*bold <= careful * (1.0 + 1e-14));
                }
            }
        }

        #[test]
        fn e_bh_rejects_what_its_definition_says(
            log_e in prop::collection::vec(prop_oneof![-5.0..9.0f64, Just(f64::NEG_INFINITY), Just(1e300)], 1..20),
            alpha in 0.001..0.5f64,
        ) {
            let m = log_e.len() as f64;
            let mut falling = log_e.clone();
            falling.sort_by(|a, b| b.total_cmp(a));
            let threshold = falling
                .iter()
                .enumerate()
                .filter(|&(k, &log_e)| log_e >= (m / (alpha * (k as f64 + 1.0))).ln())
                .map(|(_, &log_e)| log_e)
                .fold(f64::INFINITY, f64::min);
            let got = rejected(&e_benjamini_hochberg(&log_e).unwrap(), alpha).unwrap();
            let expected: Vec<bool> = log_e.iter().map(|&log_e| log_e >= threshold).collect();
            prop_assert_eq!(got, expected);
        }
    }

    fn p_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            0.0..=1.0f64,
            prop::sample::select(vec![0.0, 5e-324, 1e-300, 1e-12, 0.05, 1.0])
        ]
    }
}
