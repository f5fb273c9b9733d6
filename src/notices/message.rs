//! What is told about an entry of the log: as JSON with everything, and as one line for people.

use super::transition;
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp,
        event::{Event, Recorded},
        experiment::{Experiment, State},
        id::{Environment, Epoch, ExperimentId, PromptName, Revision},
    },
};
use serde::Serialize;

/// The longest reason that the line for people repeats.
const MOST_REASON_CHARS: usize = 500;

/// A transition, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// The entry.
    pub(super) revision: Revision,
    /// What happened.
    pub(super) transition: &'static str,
    /// The JSON; the same bytes at every attempt.
    pub(super) body: String,
}

#[derive(Serialize)]
struct Wire<'a> {
    /// The same at every attempt, so that a receiver can tell that it has seen it.
    id: String,
    revision: Revision,
    at: Timestamp,
    actor: &'a str,
    reason: &'a str,
    transition: &'static str,
    experiment: Option<&'a ExperimentId>,
    prompt: Option<&'a PromptName>,
    environment: Option<&'a Environment>,
    /// Since this entry.
    state: Option<State>,
    epoch: Option<Epoch>,
    /// As it stands in the log, with the whole evidence.
    event: &'a Event,
    text: String,
}

impl Message {
    /// What to tell about an entry; none when nobody is told of such. The catalog must have the entry.
    pub(super) fn of(entry: &Recorded, catalog: &Catalog) -> Option<Self> {
        let transition = transition::of(&transition::type_of(&entry.event))?;
        let id = entry.event.experiment();
        let experiment = id.and_then(|id| catalog.experiments.get(id));
        let (prompt, environment) = match &entry.event {
            Event::PromptDeployed {
                prompt, environment, ..
            } => (Some(prompt), Some(environment)),
            _ => (
                experiment.map(|experiment| &experiment.spec.prompt),
                experiment.map(|experiment| &experiment.spec.environment),
            ),
        };
        let then = experiment.map(|experiment| standing(experiment, transition, entry.revision));
        let wire = Wire {
            id: entry.revision.to_string(),
            revision: entry.revision,
            at: entry.at,
            actor: &entry.actor,
            reason: &entry.reason,
            transition,
            experiment: id,
            prompt,
            environment,
            state: then.map(|(state, _)| state),
            epoch: then.map(|(_, epoch)| epoch),
            event: &entry.event,
            text: text(entry, transition, prompt, environment),
        };
        // Names, numbers and text always have a JSON form.
        let body = serde_json::to_string(&wire).ok()?;
        Some(Self {
            revision: entry.revision,
            transition,
            body,
        })
    }
}

/// State and epoch as they were since an entry, however much happened after it.
fn standing(experiment: &Experiment, transition: &str, revision: Revision) -> (State, Epoch) {
    let epochs = experiment.epochs.iter().rev();
    let then = epochs.clone().find(|record| record.revision <= revision);
    let epoch = then.map_or(Epoch(0), |record| record.epoch);
    let state = match then {
        // Waiting for its time begins no epoch.
        _ if transition == "scheduled" => State::Scheduled,
        Some(record) => record.state,
        None => experiment.state,
    };
    (state, epoch)
}

/// One line for a chat.
fn text(
    entry: &Recorded,
    transition: &str,
    prompt: Option<&PromptName>,
    environment: Option<&Environment>,
) -> String {
    let place = match (prompt, environment) {
        (Some(prompt), Some(environment)) => format!(" (prompt `{prompt}`, {environment})"),
        _ => String::new(),
    };
    let happened = match &entry.event {
        Event::PromptDeployed {
            prompt,
            environment,
            version,
            ..
        } => format!("Version {version} of prompt `{prompt}` is deployed to {environment}"),
        event => {
            let id = event.experiment().map(ToString::to_string).unwrap_or_default();
            let verb = match transition {
                "scheduled" => "is scheduled",
                "started" => "has started",
                "advanced" => "has advanced",
                "held" => "is holding",
                "cleared" => "is no longer holding",
                "frozen" => "is frozen",
                "resumed" => "has been resumed",
                "stopped" => "has stopped",
                "promoted" => "is promoted",
                "alerted" => "has a breached guardrail",
                other => other,
            };
            format!("Experiment `{id}` {verb}{place}")
        }
    };
    let (actor, reason) = (one_line(&entry.actor), one_line(&entry.reason));
    if reason.is_empty() {
        return format!("{happened}, by {actor}");
    }
    format!("{happened}, by {actor}: {reason}")
}

/// Text from elsewhere on one line and not too long.
pub(super) fn one_line(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST_REASON_CHARS)
        .collect();
    if text.chars().nth(MOST_REASON_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
