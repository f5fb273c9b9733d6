//! The step of a rollout: (experiment, look, now) → at most one command. Pure; what follows from the command is decided
//! by the control plane, which refuses what the experiment's state does not allow.
//!
//! The order never changes, in any live state: harm that is proved, silence, a deadline; then whatever makes the data
//! doubtful; and only when all of that is clear, whether the stage may pass. So automation moves toward safety first, and
//! towards traffic only by the plan, one stage at a time.

use super::{
    look::{ArmLook, Look},
    propose::propose,
};
use crate::domain::{
    Timestamp,
    command::{Command, Origin},
    duration_text,
    event::{StageArm, StageEvidence, StageGuardrail},
    experiment::{Experiment, FreezeCause, HoldCause, State},
    rollout::{RolloutPlan, Stage},
};
use std::time::Duration;

/// Who acts when a rollout moves by itself.
pub const ACTOR: &str = "rollout";

/// A store that fails is borne for this long.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// Outcomes that each arm needs in a stage, whatever the plan says.
const LEAST_OUTCOMES: u64 = 1;

/// Whether the stage has run for as long as it must, so that a whole look can let it pass.
#[must_use]
pub fn is_due(experiment: &Experiment, now: Timestamp) -> bool {
    let Some((_, stage)) = present_stage(experiment) else {
        return false;
    };
    let Some(progress) = &experiment.progress else {
        return false;
    };
    let waits = match (&experiment.state, &experiment.hold) {
        (State::Running, _) => true,
        (State::Holding, Some(hold)) => hold.cause.only_waits() && hold.cause.clears_itself(),
        _ => false,
    };
    let steady = progress
        .disturbed_until
        .is_none_or(|until| since(until, now) >= stage.steady());
    waits && steady && progress.served(now) >= stage.duration
}

/// The next thing to do; none when all is well and nothing is due.
#[must_use]
pub fn step(
    experiment: &Experiment,
    look: &Look,
    now: Timestamp,
    replica: &str,
) -> Option<(Origin, Command)> {
    if !experiment.state.splits() {
        return None;
    }
    if let Some(proposed) = propose(experiment, &look.assessments, now, replica) {
        return Some(proposed);
    }
    let next = Next {
        experiment,
        look,
        now,
    };
    next.blind()
        .or_else(|| next.too_late())
        .or_else(|| next.settled())
}

/// The same at the least cost: `look` is asked for everything (true) only where `wanted`, or where a cheap look (false)
/// finds something to do. Whatever is done rests on a whole look, so that harm that is proved comes first.
#[must_use]
pub fn next_step(
    experiment: &Experiment,
    look: impl Fn(bool) -> Look,
    wanted: bool,
    now: Timestamp,
    replica: &str,
) -> Option<(Origin, Command)> {
    if !wanted && step(experiment, &look(false), now, replica).is_none() {
        return None;
    }
    step(experiment, &look(true), now, replica)
}

fn present_stage(experiment: &Experiment) -> Option<(&RolloutPlan, &Stage)> {
    let plan = experiment.spec.rollout.as_ref()?;
    Some((plan, plan.stage(experiment.stage())?))
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// A length of time for people, in whole seconds.
fn shown(duration: Duration) -> String {
    duration_text::format(Duration::from_secs(duration.as_secs()))
}

struct Next<'a> {
    experiment: &'a Experiment,
    look: &'a Look,
    now: Timestamp,
}

