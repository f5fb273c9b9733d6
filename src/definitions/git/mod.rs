//! Prompt versions out of the history of a local git repository: every commit that changes a prompt's file is a version.
//!
//! Owns how a history becomes an ordered list of versions, which files are prompts, and what an import has to do where some
//! versions are registered already. Branching and merging are git's: a merge that takes a file from either side as it is
//! makes no version, one that mixes both sides makes one. Never writes to the repository, never registers anything and
//! never moves an environment: labels written in files are not followed, a branch is a label `branch-<name>`.
//!
//! In reading order: `repository` is all that knows git; `order` puts commits in order; `file` reads one file; `fold` walks
//! the commits with their `files`; [`history`] is what comes out; [`plan`] compares it with what a server has. Called by the command line.

mod braces;
pub mod error;
mod file;
mod files;
mod fold;
pub mod history;
mod label;
mod order;
pub mod plan;
mod repository;

use error::GitError;
use history::History;
use repository::Repository;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The most commits that are read.
const MOST_COMMITS: usize = 1_000_000;

/// What is to be read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The repository: its work tree, its `.git`, or a bare one.
    pub repository: PathBuf,
    /// A branch, tag or commit, whose history comes first.
    pub reference: String,
    /// The folder with the prompts, from the root of the repository; `.` is the root itself.
    pub path: String,
    /// Whether all local branches are read and labelled; otherwise only the one that `reference` may be.
    pub branches: bool,
    /// Whether `{name}` in texts means the variable `{{name}}`.
    pub convert_braces: bool,
}

/// Reads a history. Files with mistakes are left out and told in [`History::mistakes`]; what to do with the rest is the
/// caller's to decide.
///
/// # Errors
/// Why there is nothing to import at all.
pub fn read(source: &Source) -> Result<History, GitError> {
    let path = folder_path(&source.path)?;
    let repository = Repository::open(&source.repository)?;
    let tip = repository.commit_of(&source.reference)?;
    let mut branches = repository.branches()?;
    if !source.branches {
        let own = source.reference.trim_start_matches("refs/heads/");
        branches.retain(|(name, _)| name == own);
    }
    if repository.has_file(tip, &path)? {
        return Err(GitError::NotAFolder {
            reference: source.reference.clone(),
            path,
        });
    }
    let heads = std::iter::once(tip).chain(branches.iter().map(|(_, commit)| *commit));
    let mut commits = HashMap::new();
    let order = order::parents_first(heads, |id| {
        if commits.len() == MOST_COMMITS {
            return Err(GitError::TooLong(MOST_COMMITS));
        }
        let commit = repository.commit(id, &path)?;
        let parents = commit.parents.clone();
        commits.insert(id, commit);
        Ok(parents)
    })?;
    let reference = || source.reference.clone();
    if commits.values().all(|commit| commit.folder.is_none()) {
        let reference = reference();
        return Err(GitError::NoFolder { reference, path });
    }
    let walk = fold::Walk {
        repository: &repository,
        path: &path,
        commits: &commits,
        convert_braces: source.convert_braces,
    };
    let mut history = fold::fold(&walk, &order, &branches)?;
    history.tip = tip.to_string();
    if history.versions.is_empty() && history.mistakes.is_empty() {
        let reference = reference();
        return Err(GitError::NoPrompts { reference, path });
    }
    Ok(history)
}

/// The path without what means nothing in it; empty for the root.
fn folder_path(written: &str) -> Result<String, GitError> {
    let refused = || GitError::BadPath(written.to_owned());
    if written.is_empty() || Path::new(written).is_absolute() || written.contains('\\') {
        return Err(refused());
    }
    let parts: Vec<&str> = written
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(refused());
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        for (written, path) in [
            ("config/prompts", "config/prompts"),
            ("./a//b/", "a/b"),
            (".", ""),
        ] {
            assert_eq!(folder_path(written).unwrap(), path);
        }
        for bad in ["", "/etc", "../x", "a/../b", "a\\b"] {
            let refused = folder_path(bad).unwrap_err().to_string();
            assert!(refused.contains("from the root of the repository"), "{refused}");
        }
    }
}
