//! The walk through the commits: which of them make versions.
//!
//! Each commit has the files of its first parent and the changes since; what another parent has just so was merged and made
//! nothing new. Only folders that differ are compared, and only files that differ from all parents are read.

use super::{
    file::Place,
    history::{Branch, History, ImportedVersion, short},
    label,
    repository::{Authorship, Change, Commit, Entry, Repository},
};
use crate::{
    definitions::{git::error::GitError, mistake::Mistake},
    domain::{
        check::{LONGEST_NAME, LONGEST_TEXT},
        id::PromptName,
        problem::Problem,
        prompt::{PromptDraft, PromptType},
    },
};
use gix::{ObjectId, objs::tree::EntryKind};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// What is walked.
pub(super) struct Walk<'w> {
    pub(super) repository: &'w Repository,
    /// The prompts' folder; empty for the root.
    pub(super) path: &'w str,
    pub(super) commits: &'w HashMap<ObjectId, Commit>,
    pub(super) convert_braces: bool,
}

/// A file as a commit has it.
#[derive(Debug, Clone)]
struct File {
    content: ObjectId,
    place: Place,
    /// Its place in the history's versions; none where it has a mistake.
    version: Option<usize>,
}

/// The prompts' files of a commit by their paths below the folder. Shared between commits, and copied only where a history
/// forks.
type Files = Arc<BTreeMap<String, File>>;

struct Fold<'w> {
    walk: &'w Walk<'w>,
    /// Of the commits that a later one still asks for.
    files: HashMap<ObjectId, Files>,
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
    fn take(&mut self, commit: ObjectId) -> Files {
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
        let mut parents: Vec<Files> = commit.parents.iter().map(|parent| self.take(*parent)).collect();
        let before = commit
            .parents
            .first()
            .and_then(|first| self.walk.commits[first].folder);
        let mut files = if parents.is_empty() {
            Files::default()
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

    fn apply(
        &mut self,
        commit: ObjectId,
        changes: Vec<Change>,
        files: &mut BTreeMap<String, File>,
        others: &[Files],
    ) -> Result<(), GitError> {
        // All of them are gone before the first one comes, so that a moved file finds where it was.
        let gone: Vec<(String, File)> = changes
            .iter()
            .filter(|change| change.after.is_none())
            .filter_map(|change| files.remove_entry(change.path.as_deref()?))
            .collect();
        let mut authorship = None;
        for change in changes {
            let Some(entry) = change.after else { continue };
            let Some((path, place)) = self.placed(commit, &change, entry) else {
                if let Some(path) = &change.path {
                    files.remove(path);
                }
                continue;
            };
            let earlier: Vec<&File> = std::iter::once(&*files)
                .chain(others.iter().map(|other| &**other))
                .filter_map(|files| files.get(&path))
                .collect();
            if let Some(merged) = earlier.iter().find(|file| file.content == entry.id) {
                let merged = (*merged).clone();
                files.insert(path, merged);
                continue;
            }
            let moved = gone.iter().find(|(_, file)| file.content == entry.id);
            if let Some((from, file)) = moved {
                if (&file.place.name, &file.place.semver) == (&place.name, &place.semver) {
                    files.insert(
                        path,
                        File {
                            place,
                            ..file.clone()
                        },
                    );
                    continue;
                }
                self.renamed(commit, from, file, &place);
            }
            let draft = self.draft(commit, &path, &place, entry.id);
            let same = draft.as_ref().and_then(|draft| {
                let known = earlier.iter().filter_map(|file| file.version);
                known.into_iter().find(|known| {
                    let known = &self.history.versions[*known].draft;
                    (&known.prompt, &known.config) == (&draft.prompt, &draft.config)
                })
            });
            let version = match (draft, same) {
                (Some(_), Some(same)) => Some(same),
                (Some(draft), None) => {
                    let written = match &authorship {
                        Some(written) => written,
                        None => authorship.insert(self.walk.repository.authorship(commit)?),
                    };
                    self.version(commit, &path, &place, draft, written)
                }
                (None, _) => None,
            };
            let content = entry.id;
            files.insert(
                path,
                File {
                    content,
                    place,
                    version,
                },
            );
        }
        Ok(())
    }

    /// The path and what it says, where it is a prompt's.
    fn placed(&mut self, commit: ObjectId, change: &Change, entry: Entry) -> Option<(String, Place)> {
        let place = Place::of(&change.shown)?;
        let wrong = match (&change.path, entry.kind) {
            (None, _) => "the path is not valid UTF-8".to_owned(),
            (_, EntryKind::Link) => "is a symbolic link; only files are imported".to_owned(),
            (_, EntryKind::Commit) => "is a submodule; only files are imported".to_owned(),
            (Some(path), _) => match place {
                Ok(place) => return Some((path.clone(), place)),
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
            let mistake =
                Mistake::located(shown.as_ref(), &Default::default(), Problem::new("type", problem));
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

    fn renamed(&mut self, commit: ObjectId, from: &str, file: &File, to: &Place) {
        // The next version beside the last one is an ordinary day.
        if file.place.name == to.name {
            return;
        }
        let commit = commit.to_string();
        self.history.notices.push(format!(
            "{}: {} was renamed; `{}` goes on as the new prompt `{}`",
            short(&commit),
            self.full_path(from),
            file.place.name,
            to.name
        ));
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

/// The version of each prompt where a branch is.
fn heads(files: &BTreeMap<String, File>) -> BTreeMap<PromptName, usize> {
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