impl Next<'_> {
    fn command(&self, reason: impl Into<String>, command: Command) -> (Origin, Command) {
        (Origin::new(ACTOR, reason), command)
    }

    fn freeze(&self, reason: String, cause: FreezeCause) -> (Origin, Command) {
        let id = self.experiment.spec.id.clone();
        self.command(reason, Command::FreezeExperiment { id, cause })
    }

    fn hold(&self, cause: HoldCause, reason: String) -> (Origin, Command) {
        let id = self.experiment.spec.id.clone();
        let command = Command::HoldExperiment {
            id,
            cause,
            breach: None,
        };
        self.command(reason, command)
    }

    /// The arm that has been served for longest without a word, if silence means anything here.
    fn silent(&self) -> Option<(&ArmLook, Timestamp)> {
        if !self.experiment.depends_on_outcomes() {
            return None;
        }
        let arms = self.look.arms.iter();
        arms.filter_map(|arm| Some((arm, arm.unreported_since?)))
            .min_by_key(|(_, since)| *since)
    }

    fn blind(&self) -> Option<(Origin, Command)> {
        let (arm, quiet_since) = self.silent()?;
        let quiet = since(quiet_since, self.now);
        (quiet >= self.look.patience.freeze_after).then(|| {
            let reason = format!(
                "`{}` has been served for {} and nothing was reported of it; after {} nobody can know what it does",
                arm.variant,
                shown(quiet),
                shown(self.look.patience.freeze_after)
            );
            let cause = FreezeCause::Blind {
                variant: arm.variant.clone(),
                since: quiet_since,
            };
            self.freeze(reason, cause)
        })
    }

    fn too_late(&self) -> Option<(Origin, Command)> {
        let (plan, stage) = present_stage(self.experiment)?;
        let progress = self.experiment.progress.as_ref()?;
        let waited_for = self.experiment.hold.as_ref().map(|hold| hold.cause);
        let deadline = plan.deadline(stage);
        let spent = self.experiment.in_stage(self.now);
        // A rollout that has come to its end waits for a person for as long as that takes.
        (waited_for != Some(HoldCause::Complete) && spent >= deadline).then(|| {
            let reason = format!(
                "stage {} of {} did not pass within {}: {}",
                progress.stage + 1,
                plan.stages.len(),
                shown(deadline),
                self.experiment
                    .hold
                    .as_ref()
                    .map_or("it was still running", |hold| hold.reason.as_str())
            );
            let cause = FreezeCause::Deadline {
                stage: progress.stage,
                since: progress.since,
                waited_for,
            };
            self.freeze(reason, cause)
        })
    }

    /// Everything that makes the data doubtful, or costs too much; the most serious first.
    fn disturbances(&self) -> Vec<(HoldCause, String)> {
        let mut found = Vec::new();
        if let Some(down) = self.look.store_down_for
            && down >= STORE_PATIENCE
        {
            let reason = format!("outcomes could not be stored for {}", shown(down));
            found.push((HoldCause::StaleStore, reason));
        }
        if let Some((arm, quiet_since)) = self.silent() {
            let quiet = since(quiet_since, self.now);
            if quiet >= self.look.patience.hold_after {
                let reason = format!(
                    "`{}` has been served for {} and nothing was reported of it; after {} it freezes",
                    arm.variant,
                    shown(quiet),
                    shown(self.look.patience.freeze_after)
                );
                found.push((HoldCause::NoData, reason));
            }
        }
        if let Some(Err(alarm)) = &self.look.split {
            found.push((HoldCause::Srm, alarm.clone()));
        }
        if let Some(skew) = &self.look.delay_skew {
            found.push((HoldCause::DelaySkew, skew.clone()));
        }
        found.extend(self.spent().map(|reason| (HoldCause::Budget, reason)));
        found
    }

    fn spent(&self) -> Option<String> {
        let (_, stage) = present_stage(self.experiment)?;
        if self.experiment.progress.as_ref()?.budget_waived {
            return None;
        }
        let budget = &stage.budget;
        let number = self.experiment.stage() + 1;
        self.look.arms.iter().skip(1).find_map(|arm| {
            let name = &arm.variant;
            if let (Some(most), Some(units)) = (budget.max_units, arm.units)
                && units >= most
            {
                return Some(format!(
                    "{units} units have met `{name}`, and stage {number} allows {most}"
                ));
            }
            if let Some(most) = budget.max_requests
                && arm.requests >= most
            {
                let requests = arm.requests;
                return Some(format!(
                    "`{name}` has answered {requests} requests, and stage {number} allows {most}"
                ));
            }
            let most = budget.max_cost_usd.filter(|most| arm.cost_usd >= *most)?;
            let cost = arm.cost_usd;
            Some(format!(
                "`{name}` has cost {cost:.2} USD, and stage {number} allows {most}"
            ))
        })
    }

    /// What the stage still waits for although its time is over; none when it may pass.
    fn waits_for(&self, stage: &Stage) -> Option<(HoldCause, String)> {
        let least = stage.min_outcomes.max(LEAST_OUTCOMES);
        let few = |arm: &&ArmLook| arm.outcomes < least;
        if let Some(arm) = self.look.arms.iter().find(few) {
            let reason = format!(
                "its time is over and `{}` has {} outcomes of the {least} it needs",
                arm.variant, arm.outcomes
            );
            return Some((HoldCause::InsufficientSamples, reason));
        }
        let fresh = self.look.patience.hold_after;
        let stale = |arm: &&ArmLook| arm.last_outcome.is_none_or(|last| since(last, self.now) >= fresh);
        if let Some(arm) = self.look.arms.iter().find(stale) {
            let ago = arm.last_outcome.map_or_else(
                || "never".to_owned(),
                |last| format!("{} ago", shown(since(last, self.now))),
            );
            let reason = format!(
                "its time is over and the last outcome of `{}` came {ago}; it passes on outcomes of the last {}",
                arm.variant,
                shown(fresh)
            );
            return Some((HoldCause::InsufficientSamples, reason));
        }
        let open = self.look.clearances.iter().flatten();
        let open: Vec<String> = open
            .filter_map(|clearance| {
                let still_possible = clearance.verdict.as_ref().err()?;
                Some(format!("{}: {still_possible}", clearance.guardrail))
            })
            .collect();
        (!open.is_empty()).then(|| {
            let reason = format!("its time is over and not ruled out yet is {}", open.join("; "));
            (HoldCause::HarmNotRuledOut, reason)
        })
    }

    /// Once nothing is wrong: out of a hold, into one, or on.
    fn settled(&self) -> Option<(Origin, Command)> {
        let held = self.experiment.hold.as_ref().map(|hold| hold.cause);
        if held.is_some_and(|held| !held.clears_itself()) {
            return None;
        }
        let found = self.disturbances();
        if held.is_some_and(|held| found.iter().any(|(cause, _)| *cause == held)) {
            return None;
        }
        if let Some((cause, reason)) = found.into_iter().next() {
            return Some(self.hold(cause, reason));
        }
        match held {
            None => self.pass(None),
            Some(held) if held.only_waits() => self.pass(Some(held)),
            // Only a whole look can say that units are split as asked again.
            Some(HoldCause::Srm) if self.look.split.is_none() => None,
            Some(held) => {
                let id = self.experiment.spec.id.clone();
                let seen = self.experiment.revision;
                let reason = format!("the cause of the hold is gone: {held}");
                Some(self.command(reason, Command::ClearHold { id, seen }))
            }
        }
    }

    /// On to the next stage, when this one may pass; into a wait, or another one, when its time is over and it may not.
    fn pass(&self, held: Option<HoldCause>) -> Option<(Origin, Command)> {
        let (plan, stage) = present_stage(self.experiment)?;
        let looked = self.look.split.is_some() && self.look.clearances.is_some();
        if !looked || !is_due(self.experiment, self.now) {
            return None;
        }
        if let Some((cause, reason)) = self.waits_for(stage) {
            return (held != Some(cause)).then(|| self.hold(cause, reason));
        }
        let (id, seen) = (self.experiment.spec.id.clone(), self.experiment.revision);
        let evidence = Box::new(self.evidence()?);
        let number = evidence.stage + 1;
        let served = shown(evidence.served);
        Some(if number < plan.stages.len() {
            let reason = format!(
                "stage {number} of {} has passed after {served}",
                plan.stages.len()
            );
            self.command(reason, Command::AdvanceExperiment { id, seen, evidence })
        } else {
            let reason = format!("the last of {number} stages has passed after {served}");
            self.command(reason, Command::CompleteExperiment { id, seen, evidence })
        })
    }

    fn evidence(&self) -> Option<StageEvidence> {
        let progress = self.experiment.progress.as_ref()?;
        let arm = |arm: &ArmLook| StageArm {
            variant: arm.variant.clone(),
            requests: arm.requests,
            outcomes: arm.outcomes,
        };
        let guardrails = self.look.assessments.iter().map(|found| {
            let cleared = self.look.clearances.iter().flatten().find(|clearance| {
                clearance.guardrail == found.name && clearance.variant == found.candidate.variant
            });
            StageGuardrail {
                guardrail: found.name.clone(),
                variant: found.candidate.variant.clone(),
                limit: found.guardrail.limit,
                evidence: found.evidence,
                ruled_out: cleared.and_then(|cleared| cleared.verdict.clone().ok()),
            }
        });
        Some(StageEvidence {
            stage: progress.stage,
            served: Duration::from_secs(progress.served(self.now).as_secs()),
            arms: self.look.arms.iter().map(arm).collect(),
            guardrails: guardrails.collect(),
        })
    }
}
