//! Deployments: which version an environment serves, since when, by whom and why.

use super::{composition::LabelChoice, finding::Finding};
use crate::domain::{
    Timestamp,
    id::{Environment, ExperimentId, Revision, VersionNumber},
};
use serde::{Deserialize, Serialize};

/// What a deployment rests on, besides the version's number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The digest of what is served; absent in old logs: the version's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the labels inside meant, so that the same text is served however they move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<LabelChoice>,
    /// The warnings that somebody accepted, or an open environment took along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Finding>,
    /// The experiment whose candidate it is, when it was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentId>,
    /// The deployment that a rollback restores, by its log entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<Revision>,
}

/// A deployment as it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployment {
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Where.
    pub environment: Environment,
    /// The version served since.
    pub version: VersionNumber,
    /// The version served before.
    pub previous: Option<VersionNumber>,
    /// The digest of what is served.
    pub digest: String,
    /// What it rests on.
    #[serde(flatten)]
    pub basis: Basis,
}

impl Deployment {
    /// Whether it is a rollback.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        self.basis.restores.is_some()
    }
}

/// What an environment served at a moment; none before its first deployment. `history` is of one environment, oldest
/// first.
#[must_use]
pub fn running_at<'d>(
    history: impl DoubleEndedIterator<Item = &'d Deployment>,
    at: Timestamp,
) -> Option<&'d Deployment> {
    history.rev().find(|deployment| deployment.at <= at)
}

/// The deployment that a rollback of the last one goes back to: the last one of other content before it came to be
/// served. A rollback is passed over as if what it undid had never been, so that several in a row go further back and
/// never forth.
#[must_use]
pub fn before_last<'d>(history: &[&'d Deployment]) -> Option<&'d Deployment> {
    let mut at = history.len().checked_sub(1)?;
    let now = history[at];
    loop {
        if let Some(restored) = history[at].basis.restores {
            at = history[..at]
                .iter()
                .rposition(|earlier| earlier.revision == restored)?;
        } else {
            at = at.checked_sub(1)?;
        }
        if history[at].digest != now.digest || history[at].version != now.version {
            // What is gone back to is told by the deployment that brought it, and not by a rollback to that.
            let restored = history[at].basis.restores;
            let original =
                restored.and_then(|restored| history.iter().find(|earlier| earlier.revision == restored));
            return Some(original.unwrap_or(&history[at]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deployments of versions, one a second; a pair's second member is the place it restores.
    fn history(steps: &[(u32, Option<u64>)]) -> Vec<Deployment> {
        let deployment = |(index, (version, restores)): (usize, &(u32, Option<u64>))| Deployment {
            revision: Revision(index as u64),
            at: Timestamp::from_second(index as i64).unwrap(),
            actor: "a".into(),
            reason: String::new(),
            environment: Environment::new("production").unwrap(),
            version: VersionNumber(*version),
            previous: None,
            digest: format!("d{version}"),
            basis: Basis {
                restores: restores.map(Revision),
                ..Basis::default()
            },
        };
        steps.iter().enumerate().map(deployment).collect()
    }

    fn back(steps: &[(u32, Option<u64>)]) -> Option<u64> {
        let history = history(steps);
        before_last(&history.iter().collect::<Vec<_>>()).map(|deployment| deployment.revision.0)
    }

    #[test]
    fn rollbacks_in_a_row_go_back_and_never_forth() {
        assert_eq!(back(&[]), None);
        assert_eq!(back(&[(1, None)]), None);
        assert_eq!(back(&[(1, None), (2, None), (3, None)]), Some(1));
        assert_eq!(back(&[(1, None), (2, None), (3, None), (2, Some(1))]), Some(0));
        assert_eq!(
            back(&[(1, None), (2, None), (3, None), (2, Some(1)), (1, Some(0))]),
            None
        );
        assert_eq!(
            back(&[(1, None), (1, None), (2, None), (2, None)]),
            Some(1),
            "the same again is no step"
        );
        assert_eq!(
            back(&[(1, None), (2, None), (1, Some(0)), (3, None)]),
            Some(0),
            "before version 3 came a rollback, which stands for what it restored"
        );
    }

    #[test]
    fn what_was_running_at_a_time() {
        let history = history(&[(1, None), (2, None)]);
        let at =
            |second| running_at(history.iter(), Timestamp::from_second(second).unwrap()).map(|d| d.version.0);
        assert_eq!([at(-1), at(0), at(1), at(9)], [None, Some(1), Some(2), Some(2)]);
    }
}
