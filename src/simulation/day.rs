//! One simulated day of a canary, second by second.
//!
//! Owns who comes and what becomes of their outcomes: bad, late, lost, kept back. The product counts, looks and acts; this
//! only watches what it does. Called by [`rollout`](super::rollout).

use super::{
    SimulationError,
    random::Random,
    traffic::RateModel,
    world::{Assigned, BAD, World},
};
use crate::domain::{
    event::Event,
    experiment::{FreezeCause, State},
};
use serde_json::json;
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// Requests per second.
pub(super) const PER_SECOND: usize = 10;
/// The model in words, for whoever reads a table of figures.
pub(super) const MODEL: &str = "10 requests a second, half of them of newcomers and half of one of the last 1,000 users; \
    2 % bad (intra-user correlation 1/6), reported 1 to 5 s later; stages of 1 % for 15 m, 5 % for 1 h, 10 % for 2 h, 25 % for \
    4 h, 50 % for 8 h, with a deadline of 9 h each";
/// The share of bad outcomes of a version that is all right.
const BASE: RateModel = RateModel {
    mean: 0.02,
    correlation: 1.0 / 6.0,
};
/// Users who may come back.
const AROUND: usize = 1_000;
/// Outcomes come after 1 to this many seconds.
const LONGEST_DELAY: usize = 5;
/// Seconds between two looks of the rollout; the guardrails look whenever a bad outcome came.
const LOOK_EVERY: u64 = 10;
/// After so many seconds the day is over.
const DAY: u64 = 86_400;
/// Where a restart is to come, fewer pieces of the counts than this are stored in a second, now none and now many: so that it
/// finds all of them stored and the journal trimmed, or old pieces and much to replay.
const MOST_STORED: u64 = 13;

/// What becomes of outcomes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reports {
    /// They come.
    All,
    /// The candidate's are lost, from a stage on.
    CandidateSilent(usize),
    /// Nobody's come.
    NobodySpeaks,
    /// In the first `lost` seconds of every `of` everybody's are lost.
    Gaps {
        /// Seconds without.
        lost: u64,
        /// Seconds from one gap to the next.
        of: u64,
    },
    /// The candidate's are kept back and come together, every so many seconds.
    CandidateInBursts(u64),
    /// In the first `down` seconds of every `of` none can be stored; senders try until they are.
    StoreFails {
        /// Seconds without a store.
        down: u64,
        /// Seconds from one failure to the next.
        of: u64,
    },
}

/// A kind of day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    /// How many times as bad the candidate is as control.
    pub(super) times: f64,
    /// From this stage on, counted from 0; before that it is as good.
    pub(super) bad_from: usize,
    /// What becomes of outcomes.
    pub(super) reports: Reports,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Promoted,
    FrozenByGuardrail,
    FrozenBlind,
    FrozenAtDeadline,
    StillHolding,
    StillRunning,
}

/// A day as it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Story {
    pub(super) end: End,
    /// How long it took to the end; none when there was none.
    pub(super) took: Option<Duration>,
    /// The last stage, from 0.
    pub(super) stage: usize,
    /// The candidate's bad answers while it was worse than control.
    pub(super) harm: u64,
    /// Every entry of the control log, with what tells replicas apart taken out.
    pub(super) history: Vec<String>,
}

/// What may happen to the processes that serve a day.
#[derive(Debug, Clone, Default)]
pub(super) struct Operation {
    /// The process ends after these seconds, and another one begins.
    pub(super) restarts: BTreeSet<u64>,
    /// Two replicas look, and this says who is faster.
    pub(super) second_replica: Option<Random>,
}

/// Somebody who may come back.
#[derive(Debug, Clone, Copy)]
struct User {
    id: u64,
    /// Their bad rate on a version that is all right, and on the bad one.
    rates: [f64; 2],
}

/// An outcome on its way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    assigned: Assigned,
    bad: bool,
}

struct Day {
    kind: Kind,
    world: World,
    users: VecDeque<User>,
    /// By the second of their arrival, the next one first.
    on_their_way: VecDeque<Vec<Pending>>,
    kept_back: Vec<Pending>,
    harm: u64,
}

/// Serves one day.
pub(super) fn day(
    random: &mut Random,
    kind: Kind,
    mut operation: Operation,
) -> Result<Story, SimulationError> {
    let mut world = World::canary(&json!({
        "on_complete": "promote", "deadline": "9h", "stages": [
            {"share": 0.01, "for": "15m"}, {"share": 0.05, "for": "1h"}, {"share": 0.1, "for": "2h"},
            {"share": 0.25, "for": "4h"}, {"share": 0.5, "for": "8h"},
        ],
    }))?;
    let keeps = !operation.restarts.is_empty();
    if keeps {
        world = world.keeping();
    }
    let mut day = Day {
        kind,
        world,
        users: VecDeque::with_capacity(AROUND),
        on_their_way: (0..=LONGEST_DELAY).map(|_| Vec::new()).collect(),
        kept_back: Vec::new(),
        harm: 0,
    };
    let mut second = 0;
    while second < DAY && day.world.experiment().state.splits() {
        day.world.at(Duration::from_secs(second));
        day.requests(random)?;
        let changed = day.outcomes(second)?;
        let second_is_first = operation.second_replica.as_mut().map(|random| random.chance(0.5));
        let replicas: &[&str] = match second_is_first {
            None => &["one"],
            Some(false) => &["one", "two"],
            Some(true) => &["two", "one"],
        };
        if changed {
            day.world.judge_in(replicas)?;
        }
        if second.is_multiple_of(LOOK_EVERY) {
            let down = day.store_down_for(second);
            day.world.roll(second / LOOK_EVERY, down, replicas)?;
        }
        if keeps {
            day.world.checkpoint((second % MOST_STORED) as usize);
        }
        if operation.restarts.contains(&second) {
            day.world = day.world.restarted()?;
        }
        second += 1;
    }
    day.story(second)
}

