//! The comparison without what was known beforehand (CUPED).
//!
//! Beside the plain comparison and not in its place: how many values came with the covariate, and whether the arms
//! agree in it, is for people to see before they believe the smaller error.

use super::{
    ALPHA, Figure,
    metric::{AdjustedFigures, AlwaysValidFigures, Decision},
    strata::{Gate, Stratum, enough_units, together},
};
use crate::{
    collector::{buckets::COUNT, cells::Cell},
    stats::{
        cluster::{ArmSummary, compare},
        cuped::buckets::{self as cuped, Bucket},
        difference::Difference,
        sequential::AlwaysValid,
    },
};

/// Arms that differ this clearly in what was known beforehand differ in more than their prompt.
const IMBALANCE_P: f64 = 0.001;

/// The adjusted figures of a comparison whose metric has a covariate. `look` and `decide` are those of the plain one.
pub(super) fn adjusted(
    strata: &[Stratum<'_>],
    gate: &Gate<'_>,
    covered: (f64, f64),
    look: impl Fn(&Difference) -> Result<AlwaysValid, String>,
    decide: impl Fn(&AlwaysValid, f64) -> Decision,
) -> AdjustedFigures {
    let found = compared(strata, gate);
    let test = found.as_ref().map(|(test, _)| test).map_err(Clone::clone);
    let look = test.clone().and_then(look);
    AdjustedFigures {
        difference: Figure::of(test.as_ref().map(|test| test.difference)),
        ci: Figure::of(test.as_ref().map(|test| test.ci)),
        p: Figure::of(test.as_ref().map(|test| test.p)),
        always_valid: AlwaysValidFigures {
            ci: Figure::of(look.as_ref().map(|look| look.ci)),
            p: Figure::of(look.as_ref().map(|look| look.p)),
            p_adjusted: Figure::of(look.as_ref().map(|look| look.p)),
            log_e: look.as_ref().ok().map(|look| look.log_e),
        },
        variance_saved: Figure::of(found.as_ref().map(|(_, saved)| *saved)),
        covered,
        verdict: match (&test, &look) {
            (Ok(test), Ok(look)) => decide(look, test.control.mean),
            _ => Decision::NotYet,
        },
    }
}

/// The adjusted comparison of the strata in which it can be made, and the share of the variance it saves in them.
fn compared(strata: &[Stratum<'_>], gate: &Gate<'_>) -> Result<(Difference, f64), String> {
    enough_units(strata, gate)?;
    let mut missing = "collecting: no value came with the covariate yet".to_owned();
    let (mut tests, mut plain) = (Vec::new(), Vec::new());
    for stratum in strata {
        match within(stratum, gate) {
            Ok((adjusted, unadjusted)) => {
                tests.push((adjusted, stratum));
                plain.push((unadjusted, stratum));
            }
            Err(reason) => missing = reason,
        }
    }
    if tests.is_empty() {
        return Err(missing);
    }
    // What the strata have in common without the covariate is at least what they have with it.
    let (test, plain) = (together(&tests)?, together(&plain)?);
    let saved = 1.0 - (test.se / plain.se) * (test.se / plain.se);
    Ok((test, saved))
}

/// Adjusted and plain comparison of one stratum.
fn within(stratum: &Stratum<'_>, gate: &Gate<'_>) -> Result<(Difference, Difference), String> {
    if stratum.paired {
        return Err(
            "requests were randomised, so units cannot differ between the arms beforehand".to_owned(),
        );
    }
    let plain = stratum.compare(gate)?;
    let summary = |cell: &Cell| {
        let covariate = cell
            .covariate
            .as_deref()
            .ok_or("no value came with the covariate yet")?;
        let clusters: Vec<_> = covariate.filled().map(|(_, n, sum)| (n, sum)).collect();
        ArmSummary::from_clusters(clusters).map_err(|reason| reason.to_string())
    };
    let before = [summary(&stratum.control)?, summary(&stratum.candidate)?];
    // A covariate without any spread cannot differ between the arms either.
    if let Ok(balance) = compare(&before[0], &before[1], ALPHA)
        && balance.p < IMBALANCE_P
    {
        return Err(format!(
            "the covariate itself differs between the arms (p {:.1e}), so it was not known before the assignment",
            balance.p
        ));
    }
    let (control, candidate) = (buckets(&stratum.control), buckets(&stratum.candidate));
    let adjusted = cuped::compare(&control, &candidate, ALPHA).map_err(|reason| reason.to_string())?;
    Ok((adjusted.difference, plain))
}

/// What each bucket holds, outcomes and covariates side by side.
fn buckets(cell: &Cell) -> Vec<Bucket> {
    let of = |bucket| {
        let (outcomes, outcome_sum) = cell.buckets.sums(bucket);
        let covariate = cell.covariate.as_deref();
        let (covariates, covariate_sum) = covariate.map_or((0.0, 0.0), |sums| sums.sums(bucket));
        Bucket {
            outcomes,
            outcome_sum,
            covariates,
            covariate_sum,
        }
    };
    (0..COUNT)
        .map(of)
        .filter(|bucket| bucket.outcomes > 0.0)
        .collect()
}
