//! Ratios of sums when units come back: each unit, or bucket of units, is one cluster.
//!
//! Owns the variance that stays honest when one user sends a hundred requests. It never assumes that requests
//! are independent, and never knows which unit is in which cluster. Called by a report with the cells of one
//! epoch; results of several epochs go through [`combine`](super::difference::combine).

use super::difference::{Difference, Estimate, Form, satterthwaite};
use super::distribution::student_t_upper_quantile;
use super::{Undefined, check_alpha, finite};

/// Effective clusters an arm needs before a figure is shown.
pub const SHOWN_FROM_CLUSTERS: f64 = 30.0;

/// Clusters with an event an arm needs before a rate is shown.
pub const SHOWN_FROM_EVENTS: u64 = 10;

/// A spread of the clusters below this share of the sums themselves is their rounding, not variance.
const ROUNDING: f64 = 1e-13;

/// One arm: a ratio of sums R = ΣS_b/ΣN_b over clusters b, with its cluster-robust error.
///
/// For a mean per request N_b is the number of requests and S_b the sum of their values; for a rate S_b
/// counts events; for a general ratio (cost per success) N_b is any sum that is not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmSummary {
    /// N = ΣN_b, the denominator: the number of requests for a mean or a rate.
    pub n: f64,
    /// R, the ratio, in units of numerator per denominator.
    pub mean: f64,
    /// Q = Σe_b²/(1 − h_b), with e_b = S_b − R·N_b and h_b = N_b/N.
    pub q: f64,
    /// V = Q/N², the squared standard error of `mean` (CR2).
    pub variance: f64,
    /// The standard error of `mean`.
    pub se: f64,
    /// Bell–McCaffrey degrees of freedom of `variance`; between 1 and `clusters` − 1.
    pub dof: f64,
    /// 1/Σh_b²: how many clusters of equal size would say as much.
    pub n_eff: f64,
    /// G, the number of clusters that are not empty.
    pub clusters: u64,
    /// How many clusters have S_b ≠ 0.
    pub clusters_with_events: u64,
}

impl ArmSummary {
    /// The summary of the pairs (N_b, S_b), one per cluster, in any order. Pairs of zeros are empty and
    /// skipped.
    ///
    /// With h_b = N_b/N: V = Σe_b²/(1 − h_b)/N², the CR2 variance, and degrees of freedom min(G − 1, 1/(Σh² +
    /// (Σh²/(1 − h))² − Σ(h²/(1 − h))²)). Sources: Bell & McCaffrey (2002), "Bias reduction in standard
    /// errors for linear regression with multi-stage samples", Survey Methodology 28(2); Pustejovsky & Tipton
    /// (2018), section 2, doi:10.1080/07350015.2016.1247004, arXiv:1601.01981, for the intercept alone.
    ///
    /// Worked number: clusters (2, 1), (1, 1), (1, 0) have R = ½, h = ½, ¼, ¼, e = 0, ½, −½, so Q = 2/3, V =
    /// 1/24 and 1/dof = 3/8 + 4/9 − 19/72 = 5/9.
    ///
    /// # Errors
    /// [`Undefined::InsufficientData`] when the denominator is 0, fewer than two clusters are not empty, or
    /// one cluster holds all of the denominator (to rounding); [`Undefined::OutOfDomain`] when a denominator
    /// is negative or not a number or a numerator is not a number; [`Undefined::Overflow`] when a sum exceeds
    /// a float.
    ///
    /// ```
    /// use serin::stats::cluster::ArmSummary;
    /// let arm = ArmSummary::from_clusters([(2.0, 1.0), (1.0, 1.0), (1.0, 0.0)])?;
    /// assert_eq!((arm.n, arm.mean, arm.clusters, arm.clusters_with_events), (4.0, 0.5, 3, 2));
    /// assert!((arm.variance - 1.0 / 24.0).abs() < 1e-15);
    /// assert!((arm.dof - 1.8).abs() < 1e-12);
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn from_clusters<I>(clusters: I) -> Result<ArmSummary, Undefined>
    where
        I: IntoIterator<Item = (f64, f64)>,
        I::IntoIter: Clone,
    {
        let clusters = clusters.into_iter();
        let totals = Totals::of(clusters.clone())?;
        let n = totals.denominator;
        let mean = finite("the ratio", totals.numerator / n)?;
        let mut q = 0.0;
        let mut share_squares = 0.0;
        // (Σa)² − Σa² for a = h²/(1 − h) is twice the sum of products of pairs, which has nothing to cancel.
        let mut pair_products = 0.0;
        let mut leverage_sum = 0.0;
        let mut magnitude = 0.0;
        for (denominator, numerator) in clusters {
            let rest = (n - denominator) / n;
            if rest <= 0.0 {
                return Err(Undefined::InsufficientData {
                    what: "clusters",
                    have: 1.0,
                    needed: 2.0,
                });
            }
            let residual = numerator - mean * denominator;
            q += residual * residual / rest;
            let share = denominator / n;
            share_squares += share * share;
            let leverage = share * share / rest;
            pair_products += leverage * leverage_sum;
            leverage_sum += leverage;
            magnitude += numerator * numerator;
        }
        if finite("the variance of the clusters", q)? <= ROUNDING * ROUNDING * magnitude {
            q = 0.0;
        }
        let se = q.sqrt() / n;
        let dof = (1.0 / (share_squares + 2.0 * pair_products)).min(totals.clusters as f64 - 1.0);
        Ok(ArmSummary {
            n,
            mean,
            q,
            variance: finite("the variance of the mean", se * se)?,
            se,
            dof: finite("the degrees of freedom", dof)?,
            n_eff: finite("the effective clusters", 1.0 / share_squares)?,
            clusters: totals.clusters,
            clusters_with_events: totals.with_events,
        })
    }

