//! One chance of a fluke for all comparisons together, not for each.
//!
//! The primary metric decides, so the chance that any of its variants is called different by mistake stays at 5 %
//! (Holm). The other metrics inform: of those called different at most 5 % are mistakes on average
//! (Benjamini–Hochberg for the fixed p, e-BH for the always-valid evidence, which holds whatever the metrics have to do
//! with each other). Segments are a family of their own, corrected like the other metrics.

use super::{
    ALPHA, Figure,
    metric::{Decision, MetricReport, VersusControl},
};
use crate::stats::multiple_testing::{benjamini_hochberg, e_benjamini_hochberg, holm};

/// Corrects the comparisons of all metrics that belong together.
pub fn correct(metrics: &mut [MetricReport]) {
    let (primary, others): (Vec<_>, Vec<_>) = metrics.iter_mut().partition(|metric| metric.primary);
    family_wise(primary.into_iter().flat_map(comparisons).collect());
    false_discoveries(others.into_iter().flat_map(comparisons).collect());
}

/// Corrects comparisons that nobody decides by.
pub(super) fn false_discoveries(comparisons: Vec<&mut VersusControl>) {
    adjust(comparisons, benjamini_hochberg, e_benjamini_hochberg);
}

fn family_wise(comparisons: Vec<&mut VersusControl>) {
    let from_evidence = |log_e: &[f64]| {
        let p: Vec<f64> = log_e.iter().map(|log_e| (-log_e).exp().min(1.0)).collect();
        holm(&p)
    };
    adjust(comparisons, holm, from_evidence);
}

/// Every comparison of a metric.
pub(super) fn comparisons(metric: &mut MetricReport) -> impl Iterator<Item = &mut VersusControl> {
    metric
        .variants
        .iter_mut()
        .filter_map(|variant| variant.vs_control.as_mut())
}

fn adjust<E>(
    mut comparisons: Vec<&mut VersusControl>,
    fixed: impl Fn(&[f64]) -> Result<Vec<f64>, E>,
    sequential: impl Fn(&[f64]) -> Result<Vec<f64>, E>,
) {
    let (mut p, mut log_e) = (Vec::new(), Vec::new());
    for comparison in &comparisons {
        p.extend(comparison.p.known().copied());
        log_e.extend(comparison.always_valid.log_e);
    }
    // Both lists hold numbers that are in the domain of the corrections, so these cannot fail.
    let mut p = fixed(&p).unwrap_or_default().into_iter();
    let mut always_valid = sequential(&log_e).unwrap_or_default().into_iter();
    for comparison in &mut comparisons {
        if comparison.p.known().is_some()
            && let Some(p) = p.next()
        {
            comparison.p_adjusted = Figure::Known(p);
        }
        if comparison.always_valid.log_e.is_some()
            && let Some(p) = always_valid.next()
        {
            comparison.always_valid.p_adjusted = Figure::Known(p);
            // A difference that only stands alone is not known yet.
            if matches!(comparison.verdict, Decision::Better | Decision::Worse) && p > ALPHA {
                comparison.verdict = Decision::NotYet;
            }
        }
    }
}
