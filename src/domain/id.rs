//! Typed identifiers: names people write, and the small numbers that stand for them in receipts and cells.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{name}` is not a valid name: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

fn plain(name: &str, longest: usize) -> bool {
    !name.is_empty()
        && name.len() <= longest
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn identifier(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

// Langfuse's rules, so that its clients can address every prompt, and no control characters.
fn prompt_path(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "new"
        && !name.contains('|')
        && !name.contains("//")
        && !name.starts_with('/')
        && !name.ends_with('/')
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// Actors that are no tokens: whoever could call a token so would speak in their name. Those of files and guardrails
/// have a colon, which no name here has.
const RESERVED_ACTORS: [&str; 4] = ["api", "schedule", "settings", "system"];

fn token_name(name: &str) -> bool {
    plain(name, 64)
        && !RESERVED_ACTORS
            .iter()
            .any(|actor| actor.eq_ignore_ascii_case(name))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] with the rule the name breaks.
            pub fn new(name: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(name) {
                    Ok(Self(Arc::from(name)))
                } else {
                    Err(NameError { what: $what, name: name.chars().take(80).collect(), rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

names! {
    /// A token's name: the actor of what its holder does.
    TokenName, "token", token_name,
        "1 to 64 of letters, digits, `.`, `_`, `-`, and not one of the reserved `api`, `schedule`, `settings`, `system`";
    /// A prompt's name; `/` and spaces are fine, as in Langfuse.
    PromptName, "prompt", prompt_path,
        "1 to 255 characters, no `|`, no `//`, no leading or trailing `/` or space, not `new`";
    /// An experiment's id, also the default salt of its assignment.
    ExperimentId, "experiment", |name| plain(name, 128), "1 to 128 of letters, digits, `.`, `_`, `-`";
    /// An arm's name; `deployed` is reserved for answers that no experiment decided.
    VariantName, "variant", |name| plain(name, 64) && name != "deployed",
        "1 to 64 of letters, digits, `.`, `_`, `-`, and not the reserved `deployed`";
    /// A metric's name, as outcomes report it.
    MetricName, "metric", |name| identifier(name, 64), "1 to 64 of letters, digits, `_`, not starting with a digit";
    /// A context attribute's name.
    AttributeName, "attribute", |name| identifier(name, 64),
        "1 to 64 of letters, digits, `_`, not starting with a digit";
    /// An environment, such as `production`: a label that decisions go by.
    Environment, "environment", |name| plain(name, 36) && name != "latest",
        "1 to 36 of letters, digits, `.`, `_`, `-`, and not `latest`";
    /// A movable name of a prompt's version, `latest` and environments included.
    LabelName, "label", |name| plain(name, 36), "1 to 36 of letters, digits, `.`, `_`, `-`";
    /// A layer's name; its experiments exclude each other.
    LayerName, "layer", |name| plain(name, 64), "1 to 64 of letters, digits, `.`, `_`, `-`";
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

numbers! {
    /// The number of an entry in the control log; the first is 1, 0 is the empty log.
    Revision(u64);
    /// A stretch of an experiment with one allocation and one state; 0 before the first start.
    Epoch(u32);
    /// What stands for an experiment in receipts and cells; never reused.
    ExperimentKey(u32);
    /// What stands for a prompt in counters; never reused.
    PromptKey(u32);
    /// A prompt version's number: 1, 2, 3 … per prompt, never reused.
    VersionNumber(u32);
    /// An arm's place in its experiment's list of all arms it ever had; stable across edits.
    ArmIndex(u8);
    /// What stands for a metric's name in receipts' outcomes and cells; one space for all experiments.
    MetricKey(u16);
}

impl ExperimentKey {
    /// Set where a key stands for the deployed versions of a prompt and not for an experiment.
    const DEPLOYED: u32 = 1 << 31;

    /// The key of the experiment that was created after `earlier` others. Never one of [`Self::of_deployed`].
    #[must_use]
    pub fn after(earlier: usize) -> Self {
        let largest = Self::DEPLOYED - 1;
        Self(u32::try_from(earlier).unwrap_or(largest).min(largest))
    }

    /// What stands for the deployed versions of a prompt, outside any experiment, where outcomes are counted.
    #[must_use]
    pub fn of_deployed(prompt: PromptKey) -> Self {
        Self(prompt.0 | Self::DEPLOYED)
    }

    /// The prompt whose deployed versions this stands for; none for an experiment.
    ///
    /// ```
    /// use serin::domain::id::{ExperimentKey, PromptKey};
    /// assert_eq!(ExperimentKey::of_deployed(PromptKey(7)).deployed_prompt(), Some(PromptKey(7)));
    /// assert_eq!(ExperimentKey(7).deployed_prompt(), None);
    /// ```
    #[must_use]
    pub fn deployed_prompt(self) -> Option<PromptKey> {
        // The largest number of all stands for no experiment in records of decisions.
        (self.0 & Self::DEPLOYED != 0 && self.0 != u32::MAX).then_some(PromptKey(self.0 & !Self::DEPLOYED))
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployed_versions_share_no_key_with_an_experiment() {
        for n in [0, 1, 7, (1 << 31) - 2] {
            let key = ExperimentKey::of_deployed(PromptKey(n));
            assert_eq!(key.deployed_prompt(), Some(PromptKey(n)));
        }
        for earlier in [0, 1, (1 << 31) - 1, 1 << 31, usize::MAX] {
            assert_eq!(ExperimentKey::after(earlier).deployed_prompt(), None, "{earlier}");
        }
        assert_eq!(ExperimentKey(u32::MAX).deployed_prompt(), None);
    }

    #[test]
    fn names_keep_their_rules() {
        assert!(PromptName::new("folder/sub prompt é").is_ok());
        for bad in ["", "a|b", "/a", "a/", "a//b", "new", " a", "a\n"] {
            assert!(PromptName::new(bad).is_err(), "{bad:?}");
        }
        assert!(VariantName::new("deployed").is_err());
        assert!(MetricName::new("2nd").is_err());
        assert!(
            ExperimentId::new("a b")
                .unwrap_err()
                .to_string()
                .contains("letters")
        );
    }
}
