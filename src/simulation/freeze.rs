//! Guardrails: how often an equal candidate is frozen, and how soon a worse one.
//!
//! The product looks whenever the evidence changed, and only a bad outcome changes it, so these runs count and look after
//! every bad outcome: the same as after every outcome, at a part of the cost. Called by `study`.

use super::{
    Plan, SimulationError,
    random::Random,
    study::Study,
    tally::{Bound, Label, Row, Unit},
    traffic::{RateModel, interleaved, requests},
    world::{BAD, Design, SPAN, World},
};
use crate::{
    domain::{
        experiment::RESTART_BLOCKS,
        guardrail::{ALPHA, LEAST_BAD_UNITS},
        id::MetricKey,
    },
    stats::evidence::{DEFAULT_POINTS, OddsGrid, RelativeStep, single_start_log_e, threshold},
};
use std::time::Duration;

/// The share of bad outcomes, between users as different as rare events are.
const BASE: RateModel = RateModel {
    mean: 0.02,
    correlation: 1.0 / 6.0,
};
/// The share of the candidate that a regression is looked for in.
const SMALL: f64 = 0.05;
/// The candidate's requests per restart block of the evidence, about.
const PER_BLOCK: u32 = 1_000;
/// A regression that was not found after this many times Wald's bound is not found.
const PATIENCE: f64 = 50.0;

pub(super) fn false_freezes(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    let mut rows = Vec::new();
    for (share, name) in [(0.05, "5,000 users, 5 %"), (0.5, "5,000 users, 50 %")] {
        if !plan.wants(name) {
            continue;
        }
        let runs = plan.runs((Study::FalseFreezes, name), 2_000, |random| {
            equal(random, 5_000, share)
        })?;
        let label = Label {
            study: Study::FalseFreezes,
            case: name,
            metric: None,
            figure: "frozen",
        };
        rows.push(false_alarms(label, &runs));
    }
    let name = "halves of control, 4,750 users";
    if plan.wants(name) {
        let runs = plan.runs((Study::FalseFreezes, name), 2_000, |random| {
            equal_halves(random, 5_000, 0.05)
        })?;
        let label = Label {
            study: Study::FalseFreezes,
            case: name,
            metric: None,
            figure: "would have been frozen",
        };
        rows.push(false_alarms(label, &runs));
    }
    Ok(rows)
}

/// How often the product was wrong, and beside it the test over all bad outcomes.
fn false_alarms(label: Label<'_>, runs: &[(bool, bool)]) -> Row {
    let ours = runs.iter().map(|(ours, _)| Some(*ours));
    let naively = runs.iter().map(|(_, naively)| Some(*naively));
    Row::share(label, ours, Some(ALPHA), Bound::AtMost(ALPHA)).beside(naively)
}

/// Whether an equal candidate is frozen: by the guardrail, and by the same test over all bad outcomes. A run ends with
/// the first of the guardrail's.
fn equal(random: &mut Random, users: usize, share: f64) -> Result<(bool, bool), SimulationError> {
    let mut naively = Naive::new(share)?;
    let frozen = until(random, users, share, |world, key, id, bad| {
        let Some(Outcome { frozen, candidate }) = step(world, key, id, |_| bad)? else {
            return Err(SimulationError::Missing("the split"));
        };
        if bad {
            naively.look(candidate);
        }
        Ok(frozen)
    })?;
    Ok((frozen, naively.frozen))
}

/// Whether the continuous A/A test ever would have frozen one half of control for being worse than the other: by the
/// guardrail's test, and by the same test over all bad outcomes of control.
fn equal_halves(random: &mut Random, users: usize, share: f64) -> Result<(bool, bool), SimulationError> {
    let mut naively = Naive::new(0.5)?;
    let alarmed = until(random, users, share, |world, key, id, bad| {
        let assigned = world.assign(id)?.ok_or(SimulationError::Missing("the split"))?;
        let mut changed = world.report_back(assigned, [(key, f64::from(u8::from(bad)))])?;
        if bad {
            changed |= world.flush()?;
            if !assigned.is_candidate() {
                naively.look(assigned.half() == 1);
            }
        }
        Ok(changed && world.judge_aa())
    })?;
    Ok((alarmed, naively.frozen))
}

