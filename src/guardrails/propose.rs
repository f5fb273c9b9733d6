//! Worst verdict → command, if any.

use super::assess::Assessment;
use crate::domain::{
    Timestamp,
    command::{Command, Origin},
    experiment::{Experiment, FreezeCause, HoldCause},
    guardrail::{Breach, Limit, OnBreach},
};

/// What a breach does: as written, or freeze; for an absolute limit that control breaks as well, hold, because an
/// outage of the provider is not the candidate's fault.
#[must_use]
pub fn action(assessment: &Assessment) -> OnBreach {
    assessment
        .guardrail
        .on_breach
        .unwrap_or(match assessment.guardrail.limit {
            Limit::MaxRate(limit) if assessment.control.rate.is_some_and(|rate| rate > limit) => {
                OnBreach::Hold
            }
            _ => OnBreach::Freeze,
        })
}

/// The most severe command that the breaches call for; none when all is well or everything was done already.
#[must_use]
pub fn propose(
    experiment: &Experiment,
    assessments: &[Assessment],
    now: Timestamp,
    replica: &str,
) -> Option<(Origin, Command)> {
    if !experiment.state.splits() {
        return None;
    }
    let breaches = assessments
        .iter()
        .filter(|assessment| assessment.verdict == crate::domain::guardrail::Verdict::Breach);
    let mut worst: Option<(OnBreach, &Assessment)> = None;
    for assessment in breaches {
        let action = action(assessment);
        let done = match action {
            OnBreach::Freeze => false,
            // A hold that ends by itself is not one that waits for a person.
            OnBreach::Hold => experiment
                .hold
                .as_ref()
                .is_some_and(|hold| !hold.cause.clears_itself()),
            OnBreach::Alert => experiment.alerted.contains(&assessment.name),
        };
        let severer = worst.is_none_or(|(other, earlier)| {
            (severity(action), assessment.evidence) > (severity(other), earlier.evidence)
        });
        if !done && severer {
            worst = Some((action, assessment));
        }
    }
    let (action, assessment) = worst?;
    let breach = Box::new(breach(experiment, assessment, action, now, replica)?);
    let origin = Origin::new(format!("guardrail:{}", assessment.name), in_words(&breach));
    let id = experiment.spec.id.clone();
    let command = match action {
        OnBreach::Freeze => Command::FreezeExperiment {
            id,
            cause: FreezeCause::Guardrail(breach),
        },
        OnBreach::Hold => Command::HoldExperiment {
            id,
            cause: HoldCause::Guardrail,
            breach: Some(breach),
        },
        OnBreach::Alert => Command::RecordAlert { id, breach },
    };
    Some((origin, command))
}

fn severity(action: OnBreach) -> u8 {
    match action {
        OnBreach::Alert => 0,
        OnBreach::Hold => 1,
        OnBreach::Freeze => 2,
    }
}

fn breach(
    experiment: &Experiment,
    assessment: &Assessment,
    action: OnBreach,
    now: Timestamp,
    replica: &str,
) -> Option<Breach> {
    Some(Breach {
        guardrail: assessment.name.clone(),
        limit: assessment.guardrail.limit,
        action,
        control: assessment.control.clone(),
        candidate: assessment.candidate.clone(),
        share: assessment.share,
        log_e: assessment.log_e,
        log_threshold: assessment.log_threshold,
        alpha: assessment.alpha,
        epoch: experiment.epoch(),
        evidence_since: experiment.evidence.as_ref()?.since,
        crossed_at: now,
        replica: replica.to_owned(),
    })
}

/// The breach as a person reads it first.
fn in_words(breach: &Breach) -> String {
    let percent = |rate: Option<f64>| {
        rate.map_or_else(|| "unknown".to_owned(), |rate| format!("{:.2} %", 100.0 * rate))
    };
    let limit = match breach.limit {
        Limit::MaxRatio(limit) => format!("at most {limit} times control's rate"),
        Limit::MaxRate(limit) => format!("at most {}", percent(Some(limit))),
        Limit::MaxExcess(limit) => format!("at most {} more than control", percent(Some(limit))),
    };
    format!(
        "{} of `{}` is {} on {} distinct bad units, of `{}` {} on {}; allowed is {limit}; ln E {:.2} reached {:.2}",
        breach.guardrail,
        breach.candidate.variant,
        percent(breach.candidate.rate),
        breach.candidate.bad_units,
        breach.control.variant,
        percent(breach.control.rate),
        breach.control.bad_units,
        breach.log_e,
        breach.log_threshold,
    )
}
