//! What an import has to do: a history against what is registered already.
//!
//! A registered version is known again by its commit and path, or by its semver with the same content, as when the same
//! files are read by a server too. So a second import does nothing, and a later one only brings what is new.

use super::history::{History, ImportedVersion, short};
use crate::domain::id::PromptName;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where a registered version came from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Origin {
    /// The commit's id, 40 hexadecimal digits.
    pub git_commit: String,
    /// The file, from the root of the repository.
    pub path: String,
}

/// A version that a server has, as far as an import asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Registered {
    /// Its number.
    pub version: u32,
    /// Its semver, if it has one.
    #[serde(default)]
    pub semver: Option<semver::Version>,
    /// The digest of its content.
    #[serde(default)]
    pub digest: String,
    /// The labels that are on it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Where it came from; none for a version that no import registered.
    #[serde(default)]
    pub source: Option<Origin>,
}

/// The versions of each prompt that a server has; prompts it does not know are absent or empty.
pub type Inventory = BTreeMap<PromptName, Vec<Registered>>;

/// What one call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Registers a prompt by its first version.
    First,
    /// Registers the next version.
    Next,
    /// Puts labels on the version with this number, which is there already.
    Label(u32),
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'h> {
    /// What it does.
    pub action: Action,
    /// The version.
    pub version: &'h ImportedVersion,
    /// The semver to register it under; not always the one in its path, see [`plan`].
    pub semver: Option<semver::Version>,
    /// The branches' labels that go on it.
    pub labels: Vec<&'h str>,
}

/// All of it, in the order of the calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan<'h> {
    /// What is to be done.
    pub steps: Vec<Step<'h>>,
    /// How many versions of the history are registered already.
    pub known: usize,
    /// What somebody may not expect.
    pub notices: Vec<String>,
}

/// Where a version of the history is found.
#[derive(Debug, Clone, Copy)]
enum Found<'i> {
    Registered(&'i Registered),
    Planned(usize),
}

/// Compares a history with what is registered. Versions are registered in the history's order; labels that belong on
/// registered versions come last.
///
/// Versions are immutable, so a commit that changes the content of a file named after a semver makes one more version, and
/// since the semver is taken, without it; the same holds for two branches that take one semver for different contents.
/// Whoever comes first in the history keeps it, which is told.
#[must_use]
pub fn plan<'h>(history: &'h History, inventory: &Inventory) -> Plan<'h> {
    let mut plan = Plan::default();
    let mut found = Vec::with_capacity(history.versions.len());
    let mut planned: BTreeMap<&PromptName, Vec<usize>> = BTreeMap::new();
    for version in &history.versions {
        let registered = inventory.get(&version.name).map_or(&[][..], Vec::as_slice);
        let own = planned.entry(&version.name).or_default();
        let place = match known(version, registered, own, &plan.steps) {
            Ok(place) => {
                plan.known += usize::from(matches!(place, Found::Registered(_)));
                place
            }
            Err(taken) => {
                let first = registered.is_empty() && own.is_empty();
                if let Some(by) = &taken {
                    plan.notices.push(notice(version, by));
                }
                let semver = version.draft.semver.clone();
                plan.steps.push(Step {
                    action: if first { Action::First } else { Action::Next },
                    version,
                    semver: semver.filter(|_| taken.is_none()),
                    labels: Vec::new(),
                });
                own.push(plan.steps.len() - 1);
                Found::Planned(plan.steps.len() - 1)
            }
        };
        found.push(place);
    }
    label(history, &found, &mut plan);
    plan
}

/// The version where it is there already; otherwise who has taken its semver, if anybody.
fn known<'i>(
    version: &ImportedVersion,
    registered: &'i [Registered],
    own: &[usize],
    steps: &[Step<'_>],
) -> Result<Found<'i>, Option<String>> {
    let imported = registered.iter().find(|known| {
        let source = known.source.as_ref();
        source.is_some_and(|source| (&source.git_commit, &source.path) == (&version.commit, &version.path))
    });
    if let Some(imported) = imported {
        return Ok(Found::Registered(imported));
    }
    let Some(semver) = &version.draft.semver else {
        return Err(None);
    };
    let same = |other: &semver::Version| other.cmp_precedence(semver).is_eq();
    let digest = version.draft.digest();
    if let Some(taken) = registered
        .iter()
        .find(|known| known.semver.as_ref().is_some_and(same))
    {
        if taken.digest == digest {
            return Ok(Found::Registered(taken));
        }
        return Err(Some(format!("version {} on the server", taken.version)));
    }
    let taken = own
        .iter()
        .find(|step| steps[**step].semver.as_ref().is_some_and(same));
    let Some(&taken) = taken else {
        return Err(None);
    };
    let earlier = steps[taken].version;
    if earlier.draft.digest() == digest {
        return Ok(Found::Planned(taken));
    }
    Err(Some(format!("commit {}", short(&earlier.commit))))
}

fn notice(version: &ImportedVersion, taken_by: &str) -> String {
    let semver = version.draft.semver.as_ref();
    format!(
        "{}:{} gets no semver: {} is taken by {taken_by} with other content, and versions are immutable",
        short(&version.commit),
        version.path,
        semver.map_or_else(String::new, ToString::to_string),
    )
}

fn label<'h>(history: &'h History, found: &[Found<'_>], plan: &mut Plan<'h>) {
    // By number, so that a version gets all of its labels in one call.
    let mut moves: BTreeMap<(&PromptName, u32), usize> = BTreeMap::new();
    for branch in &history.branches {
        for (name, &index) in &branch.heads {
            let step = match found[index] {
                Found::Planned(step) => step,
                Found::Registered(registered) if registered.labels.contains(&branch.label) => continue,
                Found::Registered(registered) => {
                    *moves.entry((name, registered.version)).or_insert_with(|| {
                        plan.steps.push(Step {
                            action: Action::Label(registered.version),
                            version: &history.versions[index],
                            semver: registered.semver.clone(),
                            labels: Vec::new(),
                        });
                        plan.steps.len() - 1
                    })
                }
            };
            plan.steps[step].labels.push(&branch.label);
        }
    }
}
