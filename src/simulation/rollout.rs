//! The day of a canary: is a good one promoted, a bad one frozen, a silent one found out, one that flaps kept where it is?
//!
//! Owns the kinds of days and what was promised about each. Called by `study`.

use super::{
    Plan, SimulationError,
    day::{End, Kind, Operation, Reports, Story, day},
    random::Random,
    study::Study,
    tally::{Bound, Label, Row, Unit},
};
use crate::domain::guardrail::{ALPHA, MISSING_ALPHA, RULED_OUT_ALPHA};

/// Days of each kind in a full study.
const DAYS: u64 = 1_000;
/// Days that are served twice in a full study, to compare.
const TWICE: u64 = 100;
/// A process that ends often ends so many times in a day, at the most.
const RESTARTS: usize = 4;
/// The first hours of a day, in which restarts come: every kind but the good one is over by then or soon.
const RESTARTS_WITHIN_S: usize = 6 * 3_600;

/// The candidate as good as control, and everything reported.
const HEALTHY: Kind = Kind {
    times: 1.0,
    bad_from: 0,
    reports: Reports::All,
};

/// What must come of a kind of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It is promoted, and frozen by chance only.
    Promoted,
    /// It is frozen by a guardrail.
    FrozenAsBad,
    /// It is frozen, and no stage passes from this one on.
    FrozenBefore(usize),
    /// No stage passes, and its deadline freezes it.
    Nowhere,
}

#[rustfmt::skip] // A table.
const KINDS: [(&str, Kind, Promise); 11] = [
    ("healthy", HEALTHY, Promise::Promoted),
    ("2 times as bad", Kind { times: 2.0, ..HEALTHY }, Promise::FrozenAsBad),
    ("4 times as bad", Kind { times: 4.0, ..HEALTHY }, Promise::FrozenAsBad),
    ("2 times as bad from stage 3 on", Kind { times: 2.0, bad_from: 2, ..HEALTHY }, Promise::FrozenAsBad),
    ("4 times as bad from stage 3 on", Kind { times: 4.0, bad_from: 2, ..HEALTHY }, Promise::FrozenAsBad),
    ("the candidate reports nothing", of(Reports::CandidateSilent(0)), Promise::FrozenBefore(0)),
    ("nobody reports anything", of(Reports::NobodySpeaks), Promise::FrozenBefore(0)),
    ("the candidate goes silent in stage 3", of(Reports::CandidateSilent(2)), Promise::FrozenBefore(2)),
    ("nothing is reported for 2 of 5 minutes", of(Reports::Gaps { lost: 120, of: 300 }), Promise::Nowhere),
    ("the candidate reports every 4 minutes", of(Reports::CandidateInBursts(240)), Promise::Nowhere),
    ("the store fails for 30 s of 5 minutes", of(Reports::StoreFails { down: 30, of: 300 }), Promise::Nowhere),
];

const fn of(reports: Reports) -> Kind {
    Kind { reports, ..HEALTHY }
}

pub(super) fn study(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    let mut rows = Vec::new();
    for (name, kind, promise) in KINDS {
        if plan.wants(name) {
            let days = plan.runs((Study::Rollout, name), DAYS, |random| {
                day(random, kind, Operation::default())
            })?;
            rows.extend(figures(name, kind, promise, &days));
        }
    }
    for (name, operate) in [
        ("any kind, restarted at random moments", restarted as Operate),
        ("any kind, two replicas in any order", replicated),
    ] {
        if plan.wants(name) {
            let same = plan.runs((Study::Rollout, name), TWICE, |random| twice(random, operate))?;
            let same = same.into_iter().map(Some);
            rows.push(Row::share(
                label(name, "the same history"),
                same,
                None,
                Bound::AtLeast(1.0),
            ));
        }
    }
    Ok(rows)
}

fn label<'a>(case: &'a str, figure: &'static str) -> Label<'a> {
    Label {
        study: Study::Rollout,
        case,
        metric: None,
        figure,
    }
}

fn figures(name: &str, kind: Kind, promise: Promise, days: &[Story]) -> Vec<Row> {
    let share = |figure, bound, happened: &dyn Fn(&Story) -> bool| {
        let runs = days.iter().map(|day| Some(happened(day)));
        Row::share(label(name, figure), runs, None, bound)
    };
    let ended = |end: End, bound| {
        let figure = match end {
            End::Promoted => "promoted",
            End::FrozenByGuardrail => "frozen by a guardrail",
            End::FrozenBlind => "frozen blind",
            End::FrozenAtDeadline => "frozen at a deadline",
            End::StillHolding => "still holding",
            End::StillRunning => "still running",
        };
        share(figure, bound, &|day| day.end == end)
    };
    let (never, free) = (Bound::AtMost(0.0), Bound::None);
    let (promoted, frozen, blind) = match promise {
        Promise::Promoted => (free, Bound::AtMost(ALPHA + MISSING_ALPHA), never),
        // At twice the rate the candidate lies on the margin that must be ruled out.
        Promise::FrozenAsBad => (Bound::AtMost(RULED_OUT_ALPHA), free, never),
        Promise::FrozenBefore(_) => (never, free, free),
        Promise::Nowhere => (never, free, never),
    };
    let mut rows = vec![
        ended(End::Promoted, promoted),
        ended(End::FrozenByGuardrail, frozen),
        ended(End::FrozenBlind, blind),
        ended(End::FrozenAtDeadline, free),
        ended(End::StillHolding, free),
        ended(End::StillRunning, free),
    ];
    let doubtful_from = match promise {
        Promise::FrozenBefore(stage) => Some(stage),
        Promise::Nowhere => Some(0),
        _ => None,
    };
    if let Some(stage) = doubtful_from {
        rows.push(share("passed while in doubt", never, &|day| day.stage > stage));
    }
    let hours = days.iter().map(|day| Some(day.took?.as_secs_f64() / 3_600.0));
    rows.push(Row::mean(
        label(name, "time to the end"),
        hours,
        Unit::Hours,
        None,
        free,
    ));
    if kind.times != 1.0 {
        let harm = days.iter().map(|day| Some(day.harm as f64));
        rows.push(Row::mean(
            label(name, "bad answers until then"),
            harm,
            Unit::Count,
            None,
            free,
        ));
    }
    rows
}

/// What is to happen to the processes of a day; the traffic is another stream.
type Operate = fn(&mut Random) -> Operation;

fn restarted(random: &mut Random) -> Operation {
    let restarts = 1 + random.below(RESTARTS);
    Operation {
        // Early ones as often as late ones, in proportion: many days end within minutes.
        restarts: (0..restarts)
            .map(|_| (RESTARTS_WITHIN_S as f64).powf(random.uniform()) as u64)
            .collect(),
        second_replica: None,
    }
}

fn replicated(random: &mut Random) -> Operation {
    Operation {
        second_replica: Some(random.clone()),
        ..Operation::default()
    }
}

/// Whether one process that nothing happens to leaves the same history.
fn twice(random: &mut Random, operate: Operate) -> Result<bool, SimulationError> {
    let (_, kind, _) = KINDS[random.below(KINDS.len())];
    let mut traffic = random.clone();
    let expected = day(&mut traffic.clone(), kind, Operation::default())?;
    let found = day(&mut traffic, kind, operate(random))?;
    Ok(found == expected)
}