    /// Whether the arm has enough behind it to be shown: 30 effective clusters, and for a rate (`rate` =
    /// true) 10 clusters with an event. Below that, variances err in the harmful direction.
    ///
    /// # Errors
    /// [`Undefined::Collecting`] with what is missing.
    ///
    /// ```
    /// use serin::stats::cluster::ArmSummary;
    /// let arm = ArmSummary::from_clusters((0..40).map(|b| (1.0, f64::from(b % 8 / 7))))?;
    /// assert!(arm.ready(false).is_ok());
    /// let reason = arm.ready(true).unwrap_err().to_string();
    /// assert_eq!(reason, "still collecting: 5 clusters with an event, shown from 10");
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn ready(&self, rate: bool) -> Result<(), Undefined> {
        if self.n_eff < SHOWN_FROM_CLUSTERS {
            let (what, needed) = ("effective clusters", SHOWN_FROM_CLUSTERS);
            return Err(Undefined::Collecting {
                what,
                have: self.n_eff,
                needed,
            });
        }
        if rate && self.clusters_with_events < SHOWN_FROM_EVENTS {
            let have = self.clusters_with_events as f64;
            let (what, needed) = ("clusters with an event", SHOWN_FROM_EVENTS as f64);
            return Err(Undefined::Collecting { what, have, needed });
        }
        Ok(())
    }
}

/// Treatment against control with the safe standard error: the larger of the Welch and the pooled one.
///
/// Welch: V_A + V_B, degrees of freedom by Satterthwaite. Pooled: (Q_A + Q_B)/(N_A + N_B)·(1/N_A + 1/N_B)
/// with the degrees of freedom of both arms. A small arm of a skewed metric underestimates its own variance
/// just when its mean is low, which Welch believes; at equal arms both agree. The maximum is a rule of this
/// project, found by simulation, not from the literature; the parts are those of
/// [`ArmSummary::from_clusters`] and [`satterthwaite`].
///
/// Worked number: control (1, 1), (1, 2), (1, 4) and treatment (1, 3), (1, 5), (1, 9) differ by 10/3 ± 1.972
/// with 2.941 degrees of freedom, p = 0.1914.
///
/// # Errors
/// [`Undefined::ZeroVariance`] when neither arm varies (never p = 0), and those of [`Difference::test`].
///
/// ```
/// use serin::stats::cluster::{ArmSummary, compare};
/// let control = ArmSummary::from_clusters([(1.0, 1.0), (1.0, 2.0), (1.0, 4.0)])?;
/// let treatment = ArmSummary::from_clusters([(1.0, 3.0), (1.0, 5.0), (1.0, 9.0)])?;
/// let test = compare(&control, &treatment, 0.05)?;
/// assert!((test.se - 1.972_026_594_366_538_7).abs() < 1e-14);
/// assert!((test.p - 0.191_369_718_456_626_7).abs() < 1e-13);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn compare(control: &ArmSummary, treatment: &ArmSummary, alpha: f64) -> Result<Difference, Undefined> {
    let welch = compare_as(Form::Welch, control, treatment, alpha)?;
    let pooled = compare_as(Form::Pooled, control, treatment, alpha)?;
    // Equal up to rounding is Welch: the arms are alike and its degrees of freedom are the fewer.
    Ok(if pooled.se > welch.se * (1.0 + 1e-12) {
        pooled
    } else {
        welch
    })
}

