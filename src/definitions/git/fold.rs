//! The walk through the commits: which of them make versions.
//!
//! Each commit has the files of its first parent and the changes since; what another parent has just so was merged and made
//! nothing new. Only folders that differ are compared, and only files that differ from all parents are read.

use super::{
    file::Place,
    files::{File, Files, SharedFiles, heads},
    history::{Branch, History, ImportedVersion, short},
    label,
    repository::{Authorship, Change, Commit, Entry, Repository},
};
use crate::{
    definitions::{document::Lines, git::error::GitError, mistake::Mistake},
    domain::{
        check::{LONGEST_NAME, LONGEST_TEXT},
        id::PromptName,
        problem::Problem,
        prompt::{PromptDraft, PromptType},
    },
};
use gix::{ObjectId, objs::tree::EntryKind};
use std::{collections::HashMap, path::Path, sync::Arc};

/// What is walked.
pub(super) struct Walk<'w> {
    pub(super) repository: &'w Repository,
    /// The prompts' folder; empty for the root.
    pub(super) path: &'w str,
    pub(super) commits: &'w HashMap<ObjectId, Commit>,
    pub(super) convert_braces: bool,
}

struct Fold<'w> {
    walk: &'w Walk<'w>,
    /// Of the commits that a later one still asks for.
    files: HashMap<ObjectId, SharedFiles>,
    /// How many will ask.
    waiting: HashMap<ObjectId, usize>,
    /// The first version of each prompt, which fixes its type.
    types: HashMap<PromptName, (PromptType, usize)>,
    history: History,
}

/// Walks the commits in their order, each after its parents.
///
/// # Errors
/// That the repository cannot be read; mistakes in files are in the history.
pub(super) fn fold(
    walk: &Walk<'_>,
    order: &[ObjectId],
    branches: &[(String, ObjectId)],
) -> Result<History, GitError> {
    let mut waiting: HashMap<ObjectId, usize> = HashMap::new();
    let parents = walk.commits.values().flat_map(|commit| &commit.parents);
    for asked in parents.chain(branches.iter().map(|(_, head)| head)) {
        *waiting.entry(*asked).or_default() += 1;
    }
    let mut fold = Fold {
        walk,
        files: HashMap::new(),
        waiting,
        types: HashMap::new(),
        history: History::default(),
    };
    for commit in order {
        fold.commit(*commit)?;
    }
    fold.history.work.commits = order.len();
    let names: Vec<&str> = branches.iter().map(|(name, _)| name.as_str()).collect();
    let labels = label::labels(&names);
    for ((name, head), label) in branches.iter().zip(labels) {
        let heads = heads(&fold.take(*head));
        let name = name.clone();
        fold.history.branches.push(Branch { name, label, heads });
    }
    Ok(fold.history)
}