impl Day {
    fn is_bad(&self) -> bool {
        self.kind.times != 1.0 && self.world.experiment().stage() >= self.kind.bad_from
    }

    /// A newcomer, or somebody who was here.
    fn user(&mut self, random: &mut Random) -> User {
        if self.users.len() == AROUND && random.chance(0.5) {
            return self.users[random.below(AROUND)];
        }
        let bad = RateModel {
            mean: BASE.mean * self.kind.times,
            ..BASE
        };
        let user = User {
            id: random.bits(),
            rates: [BASE.user(random), bad.user(random)],
        };
        if self.users.len() == AROUND {
            self.users.pop_front();
        }
        self.users.push_back(user);
        user
    }

    fn requests(&mut self, random: &mut Random) -> Result<(), SimulationError> {
        let is_bad = self.is_bad();
        for _ in 0..PER_SECOND {
            let user = self.user(random);
            let (draw, delay) = (random.uniform(), 1 + random.below(LONGEST_DELAY));
            let Some(assigned) = self.world.assign(user.id)? else {
                return Err(SimulationError::Missing("the split"));
            };
            self.world.expose(assigned)?;
            let worse = is_bad && assigned.is_candidate();
            let bad = draw < user.rates[usize::from(worse)];
            self.harm += u64::from(worse && bad);
            self.on_their_way[delay].push(Pending { assigned, bad });
        }
        Ok(())
    }

    /// Counts what arrives in this second, and says whether that changed the guardrails' evidence.
    fn outcomes(&mut self, second: u64) -> Result<bool, SimulationError> {
        let mut arriving = self.on_their_way.pop_front().unwrap_or_default();
        let stage = self.world.experiment().stage();
        match self.kind.reports {
            Reports::All => {}
            Reports::NobodySpeaks => arriving.clear(),
            Reports::CandidateSilent(from) if stage < from => {}
            Reports::CandidateSilent(_) => arriving.retain(|pending| !pending.assigned.is_candidate()),
            Reports::Gaps { lost, of } if second % of < lost => arriving.clear(),
            Reports::CandidateInBursts(every) => {
                let held = arriving.extract_if(.., |pending| pending.assigned.is_candidate());
                self.kept_back.extend(held);
                if second.is_multiple_of(every) {
                    arriving.append(&mut self.kept_back);
                }
            }
            Reports::StoreFails { .. } if self.store_down_for(second).is_some() => {
                self.kept_back.append(&mut arriving);
            }
            Reports::StoreFails { .. } => arriving.append(&mut self.kept_back),
            Reports::Gaps { .. } => {}
        }
        let key = self.world.measure(BAD)?;
        let mut changed = false;
        for Pending { assigned, bad } in arriving.drain(..) {
            let value = f64::from(u8::from(bad));
            changed |= self.world.report_back(assigned, [(key, value)])?;
        }
        // Its memory is used again.
        self.on_their_way.push_back(arriving);
        Ok(self.world.flush()? || changed)
    }

    fn store_down_for(&self, second: u64) -> Option<Duration> {
        match self.kind.reports {
            Reports::StoreFails { down, of } => {
                let since = second % of;
                (since < down).then(|| Duration::from_secs(since))
            }
            _ => None,
        }
    }

    fn story(self, seconds: u64) -> Result<Story, SimulationError> {
        let experiment = self.world.experiment();
        let end = match (experiment.state, &experiment.freeze) {
            (State::Promoted, _) => End::Promoted,
            (State::Holding, _) => End::StillHolding,
            (_, None) => End::StillRunning,
            (_, Some(freeze)) => match freeze.cause {
                FreezeCause::Blind { .. } => End::FrozenBlind,
                FreezeCause::Deadline { .. } => End::FrozenAtDeadline,
                FreezeCause::Guardrail(_) | FreezeCause::Manual | FreezeCause::RolledBack { .. } => {
                    End::FrozenByGuardrail
                }
            },
        };
        let ended = !experiment.state.splits();
        let mut history = Vec::new();
        for entry in self.world.history()? {
            let mut event = entry.event;
            if let Event::ExperimentFrozen {
                cause: FreezeCause::Guardrail(breach),
                ..
            } = &mut event
            {
                breach.replica.clear();
            }
            let stored = event.to_stored()?;
            history.push(format!("{} {} {}: {stored}", entry.at, entry.actor, entry.reason));
        }
        Ok(Story {
            end,
            took: ended.then(|| Duration::from_secs(seconds)),
            stage: experiment.stage(),
            harm: self.harm,
            history,
        })
    }
}
