//! Ratios of sums when units come back: each unit, or bucket of units, is one cluster.
//!
//! Owns the variance that stays honest when one user sends a hundred requests. It never assumes that requests
//! are independent, and never knows which unit is in which cluster. Called by a report with the cells of one
//! epoch; results of several epochs go through
//! [`combine_dependent`](super::difference::combine_dependent), with what [`correlation`] says they have in common.
//!
//! [`ArmSummary`] is what one arm says; [`compare`] sets two arms against each other when every unit is in
//! one of them, [`compare_paired`] when requests were assigned and units are in both.

mod arm;
mod compare;
mod dependence;
mod paired;

pub use arm::{ArmSummary, SHOWN_FROM_CLUSTERS, SHOWN_FROM_EVENTS, interval};
pub use compare::{compare, compare_pooled, compare_welch};
pub use dependence::{correlation, influences};
pub use paired::compare_paired;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Undefined;
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
        for compare in [compare_welch, compare_pooled] {
            for alpha in [0.01, 0.05, 0.2, 0.5, 0.9] {
                let test = compare(&control, &treatment, alpha).unwrap();
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
