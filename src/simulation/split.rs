//! The check of the split: silent over a right one whatever users do, and loud over one that lost a few.
//!
//! Owns users who are only exposed. Called by `study`.

use super::{
    Plan, SimulationError,
    random::Random,
    study::Study,
    tally::{Bound, Label, Row},
    traffic::requests,
    world::{Design, World},
};
use crate::{
    report::{Report, SplitVerdict},
    stats::{
        distribution::{normal_cdf, normal_upper_quantile},
        sample_ratio::{ALARM_P, chi_square},
    },
};

/// Users of the split that is not the one asked for: 51 % of those that are counted are the candidate's.
const LOSSY_USERS: usize = 100_000;

pub(super) fn study(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    let label = |case, figure| Label {
        study: Study::SampleRatio,
        case,
        metric: None,
        figure,
    };
    let mut rows = Vec::new();
    for (share, case) in [(0.5, "2,000 users, 50 %"), (0.05, "2,000 users, 5 %")] {
        if !plan.wants(case) {
            continue;
        }
        let runs = plan.runs((Study::SampleRatio, case), 5_000, |random| {
            let report = split(random, 2_000, share, true, 0.0)?;
            Ok((alarm(&report), naive_alarm(&report, share)))
        })?;
        rows.push(
            Row::share(
                label(case, "false alarms"),
                runs.iter().map(|(ours, _)| *ours),
                Some(ALARM_P),
                Bound::AtMost(ALARM_P),
            )
            .beside(runs.iter().map(|(_, naively)| *naively)),
        );
    }
    let case = "100,000 users, 51/49 instead of 50/50";
    if !plan.wants(case) {
        return Ok(rows);
    }
    let runs = plan.runs((Study::SampleRatio, case), 200, |random| {
        // Of control's units this part is lost before it is counted.
        split(random, LOSSY_USERS, 0.5, false, 1.0 - 49.0 / 51.0).map(|report| alarm(&report))
    })?;
    let expected = normal_upper_quantile(ALARM_P / 2.0).ok().map(|z| {
        let counted = LOSSY_USERS as f64 * (0.5 + 0.5 * 49.0 / 51.0);
        normal_cdf(0.02 * counted.sqrt() - z)
    });
    rows.push(Row::share(
        label(case, "alarms"),
        runs,
        expected,
        Bound::AtLeast(0.99),
    ));
    Ok(rows)
}

fn alarm(report: &Report) -> Option<bool> {
    report
        .srm
        .verdict
        .known()
        .map(|verdict| *verdict == SplitVerdict::Alarm)
}

/// The same test over requests.
fn naive_alarm(report: &Report, share: f64) -> Option<bool> {
    let observed: Vec<u64> = report
        .exposures
        .0
        .iter()
        .map(|(_, counts)| counts.requests)
        .collect();
    let all = observed.iter().sum::<u64>() as f64;
    let test = chi_square(&observed, &[all * (1.0 - share), all * share]).ok()?;
    Some(test.p < ALARM_P)
}

/// The report of users who were only exposed, many times each or once; `lost` of control's are not counted.
fn split(
    random: &mut Random,
    users: usize,
    share: f64,
    returning: bool,
    lost: f64,
) -> Result<Report, SimulationError> {
    let mut world = World::new(Design {
        share,
        metrics: &[],
        planned: false,
        guarded: false,
    })?;
    for _ in 0..users {
        let (unit, often) = (random.bits(), if returning { requests(random) } else { 1 });
        let Some(assigned) = world.assign(unit)? else {
            return Err(SimulationError::Missing("the split"));
        };
        if !assigned.is_candidate() && random.chance(lost) {
            continue;
        }
        for _ in 0..often {
            world.expose(assigned)?;
        }
    }
    world.flush()?;
    Ok(world.report())
}