/// The requests of equal users, one after the other, until one of them raises the alarm; says whether one did.
fn until(
    random: &mut Random,
    users: usize,
    share: f64,
    mut request: impl FnMut(&mut World, MetricKey, u64, bool) -> Result<bool, SimulationError>,
) -> Result<bool, SimulationError> {
    let (mut world, key) = guarded(share)?;
    let users: Vec<(u64, f64, usize)> = (0..users)
        .map(|_| (random.bits(), BASE.user(random), requests(random)))
        .collect();
    let order = interleaved(random, users.iter().map(|(_, _, often)| *often));
    for (index, user) in order.iter().enumerate() {
        let (id, rate, _) = users[*user as usize];
        world.at(SPAN.mul_f64(index as f64 / order.len() as f64));
        if request(&mut world, key, id, random.chance(rate))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the next request did.
struct Outcome {
    frozen: bool,
    candidate: bool,
}

/// One request and its outcome, and a look when that was evidence.
fn step(
    world: &mut World,
    key: MetricKey,
    unit: u64,
    bad: impl FnOnce(bool) -> bool,
) -> Result<Option<Outcome>, SimulationError> {
    let Some(assigned) = world.assign(unit)? else {
        return Ok(None);
    };
    let candidate = assigned.is_candidate();
    let bad = bad(candidate);
    let mut changed = world.report_back(assigned, [(key, f64::from(u8::from(bad)))])?;
    if bad {
        changed |= world.flush()?;
    }
    let frozen = changed && world.judge()?;
    Ok(Some(Outcome { frozen, candidate }))
}

fn guarded(share: f64) -> Result<(World, MetricKey), SimulationError> {
    let world = World::new(Design {
        share,
        metrics: &[],
        planned: false,
        guarded: true,
    })?;
    let key = world.measure(BAD)?;
    Ok((world, key))
}

/// The guardrail's own test over every bad outcome, as if each were a unit.
struct Naive {
    grid: OddsGrid,
    fires: f64,
    counts: RelativeStep,
    frozen: bool,
}

impl Naive {
    fn new(share: f64) -> Result<Self, SimulationError> {
        Ok(Self {
            grid: OddsGrid::new(1.25, DEFAULT_POINTS).map_err(|_| SimulationError::Missing("the grid"))?,
            fires: threshold(1, ALPHA).map_err(|_| SimulationError::Missing("the threshold"))?,
            counts: RelativeStep {
                share,
                candidate: 0,
                control: 0,
            },
            frozen: false,
        })
    }

    fn look(&mut self, candidate: bool) {
        if candidate {
            self.counts.candidate += 1;
        } else {
            self.counts.control += 1;
        }
        self.frozen |= self.counts.candidate >= LEAST_BAD_UNITS
            && single_start_log_e(&self.grid, &[self.counts]) >= self.fires;
    }
}

/// When a regression begins, and who makes the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onset {
    /// With the candidate; every request is another user's.
    Start,
    /// With the candidate; users come back.
    StartOfUsers,
    /// After a third of the stage, as a restart block begins; every request is another user's.
    Late,
    /// In the tenth block, anywhere in it.
    LateAnywhere,
}

impl Onset {
    const ALL: [Self; 4] = [Self::Start, Self::StartOfUsers, Self::Late, Self::LateAnywhere];

    fn name(self) -> &'static str {
        match self {
            Self::Start => "from the start, a user per request",
            Self::StartOfUsers => "from the start, users come back",
            Self::Late => "after a third of the stage, with a block",
            Self::LateAnywhere => "after a third of the stage, in a block",
        }
    }

    fn bound(self) -> Bound {
        match self {
            Self::Start => Bound::AtMost(2.0),
            Self::Late => Bound::AtMost(3.5),
            Self::StartOfUsers | Self::LateAnywhere => Bound::None,
        }
    }

    fn runs(self) -> u64 {
        match self {
            Self::Start => 1_000,
            Self::StartOfUsers => 300,
            Self::Late | Self::LateAnywhere => 100,
        }
    }

    /// After how many of the candidate's requests, about, it begins.
    fn after(self, random: &mut Random) -> f64 {
        let blocks = match self {
            Self::Start | Self::StartOfUsers => 0.0,
            Self::Late => 11.0,
            Self::LateAnywhere => 10.0 + random.uniform(),
        };
        blocks * f64::from(PER_BLOCK)
    }
}

