//! A local git repository, as far as an import reads it. Writes nothing, starts nothing, and asks nobody: settings of the
//! user, of the machine and of the environment are not read.

use super::{error::GitError, file};
use crate::domain::Timestamp;
use gix::{
    ObjectId,
    bstr::ByteSlice as _,
    diff::tree::recorder,
    objs::{TreeRefIter, tree::EntryKind},
};
use std::{error::Error, path::Path};

/// What is kept of trees, in bytes: the trees of one commit are those of the next, but for a few.
const OBJECT_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A repository that can be read.
pub(super) struct Repository(gix::Repository);

/// A commit among the others.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) parents: Vec<ObjectId>,
    /// The prompts' folder; none where the commit has no such folder.
    pub(super) folder: Option<ObjectId>,
}

/// Who wrote a commit, when, and why.
#[derive(Debug, Clone)]
pub(super) struct Authorship {
    pub(super) author: String,
    pub(super) message: String,
    pub(super) at: Timestamp,
}

/// A file that two folders do not have alike.
#[derive(Debug)]
pub(super) struct Change {
    /// Below the folder; none where it is not valid UTF-8.
    pub(super) path: Option<String>,
    /// For people.
    pub(super) shown: String,
    /// In the later folder; none where it is gone.
    pub(super) after: Option<Entry>,
}

/// What a folder has under a name that is no folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: ObjectId,
    pub(super) kind: EntryKind,
}

impl Repository {
    /// # Errors
    /// [`GitError::NotARepository`], [`GitError::Shallow`].
    pub(super) fn open(path: &Path) -> Result<Self, GitError> {
        let refused = |problem: String| GitError::NotARepository {
            path: path.to_owned(),
            problem,
        };
        let opened = gix::open_opts(path, gix::open::Options::isolated());
        let mut repository = opened.map_err(|error| refused(words(&error)))?;
        repository.object_cache_size_if_unset(OBJECT_CACHE_BYTES);
        if repository.is_shallow().map_err(|error| refused(words(&error)))? {
            return Err(GitError::Shallow);
        }
        Ok(Self(repository))
    }