/// Treatment against control with the standard error of one given form; [`compare`] is the one to report.
///
/// # Errors
/// Those of [`compare`].
pub fn compare_as(
    form: Form,
    control: &ArmSummary,
    treatment: &ArmSummary,
    alpha: f64,
) -> Result<Difference, Undefined> {
    match form {
        Form::Welch => {
            let a = Estimate {
                mean: control.mean,
                variance: control.variance,
            };
            let b = Estimate {
                mean: treatment.mean,
                variance: treatment.variance,
            };
            let dof = satterthwaite(a.variance, control.dof, b.variance, treatment.dof)?;
            Difference::test(a, b, dof, form, alpha)
        }
        Form::Pooled => {
            let q = (control.q + treatment.q) / (control.n + treatment.n);
            let a = Estimate {
                mean: control.mean,
                variance: q / control.n,
            };
            let b = Estimate {
                mean: treatment.mean,
                variance: q / treatment.n,
            };
            Difference::test(a, b, control.dof + treatment.dof, form, alpha)
        }
    }
}

/// The interval of confidence 1 − `alpha` for one arm's mean: R ± t·SE at the arm's degrees of freedom.
///
/// For clusters (2, 1), (1, 1), (1, 0) the 95 % interval is ½ ± 0.9788.
///
/// # Errors
/// [`Undefined::ZeroVariance`] when all clusters have the same ratio, [`Undefined::OutOfDomain`] for `alpha`
/// outside (0, 1), [`Undefined::Overflow`] when an end exceeds a float.
///
/// ```
/// use serin::stats::cluster::{ArmSummary, interval};
/// let arm = ArmSummary::from_clusters([(2.0, 1.0), (1.0, 1.0), (1.0, 0.0)])?;
/// let (low, high) = interval(&arm, 0.05)?;
/// assert!((low + 0.478_751_060).abs() < 1e-9 && (high - 1.478_751_060).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn interval(arm: &ArmSummary, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    if arm.se == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let half_width = student_t_upper_quantile(0.5 * alpha, arm.dof)? * arm.se;
    Ok((
        finite("the interval", arm.mean - half_width)?,
        finite("the interval", arm.mean + half_width)?,
    ))
}

/// The first pass over the clusters.
struct Totals {
    denominator: f64,
    numerator: f64,
    clusters: u64,
    with_events: u64,
}