pub(super) fn delay(plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
    let mut rows = Vec::new();
    for onset in Onset::ALL {
        for times in [2.0, 3.0, 5.0, 10.0] {
            let name = format!("{times} times as bad, {}", onset.name());
            if !plan.wants(&name) {
                continue;
            }
            let wald = wald_bound(times * BASE.mean, BASE.mean);
            let runs = plan.runs((Study::Delay, &name), onset.runs(), |random| {
                worse(random, onset, times, (PATIENCE * wald) as u64)
            })?;
            let label = Label {
                study: Study::Delay,
                case: &name,
                metric: None,
                figure: "the candidate's requests to the freeze",
            };
            // One that is not found counts as found at the end: the mean is a little too good, and the row says so.
            let delays = runs.iter().map(|(requests, _)| Some(*requests as f64 / wald));
            let lost = runs.iter().filter(|(_, found)| !found).count() as u64;
            rows.push(Row {
                without: lost,
                ..Row::mean(label, delays, Unit::Times, None, onset.bound())
            });
        }
    }
    Ok(rows)
}

/// The candidate's requests from the regression's begin to the freeze, and whether there was one.
fn worse(
    random: &mut Random,
    onset: Onset,
    times: f64,
    patience: u64,
) -> Result<(u64, bool), SimulationError> {
    let (mut world, key) = guarded(SMALL)?;
    let per_request = SPAN.div_f64(f64::from(PER_BLOCK) * RESTART_BLOCKS as f64 / SMALL);
    let begins = per_request.mul_f64(onset.after(random) / SMALL);
    let mut crowd = Crowd::new(onset == Onset::StartOfUsers, times);
    let (mut requests, mut now) = (0, Duration::ZERO);
    while requests < patience {
        world.at(now);
        let broken = now >= begins;
        let (id, rates) = crowd.next(random);
        let draw = random.uniform();
        let rate = |candidate: bool| rates[usize::from(candidate && broken)];
        let Some(Outcome { frozen, candidate }) =
            step(&mut world, key, id, |candidate| draw < rate(candidate))?
        else {
            return Err(SimulationError::Missing("the split"));
        };
        if frozen && !broken {
            // A false freeze, which another study counts: this one starts again.
            (world, _) = guarded(SMALL)?;
            now = Duration::ZERO;
            continue;
        }
        requests += u64::from(candidate && broken);
        if frozen {
            return Ok((requests, true));
        }
        now += per_request;
    }
    Ok((requests, false))
}

/// Whose requests come next.
struct Crowd {
    returning: bool,
    times: f64,
    users: Vec<(u64, [f64; 2])>,
    order: Vec<u32>,
}

/// Users who are around at the same time.
const CROWD: usize = 20_000;

impl Crowd {
    fn new(returning: bool, times: f64) -> Self {
        Self {
            returning,
            times,
            users: Vec::new(),
            order: Vec::new(),
        }
    }

    /// A unit and its bad rates: healthy, and with the regression.
    fn next(&mut self, random: &mut Random) -> (u64, [f64; 2]) {
        let (mean, worse) = (BASE.mean, BASE.mean * self.times);
        if !self.returning {
            return (random.bits(), [mean, worse]);
        }
        loop {
            if let Some(user) = self.order.pop() {
                return self.users[user as usize];
            }
            let bad = RateModel { mean: worse, ..BASE };
            self.users = (0..CROWD)
                .map(|_| (random.bits(), [BASE.user(random), bad.user(random)]))
                .collect();
            let often: Vec<usize> = (0..CROWD).map(|_| requests(random)).collect();
            self.order = interleaved(random, often.into_iter());
        }
    }
}

/// The least mean number of observations to tell p₁ from p₀ with an error of α, in requests: ln(1/α)/KL(p₁‖p₀). Wald
/// (1945), "Sequential tests of statistical hypotheses", doi:10.1214/aoms/1177731118. From 2 % to 4 % at 1 %: 581.
fn wald_bound(worse: f64, base: f64) -> f64 {
    let divergence = worse * (worse / base).ln() + (1.0 - worse) * ((1.0 - worse) / (1.0 - base)).ln();
    -ALPHA.ln() / divergence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walds_bound_is_the_published_one() {
        let bounds = [0.04, 0.06, 0.1, 0.2].map(|worse| wald_bound(worse, 0.02));
        // Published in whole requests, the last but one as 55.
        for (bound, known) in bounds.into_iter().zip([581.0, 172.0, 55.0, 15.4]) {
            assert!((bound / known - 1.0).abs() < 0.01, "{bound} is not {known}");
        }
    }
}