impl Fold<'_> {
    /// The files of a commit for one of those that ask; the last one gets them without a copy.
    fn take(&mut self, commit: ObjectId) -> SharedFiles {
        let waiting = self.waiting.get_mut(&commit);
        let last = waiting.is_none_or(|waiting| {
            *waiting = waiting.saturating_sub(1);
            *waiting == 0
        });
        let files = if last {
            self.files.remove(&commit)
        } else {
            self.files.get(&commit).cloned()
        };
        files.unwrap_or_default()
    }

    fn commit(&mut self, id: ObjectId) -> Result<(), GitError> {
        let commit = &self.walk.commits[&id];
        let mut parents: Vec<SharedFiles> = commit.parents.iter().map(|parent| self.take(*parent)).collect();
        let before = commit
            .parents
            .first()
            .and_then(|first| self.walk.commits[first].folder);
        let mut files = if parents.is_empty() {
            SharedFiles::default()
        } else {
            parents.swap_remove(0)
        };
        if before != commit.folder {
            self.history.work.compared += 1;
            let changes = self.walk.repository.changes(before, commit.folder)?;
            let files = Arc::make_mut(&mut files);
            self.apply(id, changes, files, &parents)?;
        }
        if self.waiting.contains_key(&id) {
            self.files.insert(id, files);
        }
        Ok(())
    }

    /// Makes the files of a commit of those of its first parent.
    fn apply(
        &mut self,
        commit: ObjectId,
        changes: Vec<Change>,
        files: &mut Files,
        others: &[SharedFiles],
    ) -> Result<(), GitError> {
        // All of them are gone before the first one comes, so that a moved file finds where it was.
        let gone: Vec<(String, File)> = changes
            .iter()
            .filter(|change| change.after.is_none())
            .filter_map(|change| files.remove_entry(change.path.as_deref()?))
            .collect();
        for change in changes {
            let Some(entry) = change.after else { continue };
            // Whatever comes of it, what was there is there no more.
            let mut earlier: Vec<File> = change.path.iter().filter_map(|path| files.remove(path)).collect();
            let Some((path, place)) = self.placed(commit, change, entry) else {
                continue;
            };
            earlier.extend(others.iter().filter_map(|other| other.get(&path).cloned()));
            let content = entry.id;
            let merged = earlier.iter().find(|file| file.content == content).cloned();
            let file = match merged.or_else(|| self.moved(commit, &gone, &place, content)) {
                Some(file) => file,
                None => File {
                    version: self.made(commit, &path, &place, content, &earlier)?,
                    content,
                    place,
                },
            };
            files.insert(path, file);
        }
        Ok(())
    }

    /// The file that lay elsewhere and is the same prompt still; a file that is another prompt now is told.
    fn moved(
        &mut self,
        commit: ObjectId,
        gone: &[(String, File)],
        to: &Place,
        content: ObjectId,
    ) -> Option<File> {
        let (from, file) = gone.iter().find(|(_, file)| file.content == content)?;
        if file.place.name != to.name {
            let commit = commit.to_string();
            self.history.notices.push(format!(
                "{}: {} was renamed; `{}` goes on as the new prompt `{}`",
                short(&commit),
                self.full_path(from),
                file.place.name,
                to.name
            ));
            return None;
        }
        // The next version, made of the last one's file, is a version of its own.
        (file.place.semver == to.semver).then(|| File {
            place: to.clone(),
            ..file.clone()
        })
    }

    /// The version that a commit makes of a file, or the one that a parent has with the same prompt and config; none where the
    /// file has a mistake.
    fn made(
        &mut self,
        commit: ObjectId,
        path: &str,
        place: &Place,
        content: ObjectId,
        earlier: &[File],
    ) -> Result<Option<usize>, GitError> {
        let Some(draft) = self.draft(commit, path, place, content) else {
            return Ok(None);
        };
        let mut known = earlier.iter().filter_map(|file| file.version);
        let same = known.find(|known| {
            let known = &self.history.versions[*known].draft;
            (&known.prompt, &known.config) == (&draft.prompt, &draft.config)
        });
        if same.is_some() {
            return Ok(same);
        }
        let written = self.walk.repository.authorship(commit)?;
        Ok(self.version(commit, path, place, draft, &written))
    }

    /// The path and what it says, where it is a prompt's.
    fn placed(&mut self, commit: ObjectId, change: Change, entry: Entry) -> Option<(String, Place)> {
        let place = Place::of(&change.shown)?;
        let wrong = match (change.path, entry.kind) {
            (None, _) => "the path is not valid UTF-8".to_owned(),
            (_, EntryKind::Link) => "is a symbolic link; only files are imported".to_owned(),
            (_, EntryKind::Commit) => "is a submodule; only files are imported".to_owned(),
            (Some(path), _) => match place {
                Ok(place) => return Some((path, place)),
                Err(problem) => problem,
            },
        };
        let mistake = Mistake::of_file(self.shown(commit, &change.shown).as_ref(), wrong);
        self.history.mistakes.push(mistake);
        None
    }

    fn draft(
        &mut self,
        commit: ObjectId,
        path: &str,
        place: &Place,
        content: ObjectId,
    ) -> Option<PromptDraft> {
        self.history.work.files += 1;
        let shown = self.shown(commit, path);
        let shown = Path::new(&shown);
        let bytes = self.walk.repository.bytes(content);
        let draft = bytes
            .map_err(|problem| vec![Mistake::of_file(shown, problem)])
            .and_then(|bytes| place.draft(&bytes, shown, self.walk.convert_braces));
        match draft {
            Ok(draft) => Some(draft),
            Err(mistakes) => {
                self.history.mistakes.extend(mistakes);
                None
            }
        }
    }

    fn version(
        &mut self,
        commit: ObjectId,
        path: &str,
        place: &Place,
        mut draft: PromptDraft,
        written: &Authorship,
    ) -> Option<usize> {
        let index = self.history.versions.len();
        let own = draft.prompt.prompt_type();
        let (fixed, first) = *self.types.entry(place.name.clone()).or_insert((own, index));
        if fixed != own {
            let first = &self.history.versions[first];
            let problem = format!(
                "is {own}, but a prompt's type is fixed and {}:{} is {fixed}",
                short(&first.commit),
                first.path
            );
            let shown = self.shown(commit, path);
            let mistake = Mistake::located(shown.as_ref(), &Lines::default(), Problem::new("type", problem));
            self.history.mistakes.push(mistake);
            return None;
        }
        draft.author = Some(cut(&written.author, LONGEST_NAME));
        draft.commit_message = Some(cut(&written.message, LONGEST_TEXT));
        self.history.versions.push(ImportedVersion {
            commit: commit.to_string(),
            at: written.at,
            path: self.full_path(path),
            name: place.name.clone(),
            draft,
        });
        Some(index)
    }

    fn full_path(&self, path: &str) -> String {
        match self.walk.path {
            "" => path.to_owned(),
            folder => format!("{folder}/{path}"),
        }
    }

    fn shown(&self, commit: ObjectId, path: &str) -> String {
        format!("{}:{}", short(&commit.to_string()), self.full_path(path))
    }
}

/// The first so many bytes, on a character's boundary, with an ellipsis where something is missing.
fn cut(text: &str, longest: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(longest - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc…");
        assert_eq!(cut("äöüä", 6), "ä…");
    }
}
