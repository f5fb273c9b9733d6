//! What a repository says: versions in order, where its branches are, and what was wrong.

use crate::{
    definitions::mistake::Mistake,
    domain::{Timestamp, id::PromptName, prompt::PromptDraft},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A version that a commit made.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedVersion {
    /// The commit's id, 40 hexadecimal digits.
    pub commit: String,
    /// When the commit was written, as `git log` shows it; rebasing keeps it.
    pub at: Timestamp,
    /// The file, from the root of the repository.
    pub path: String,
    /// The prompt.
    pub name: PromptName,
    /// The version, with the commit's author as `Name <email>` and the commit's message; both cut to what a version may
    /// have. The semver is the one in the path.
    pub draft: PromptDraft,
}

/// A local branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name, such as `feature/warm`.
    pub name: String,
    /// Its label, such as `branch-feature-warm`.
    pub label: String,
    /// For each prompt at its head the place in [`History::versions`] of the version there: of several files of a prompt the
    /// highest semver. A prompt of which a file has a mistake is not in it.
    pub heads: BTreeMap<PromptName, usize>,
}

/// How much was read, which grows with what changed and not with how many files there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Commits looked at.
    pub commits: usize,
    /// Pairs of folders that differ and were compared.
    pub compared: usize,
    /// Files read and parsed.
    pub files: usize,
}

/// A history, read.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The commit that the ref leads to.
    pub tip: String,
    /// Oldest first: every version comes after those it was made from.
    pub versions: Vec<ImportedVersion>,
    /// By name.
    pub branches: Vec<Branch>,
    /// What is wrong with single files, as `<commit>:<path>`, which `git show` understands. They made no version.
    pub mistakes: Vec<Mistake>,
    /// What somebody may not expect: renamed files.
    pub notices: Vec<String>,
    /// How much was read.
    pub work: Work,
}

/// A commit's id, short enough for people and long enough to be the only one.
#[must_use]
pub fn short(commit: &str) -> &str {
    const DIGITS: usize = 12;
    commit.get(..DIGITS).unwrap_or(commit)
}