impl Totals {
    fn of(clusters: impl Iterator<Item = (f64, f64)>) -> Result<Totals, Undefined> {
        let mut totals = Totals {
            denominator: 0.0,
            numerator: 0.0,
            clusters: 0,
            with_events: 0,
        };
        // Neumaier's running correction: large sums of either sign must not cost the ratio its last digits.
        let mut correction = 0.0;
        for (denominator, numerator) in clusters {
            if !(denominator >= 0.0 && denominator.is_finite()) {
                let (what, domain) = ("a cluster's denominator", "finite and at least 0");
                return Err(Undefined::OutOfDomain {
                    what,
                    value: denominator,
                    domain,
                });
            }
            if !numerator.is_finite() {
                let (what, domain) = ("a cluster's numerator", "finite");
                return Err(Undefined::OutOfDomain {
                    what,
                    value: numerator,
                    domain,
                });
            }
            let sum = totals.numerator + numerator;
            correction += if totals.numerator.abs() >= numerator.abs() {
                (totals.numerator - sum) + numerator
            } else {
                (numerator - sum) + totals.numerator
            };
            totals.numerator = sum;
            totals.denominator += denominator;
            totals.clusters += u64::from(denominator != 0.0 || numerator != 0.0);
            totals.with_events += u64::from(numerator != 0.0);
        }
        finite("the sum of numerators", totals.numerator)?;
        finite("the sum of denominators", totals.denominator)?;
        totals.numerator += correction;
        if totals.denominator == 0.0 {
            return Err(Undefined::InsufficientData {
                what: "observations",
                have: 0.0,
                needed: 2.0,
            });
        }
        if totals.clusters < 2 {
            let have = totals.clusters as f64;
            return Err(Undefined::InsufficientData {
                what: "clusters",
                have,
                needed: 2.0,
            });
        }
        Ok(totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::lift::lift;
    use proptest::prelude::*;

    fn arm(clusters: &[(f64, f64)]) -> ArmSummary {
        ArmSummary::from_clusters(clusters.iter().copied()).unwrap()
    }

    #[test]
    fn clusters_of_one_are_the_ordinary_t_test() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        let arm = ArmSummary::from_clusters(values.iter().map(|&v| (1.0, v))).unwrap();
        let moments = crate::stats::moments::Moments::from_values(values).unwrap();
        assert!((arm.variance - moments.variance().unwrap() / 5.0).abs() < 1e-15);
        assert!((arm.dof - 4.0).abs() < 1e-12 && (arm.n_eff - 5.0).abs() < 1e-12);
    }

    #[test]
    fn one_cluster_says_nothing_about_its_error() {
        let reason = Err(Undefined::InsufficientData {
            what: "clusters",
            have: 1.0,
            needed: 2.0,
        });
        assert_eq!(ArmSummary::from_clusters([(3.0, 1.0)]), reason);
        assert_eq!(ArmSummary::from_clusters([(3.0, 1.0), (0.0, 0.0)]), reason);
        assert_eq!(ArmSummary::from_clusters([(1e300, 1.0), (1e-300, 1.0)]), reason);
        assert!(ArmSummary::from_clusters([]).is_err());
    }

    #[test]
    fn a_dominating_cluster_leaves_one_degree_of_freedom() {
        let arm = arm(&[(1e9, 3.0), (1.0, 1.0), (1.0, 0.0)]);
        assert!(arm.dof >= 1.0 - 1e-9 && arm.dof < 1.000_001, "{arm:?}");
    }

    #[test]
    fn equal_values_are_no_variance_even_after_rounding() {
        let tenths = |n: u32| (f64::from(n), (0..n).map(|_| 0.1).sum::<f64>());
        let arm = arm(&[tenths(7), tenths(13), tenths(1), tenths(200)]);
        assert_eq!(arm.q, 0.0);
        assert_eq!(compare(&arm, &arm, 0.05), Err(Undefined::ZeroVariance));
        assert_eq!(interval(&arm, 0.05), Err(Undefined::ZeroVariance));
    }

    #[test]
    fn rates_of_zero_and_one() {
        let never = arm(&[(3.0, 0.0), (2.0, 0.0)]);
        let always = arm(&[(3.0, 3.0), (2.0, 2.0)]);
        assert_eq!((never.clusters_with_events, always.clusters_with_events), (0, 2));
        assert_eq!(compare(&never, &always, 0.05), Err(Undefined::ZeroVariance));
    }

    #[test]
    fn the_lift_of_either_form_agrees_with_its_test() {
        let control = arm(&[(1.0, 1.0), (5.0, 4.0), (2.0, 2.0), (3.0, 1.0), (9.0, 5.0)]);
        let treatment = arm(&[(1.0, 1.0), (1.0, 0.5), (2.0, 2.0)]);
        for form in [Form::Welch, Form::Pooled] {
            for alpha in [0.01, 0.05, 0.2, 0.5, 0.9] {
                let test = compare_as(form, &control, &treatment, alpha).unwrap();
                assert_eq!(lift(&test).unwrap().1.contains(0.0), test.p >= alpha);
            }
        }
    }

    proptest! {
        #[test]
        fn order_of_clusters_does_not_matter(
            mut clusters in prop::collection::vec((0.1..200.0f64, -50.0..50.0f64), 2..40)
        ) {
            let forward = arm(&clusters);
            clusters.reverse();
            let backward = arm(&clusters);
            prop_assert!((forward.mean - backward.mean).abs() <= 1e-12 * (1.0 + forward.mean.abs()));
            prop_assert!((forward.q - backward.q).abs() <= 1e-9 * forward.q);
            prop_assert!((forward.dof - backward.dof).abs() <= 1e-9 * forward.dof);
            prop_assert!(forward.dof >= 1.0 - 1e-9 && forward.dof <= forward.clusters as f64 - 1.0);
        }

        #[test]
        fn nothing_is_nan(
            a in prop::collection::vec((extreme(), extreme()), 0..6),
            b in prop::collection::vec((extreme(), extreme()), 0..6),
            alpha in prop::sample::select(vec![1e-300, 0.001, 0.05, 0.999]),
        ) {
            let arms = (ArmSummary::from_clusters(a.into_iter()), ArmSummary::from_clusters(b.into_iter()));
            if let (Ok(a), Ok(b)) = arms {
                for value in [a.n, a.mean, a.q, a.variance, a.se, a.dof, a.n_eff] {
                    prop_assert!(value.is_finite(), "{a:?}");
                }
                if let Ok(test) = compare(&a, &b, alpha) {
                    for value in [test.difference, test.se, test.t, test.dof, test.p, test.ci.0, test.ci.1] {
                        prop_assert!(value.is_finite(), "{test:?}");
                    }
                    prop_assert!((0.0..=1.0).contains(&test.p));
                    if let Ok((estimate, _)) = lift(&test) {
                        prop_assert!(estimate.is_finite());
                    }
                }
                if let Ok((low, high)) = interval(&a, alpha) {
                    prop_assert!(low <= high);
                }
            }
        }

        #[test]
        fn a_large_offset_keeps_the_spread(noise in prop::collection::vec(-3.0..3.0f64, 30)) {
            let spread = |offset: f64| arm(&noise.iter().map(|v| (1.0, v + offset)).collect::<Vec<_>>());
            let (near, far) = (spread(0.0), spread(1e9));
            prop_assert!((far.se / near.se - 1.0).abs() < 1e-4, "{} {}", far.se, near.se);
        }
    }

    fn extreme() -> impl Strategy<Value = f64> {
        let values = [
            0.0,
            5e-324,
            1e-300,
            1e-9,
            1.0,
            2.0,
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
