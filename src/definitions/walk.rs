//! Finds definition files in a folder: the one answer to "which files are these" for loading and for watching.
//!
//! Never opens a file, and never takes a folder it cannot list for an empty one.

use super::mistake::Mistake;
use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
};

/// The deepest folder below the first: a prompt's name rarely has more than three parts.
const DEEPEST: usize = 16;
/// The most entries looked at in one walk; links to folders may repeat them without end.
const MOST_ENTRIES: usize = 200_000;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The folder itself.
    Flat,
    /// Folders in it, and links to folders, as well.
    Recursive,
}

/// A definition file, or a folder or link that has the name of one.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Of the file a link leads to; an error where it leads nowhere.
    pub(super) metadata: io::Result<Metadata>,
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Walk {
    /// By path.
    pub(super) files: Vec<Found>,
    pub(super) mistakes: Vec<Mistake>,
    entries: usize,
}

/// All definition files of a folder, and what could not be listed.
pub(super) fn definition_files(dir: &Path, depth: Depth) -> Walk {
    let mut walk = Walk::default();
    walk.folder(dir, depth, &mut Vec::new());
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    walk
}

impl Walk {
    fn folder(&mut self, dir: &Path, depth: Depth, above: &mut Vec<PathBuf>) {
        let listed = fs::canonicalize(dir).and_then(|real| Ok((real, fs::read_dir(dir)?)));
        let (real, entries) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let problem = format!("the folder cannot be read: {error}");
                return self.mistakes.push(Mistake::of_file(dir, problem));
            }
        };
        // A link to a folder above leads to nothing new.
        if above.contains(&real) {
            return;
        }
        if above.len() > DEEPEST {
            let problem = format!("folders may be nested at most {DEEPEST} deep");
            return self.mistakes.push(Mistake::of_file(dir, problem));
        }
        above.push(real);
        for entry in entries {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                // Told once: the walk ends in every folder above as well.
                if self.entries == MOST_ENTRIES + 1 {
                    let problem = format!("the walk met more than {MOST_ENTRIES} files and folders");
                    self.mistakes.push(Mistake::of_file(dir, problem));
                }
                break;
            }
            match entry {
                Ok(entry) => self.entry(entry.path(), depth, above),
                Err(error) => {
                    let problem = format!("the folder cannot be read: {error}");
                    self.mistakes.push(Mistake::of_file(dir, problem));
                }
            }
        }
        above.pop();
    }

    fn entry(&mut self, path: PathBuf, depth: Depth, above: &mut Vec<PathBuf>) {
        if is_hidden(&path) {
            return;
        }
        if path.extension() == Some(OsStr::new("toml")) {
            let metadata = fs::metadata(&path);
            self.files.push(Found { path, metadata });
        } else if depth == Depth::Recursive && path.is_dir() {
            self.folder(&path, depth, above);
        }
    }
}

/// Names that begin with a dot: editors' own files, and `..data`, behind which Kubernetes keeps the real ones.
/// Names such as `a.toml~`, `a.toml.swp` and `a.toml.tmp` do not end in `.toml` and need no rule.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
