//! The prompts' files as one commit has them.

use super::file::Place;
use crate::domain::id::PromptName;
use gix::ObjectId;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// By their paths below the folder.
pub(super) type Files = BTreeMap<String, File>;

/// Shared between commits, and copied only where a history forks.
pub(super) type SharedFiles = Arc<Files>;

/// A file that is a prompt.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) content: ObjectId,
    pub(super) place: Place,
    /// Its place in the history's versions; none where it has a mistake.
    pub(super) version: Option<usize>,
}

/// The version of each prompt: of several files the highest semver, and of files without one the latest. None of a prompt of
/// which a file has a mistake, since an older version would pass for the one that is there.
pub(super) fn heads(files: &Files) -> BTreeMap<PromptName, usize> {
    let mut heads: BTreeMap<&PromptName, (Option<&semver::Version>, usize)> = BTreeMap::new();
    let mut broken: HashSet<&PromptName> = HashSet::new();
    for file in files.values() {
        let name = &file.place.name;
        let Some(version) = file.version else {
            broken.insert(name);
            continue;
        };
        let found = (file.place.semver.as_ref(), version);
        let highest = heads.entry(name).or_insert(found);
        *highest = found.max(*highest);
    }
    heads.retain(|name, _| !broken.contains(name));
    heads
        .into_iter()
        .map(|(name, (_, version))| (name.clone(), version))
        .collect()
}
