//! One arm: the ratio of its sums, its error and its interval.
//!
//! Owns the summary of clusters and the CR2 variance. It never compares arms. Called by a report, and by the
//! comparisons beside it.

use super::super::distribution::student_t_upper_quantile;
use super::super::{Undefined, check_alpha, finite};

/// Effective clusters an arm needs before a figure is shown.
pub const SHOWN_FROM_CLUSTERS: f64 = 30.0;

/// Clusters with an event an arm needs before a rate is shown.
pub const SHOWN_FROM_EVENTS: u64 = 10;

/// A spread of the clusters below this share of the sums themselves is their rounding, not variance.
pub(super) const ROUNDING: f64 = 1e-13;

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
    /// How many clusters have S_b ≠ N_b: of a rate, those with a request without the event.
    pub clusters_with_misses: u64,
    /// The largest part one cluster has in `q`, in [0, 1]; 0 where `q` is.
    pub largest_part: f64,
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
        if totals.clusters < 2 {
            let have = totals.clusters as f64;
            return Err(Undefined::InsufficientData {
                what: "clusters",
                have,
                needed: 2.0,
            });
        }
        let n = totals.denominator;
        let mean = finite("the ratio", totals.numerator / n)?;
        let mut q = 0.0;
        let mut share_squares = 0.0;
        // (Σa)² − Σa² for a = h²/(1 − h) is twice the sum of products of pairs, which has nothing to cancel.
        let mut pair_products = 0.0;
        let mut leverage_sum = 0.0;
        let mut magnitude = 0.0;
        let mut largest = 0.0f64;
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
            let part = residual * residual / rest;
            q += part;
            largest = largest.max(part);
            let share = denominator / n;
            share_squares += share * share;
            let leverage = share * share / rest;
            pair_products += leverage * leverage_sum;
            leverage_sum += leverage;
            magnitude += numerator * numerator;
        }
        if finite("the variance of the clusters", q)? <= ROUNDING * ROUNDING * magnitude {
            q = 0.0;
            largest = 0.0;
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
            clusters_with_misses: totals.with_misses,
            largest_part: if q > 0.0 { largest / q } else { 0.0 },
        })
    }

    /// Whether the arm has enough behind it to be shown: 30 effective clusters, and for a rate (`rate` =
    /// true) 10 clusters with an event and 10 with a request without one. Below that, variances err in the harmful
    /// direction.
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
        if rate && self.clusters_with_misses < SHOWN_FROM_EVENTS {
            let have = self.clusters_with_misses as f64;
            let (what, needed) = (
                "clusters with a request without the event",
                SHOWN_FROM_EVENTS as f64,
            );
            return Err(Undefined::Collecting { what, have, needed });
        }
        Ok(())
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
pub(super) struct Totals {
    pub(super) denominator: f64,
    pub(super) numerator: f64,
    clusters: u64,
    with_events: u64,
    with_misses: u64,
}

impl Totals {
    pub(super) fn of(clusters: impl Iterator<Item = (f64, f64)>) -> Result<Totals, Undefined> {
        let mut totals = Totals {
            denominator: 0.0,
            numerator: 0.0,
            clusters: 0,
            with_events: 0,
            with_misses: 0,
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
            totals.with_misses += u64::from(numerator != denominator);
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
        Ok(totals)
    }
}
