//! Simpson's paradox: the candidate's share grows while everybody's rate does, so that time passes for an effect.
//!
//! Owns experiments of two epochs, and the naive sums over both of them. Users of the second epoch are others, or the same
//! ones again, which is harder: what is seen of them before and after is not independent. Called by `study`.

use super::{
    Plan, SimulationError,
    random::Random,
    study::Study,
    tally::{Bound, Label, Row, Unit},
    traffic::{Metric, RateModel, interleaved, requests},
    world::{CANDIDATE, CONTROL, Design, SPAN, World},
};
use crate::{
    collector::cells::Cell,
    domain::id::ArmIndex,
    report::ALPHA,
    stats::cluster::{ArmSummary, compare},
};

/// Everybody's rate before and after the change of the split.
const BASE: [f64; 2] = [0.10, 0.14];
const METRIC: Metric = Metric::Binary;

/// One way to change a split.
struct Case {
    name: &'static str,
    shares: [f64; 2],
    /// Whether the second half has the users of the first.
    returning: bool,
    /// Whether users make many requests that resemble each other, or one.
    heavy: bool,
    users: usize,
    /// Of the candidate's successes this part fails.
    loss: f64,
    runs: u64,
}

const CASES: [Case; 4] = [
    Case {
        name: "5 % to 50 %, others come, no effect",
        shares: [0.05, 0.5],
        returning: false,
        heavy: true,
        users: 6_000,
        loss: 0.0,
        runs: 500,
    },
    Case {
        name: "5 % to 50 %, the same come back, no effect",
        shares: [0.05, 0.5],
        returning: true,
        heavy: true,
        users: 6_000,
        loss: 0.0,
        runs: 500,
    },
    Case {
        name: "40 % to 50 %, the same come back, no effect",
        shares: [0.4, 0.5],
        returning: true,
        heavy: true,
        users: 3_000,
        loss: 0.0,
        runs: 1_000,
    },
    Case {
        name: "5 % to 50 %, others come, the candidate fails a tenth more",
        shares: [0.05, 0.5],
        returning: false,
        heavy: false,
        users: 30_000,
        loss: 0.1,
        runs: 300,
    },
];

/// A comparison at the end of a run.
struct Seen {
    difference: f64,
    rejects: bool,
}

pub(super) fn study(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| plan.wants(case.name)) {
        let runs = plan.runs((Study::Simpson, case.name), case.runs, |random| run(random, case))?;
        let ours = || runs.iter().map(|(ours, _)| ours.as_ref());
        let pooled = || runs.iter().map(|(_, pooled)| pooled.as_ref());
        let label = |figure| Label {
            study: Study::Simpson,
            case: case.name,
            metric: None,
            figure,
        };
        if case.loss == 0.0 {
            let rejects = |seen: Option<&Seen>| Some(seen?.rejects);
            rows.push(
                Row::share(
                    label("false positives"),
                    ours().map(rejects),
                    Some(ALPHA),
                    Bound::AtMost(ALPHA + 0.01),
                )
                .beside(pooled().map(rejects)),
            );
        } else {
            let wrong = |seen: Option<&Seen>| Some(seen?.difference > 0.0);
            rows.push(
                Row::share(
                    label("estimates with the wrong sign"),
                    ours().map(wrong),
                    None,
                    Bound::AtMost(0.05),
                )
                .beside(pooled().map(wrong)),
            );
        }
        let mean = |seen: Option<&Seen>| Some(seen?.difference);
        // Without a bound: what is promised is the coverage. Weights by estimated variances lean a little to the side on
        // which a small arm's variance is estimated low.
        let estimate = Row::mean(
            label("mean estimate"),
            ours().map(mean),
            Unit::Difference,
            (case.loss == 0.0).then_some(0.0),
            Bound::None,
        );
        let known: Vec<f64> = pooled().filter_map(mean).collect();
        rows.push(Row {
            naively: Some(known.iter().sum::<f64>() / (known.len() as f64).max(1.0)),
            ..estimate
        });
    }
    Ok(rows)
}

/// Ours, and the estimate that sums up all requests of an arm.
fn run(random: &mut Random, case: &Case) -> Result<(Option<Seen>, Option<Seen>), SimulationError> {
    let mut world = World::new(Design {
        share: case.shares[0],
        metrics: &[METRIC],
        planned: false,
        guarded: false,
    })?;
    let key = world.measure(METRIC.name())?;
    let model = RateModel {
        mean: BASE[0],
        correlation: if case.heavy { 1.0 / 3.0 } else { 0.0 },
    };
    let newcomers = |random: &mut Random| -> Vec<(u64, f64, usize)> {
        (0..case.users)
            .map(|_| {
                let often = if case.heavy { requests(random) } else { 1 };
                (random.bits(), model.user(random), often)
            })
            .collect()
    };
    let mut users = newcomers(random);
    for phase in 0..2 {
        if phase == 1 {
            world.at(SPAN / 2);
            world.reweight(case.shares[1])?;
            if !case.returning {
                users = newcomers(random);
            }
        }
        let order = interleaved(random, users.iter().map(|(_, _, often)| *often));
        for (index, user) in order.iter().enumerate() {
            let (id, rate, _) = users[*user as usize];
            world.at(SPAN.mul_f64((f64::from(phase) + index as f64 / order.len() as f64) / 2.0));
            let Some(assigned) = world.assign(id)? else {
                return Err(SimulationError::Missing("the split"));
            };
            let rate = rate * BASE[phase as usize] / BASE[0];
            let kept = if assigned.is_candidate() {
                1.0 - case.loss
            } else {
                1.0
            };
            let success = random.chance(rate * kept);
            world.expose(assigned)?;
            world.report_back(assigned, [(key, f64::from(u8::from(success)))])?;
        }
    }
    world.flush()?;
    let report = world.report();
    let candidate = report
        .metrics
        .iter()
        .find(|found| found.metric == METRIC.name())
        .and_then(|found| found.variants.last()?.vs_control.as_ref());
    let ours = candidate.and_then(|versus| {
        Some(Seen {
            difference: *versus.difference.known()?,
            rejects: *versus.p.known()? < ALPHA,
        })
    });
    let counts = world.counts();
    let pooled = |arm: ArmIndex| {
        let mut all = Cell::default();
        for (_, counts) in counts.iter().filter(|((_, counted), _)| *counted == arm) {
            all.merge(counts.cell(key)?);
        }
        let clusters = all.buckets.filled().map(|(_, n, sum)| (n, sum));
        ArmSummary::from_clusters(clusters.collect::<Vec<_>>()).ok()
    };
    let pooled = (|| {
        let test = compare(&pooled(CONTROL)?, &pooled(CANDIDATE)?, ALPHA).ok()?;
        Some(Seen {
            difference: test.difference,
            rejects: test.p < ALPHA,
        })
    })();
    Ok((ours, pooled))
}
