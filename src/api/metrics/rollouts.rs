//! How far rollouts have come and what they wait for, as series.

use super::families::{Families, Labels};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp,
        experiment::{Experiment, HoldCause},
    },
};

/// Adds the series of every live experiment; those of stages only where its design has some.
pub(super) fn add_to(families: &mut Families, catalog: &Catalog) -> Result<(), prometheus::Error> {
    let experiment: Labels<'_> = &["experiment"];
    let stage = families.gauge(
        "serin_experiment_stage",
        "The stage of the rollout in force, from 1; of a frozen one where it stopped.",
        experiment,
    )?;
    let stages = families.gauge(
        "serin_experiment_stages",
        "How many stages the rollout has.",
        experiment,
    )?;
    let since = families.gauge(
        "serin_experiment_stage_since_timestamp_seconds",
        "When the stage in force began, in seconds since 1970.",
        experiment,
    )?;
    let deadline = families.gauge(
        "serin_experiment_stage_deadline_timestamp_seconds",
        "When the stage in force freezes unless it has passed by then, in seconds since 1970; only where it can.",
        experiment,
    )?;
    let holds = families.gauge(
        "serin_experiment_hold",
        "1 for the cause the experiment holds for, 0 for all others.",
        &["experiment", "cause"],
    )?;
    let held_since = families.gauge(
        "serin_experiment_hold_since_timestamp_seconds",
        "When the hold began, in seconds since 1970; only while there is one.",
        experiment,
    )?;
    let live = catalog.experiments.iter();
    for (id, experiment) in
        live.filter(|(_, experiment)| experiment.state.is_live() && experiment.started.is_some())
    {
        let id = id.as_str();
        if let (Some(plan), Some(progress)) = (&experiment.spec.rollout, &experiment.progress) {
            // A plan that has become shorter than that ends with its last stage.
            let last = plan.stages.len();
            stage.set(&[id], (progress.stage + 1).min(last) as f64);
            stages.set(&[id], last as f64);
            since.set(&[id], unix_seconds(progress.since));
            if let Some(deadline_at) = threatening(experiment) {
                deadline.set(&[id], unix_seconds(deadline_at));
            }
        }
        let held_for = experiment.hold.as_ref().map(|hold| hold.cause);
        for cause in HoldCause::ALL {
            let is = held_for == Some(cause);
            holds.set(&[id, cause.as_str()], f64::from(u8::from(is)));
        }
        if let Some(hold) = &experiment.hold {
            held_since.set(&[id], unix_seconds(hold.since));
        }
    }
    Ok(())
}

/// The deadline, where it can still strike: not after a freeze, and not after the last stage, where a person is waited for.
fn threatening(experiment: &Experiment) -> Option<Timestamp> {
    let complete = experiment
        .hold
        .as_ref()
        .is_some_and(|hold| hold.cause == HoldCause::Complete);
    (experiment.state.splits() && !complete)
        .then(|| experiment.stage_deadline())
        .flatten()
}

fn unix_seconds(moment: Timestamp) -> f64 {
    moment.as_millisecond() as f64 / 1e3
}
