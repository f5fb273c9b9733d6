//! Whether what was decided is reported back, as series.

use super::{
    Assessed,
    families::{Families, Labels},
};

/// Adds the series of every experiment that was looked at.
pub(super) fn add_to(families: &mut Families, assessed: &[Assessed]) -> Result<(), prometheus::Error> {
    let labels: Labels<'_> = &["experiment", "variant"];
    let shares = families.gauge(
        "serin_outcome_missing_share",
        "Share of the requests that are old enough to have been reported and were not, since the evidence began.",
        labels,
    )?;
    let delays = families.gauge(
        "serin_outcome_delay_p99_seconds",
        "Time from the decision within which 99 % of the receipts that reported did so, to the next power of two.",
        labels,
    )?;
    let evidence = families.gauge(
        "serin_outcome_missing_evidence_ratio",
        "Evidence that a candidate's requests go unreported more than control's: 1 is a breach.",
        labels,
    )?;
    for experiment in assessed {
        let id = experiment.id.as_str();
        for (variant, arm) in &experiment.reporting.variants.0 {
            let labels = [id, variant.as_str()];
            if let Some(share) = arm.missing_share.known() {
                shares.set(&labels, *share);
            }
            if let Some(delay) = arm.delay_p99_s.known() {
                delays.set(&labels, f64::from(*delay));
            }
        }
        for silence in &experiment.reporting.outcome_missing {
            evidence.set(&[id, silence.variant.as_str()], silence.evidence);
        }
    }
    Ok(())
}
