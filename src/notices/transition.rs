//! The names of what is told: a transition is called as its event is, without what it happened to.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Every transition that can be told.
pub const ALL: [&str; 11] = [
    "scheduled",
    "started",
    "advanced",
    "held",
    "cleared",
    "frozen",
    "resumed",
    "stopped",
    "promoted",
    "alerted",
    DEPLOYED,
];

/// A version began to be served in an environment: no step of an experiment, so only told to those who ask for it.
pub const DEPLOYED: &str = "deployed";

/// The transition that an event of this type is: `experiment_frozen` is `frozen`; none for what nobody is told.
///
/// ```
/// use serin::notices::transition;
///
/// assert_eq!(transition::of("experiment_frozen"), Some("frozen"));
/// assert_eq!(transition::of("guardrail_alerted"), Some("alerted"));
/// assert_eq!(transition::of("receipt_key_added"), None);
/// ```
#[must_use]
pub fn of(event_type: &str) -> Option<&'static str> {
    let (_, name) = event_type.split_once('_')?;
    ALL.into_iter().find(|known| *known == name)
}

/// The type that something serialised carries, such as `experiment_frozen` of an event; empty when it has none.
pub fn type_of(event: &impl Serialize) -> String {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let json = serde_json::to_string(event).unwrap_or_default();
    serde_json::from_str(&json)
        .map_or_else(|_| String::new(), |tagged: Tagged<'_>| tagged.r#type.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::Event,
        id::{ExperimentId, PromptName, VersionNumber},
    };

    #[test]
    fn events_are_called_by_what_happened() {
        let id = ExperimentId::new("tone").unwrap();
        assert_eq!(
            type_of(&Event::ExperimentScheduled { id }),
            "experiment_scheduled"
        );
        let deployed = Event::PromptDeployed {
            prompt: PromptName::new("p").unwrap(),
            environment: crate::domain::id::Environment::new("production").unwrap(),
            version: VersionNumber(1),
            previous: None,
            wish: false,
            basis: Box::default(),
        };
        assert_eq!(of(&type_of(&deployed)), Some(DEPLOYED));
        for quiet in [
            "prompt_registered",
            "experiment_changed",
            "holdout_changed",
            "",
            "frozen",
        ] {
            assert_eq!(of(quiet), None, "{quiet}");
        }
    }
}