    /// The commit that a branch, a tag, a full ref or a commit's id, possibly shortened, leads to.
    ///
    /// # Errors
    /// [`GitError::UnknownRef`], or [`GitError::Empty`] where no branch has a commit.
    pub(super) fn commit_of(&self, reference: &str) -> Result<ObjectId, GitError> {
        if let Ok(Some(mut found)) = self.0.try_find_reference(reference)
            && let Ok(commit) = found.peel_to_commit()
        {
            return Ok(commit.id);
        }
        let short = gix::hash::Prefix::from_hex(reference).ok();
        let found = short.and_then(|short| self.0.objects.lookup_prefix(short, None).ok().flatten());
        if let Some(Ok(id)) = found
            && self.0.find_commit(id).is_ok()
        {
            return Ok(id);
        }
        let branches = self.branches()?;
        if branches.is_empty() {
            return Err(GitError::Empty);
        }
        Err(GitError::UnknownRef {
            reference: reference.to_owned(),
            branches: branches.into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// The local branches by name, and where they are.
    ///
    /// # Errors
    /// [`GitError::Unreadable`].
    pub(super) fn branches(&self) -> Result<Vec<(String, ObjectId)>, GitError> {
        let unreadable = |error: gix::Error| unreadable("the list of branches".to_owned(), &error);
        let references = self.0.references().map_err(unreadable)?;
        let mut branches = Vec::new();
        for branch in references.local_branches().map_err(unreadable)? {
            let mut branch = branch.map_err(unreadable)?;
            let name = branch.name().shorten().to_str_lossy().into_owned();
            let commit = branch.peel_to_commit();
            let commit = commit.map_err(|error| unreadable_named("branch", &name, &error))?;
            branches.push((name, commit.id));
        }
        branches.sort();
        Ok(branches)
    }

    /// A commit's parents, and the folder at a path; the root where the path is empty.
    ///
    /// # Errors
    /// [`GitError::Unreadable`].
    pub(super) fn commit(&self, id: ObjectId, path: &str) -> Result<Commit, GitError> {
        let unreadable = |error: gix::Error| unreadable_named("commit", &id.to_string(), &error);
        let commit = self.0.find_commit(id).map_err(unreadable)?;
        let entry = self.entry(&commit, path).map_err(unreadable)?;
        Ok(Commit {
            parents: commit.parent_ids().map(gix::Id::detach).collect(),
            folder: entry
                .filter(|entry| entry.kind == EntryKind::Tree)
                .map(|entry| entry.id),
        })
    }

    /// Whether a commit has something at a path that is no folder.
    ///
    /// # Errors
    /// [`GitError::Unreadable`].
    pub(super) fn has_file(&self, id: ObjectId, path: &str) -> Result<bool, GitError> {
        let unreadable = |error: gix::Error| unreadable_named("commit", &id.to_string(), &error);
        let commit = self.0.find_commit(id).map_err(unreadable)?;
        let entry = self.entry(&commit, path).map_err(unreadable)?;
        Ok(entry.is_some_and(|entry| entry.kind != EntryKind::Tree))
    }

    fn entry(&self, commit: &gix::Commit<'_>, path: &str) -> Result<Option<Entry>, gix::Error> {
        let tree = commit.tree()?;
        if path.is_empty() {
            let (id, kind) = (tree.id, EntryKind::Tree);
            return Ok(Some(Entry { id, kind }));
        }
        let found = tree.lookup_entry(path.split('/'))?;
        Ok(found.map(|found| Entry {
            id: found.object_id(),
            kind: found.mode().kind(),
        }))
    }

    /// Who wrote a commit. A name or message of another encoding is read as UTF-8 as well as it can be.
    ///
    /// # Errors
    /// [`GitError::Unreadable`], also for a date that is none.
    pub(super) fn authorship(&self, id: ObjectId) -> Result<Authorship, GitError> {
        let what = || format!("commit {id}");
        let commit = self
            .0
            .find_commit(id)
            .map_err(|error| unreadable(what(), &error))?;
        let author = commit.author().map_err(|error| unreadable(what(), &error))?;
        let (name, email) = (author.name.to_str_lossy(), author.email.to_str_lossy());
        let at = Timestamp::from_second(author.seconds()).map_err(|error| unreadable(what(), &error))?;
        let message = commit.message_raw().map_err(|error| unreadable(what(), &error))?;
        Ok(Authorship {
            author: format!("{name} <{email}>"),
            message: message.to_str_lossy().trim().to_owned(),
            at,
        })
    }

    /// The files that differ between two folders, by path; an absent folder is an empty one.
    ///
    /// # Errors
    /// [`GitError::Unreadable`].
    pub(super) fn changes(
        &self,
        before: Option<ObjectId>,
        after: Option<ObjectId>,
    ) -> Result<Vec<Change>, GitError> {
        let tree = |id: Option<ObjectId>| {
            let Some(id) = id else {
                return Ok(self.0.empty_tree());
            };
            let found = self.0.find_tree(id);
            found.map_err(|error| unreadable_named("folder", &id.to_string(), &error))
        };
        let (before, after) = (tree(before)?, tree(after)?);
        let mut recorder = gix::diff::tree::Recorder::default();
        gix::diff::tree(
            TreeRefIter::from_bytes(&before.data, before.id.kind()),
            TreeRefIter::from_bytes(&after.data, after.id.kind()),
            gix::diff::tree::State::default(),
            &self.0.objects,
            &mut recorder,
        )
        .map_err(|error| unreadable("a folder".to_owned(), &error))?;
        let mut changes: Vec<Change> = recorder.records.into_iter().filter_map(change).collect();
        changes.sort_by(|a, b| a.shown.cmp(&b.shown));
        Ok(changes)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// In words, for this file alone: too large, or missing.
    pub(super) fn bytes(&self, id: ObjectId) -> Result<Vec<u8>, String> {
        let missing = |error: gix::Error| {
            let problem = words(&error);
            format!(
                "its content is not in the repository ({problem}); a partial clone gets it with `git fetch --refetch --no-filter`"
            )
        };
        let size = self.0.find_header(id).map_err(missing)?.size();
        if let Some(problem) = file::too_large(size) {
            return Err(problem);
        }
        let mut blob = self.0.find_blob(id).map_err(missing)?;
        Ok(blob.take_data())
    }
}

fn change(record: recorder::Change) -> Option<Change> {
    let (path, mode, after) = match record {
        recorder::Change::Deletion { entry_mode, path, .. } => (path, entry_mode, None),
        recorder::Change::Addition {
            entry_mode,
            oid,
            path,
            ..
        }
        | recorder::Change::Modification {
            entry_mode,
            oid,
            path,
            ..
        } => (path, entry_mode, Some(oid)),
    };
    // Of folders only what is in them counts.
    let kind = mode.kind();
    (kind != EntryKind::Tree).then(|| Change {
        path: path.to_str().ok().map(str::to_owned),
        shown: path.to_str_lossy().into_owned(),
        after: after.map(|id| Entry { id, kind }),
    })
}

fn unreadable_named(kind: &str, name: &str, error: &dyn Error) -> GitError {
    unreadable(format!("{kind} {name}"), error)
}

fn unreadable(what: String, error: &dyn Error) -> GitError {
    let problem = words(error);
    GitError::Unreadable { what, problem }
}

/// An error with what caused it.
fn words(error: &dyn Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(deeper) = cause {
        words.push(deeper.to_string());
        cause = deeper.source();
    }
    words.dedup();
    words.join(": ")
}
