//! Why nothing can be read from a repository.

use std::path::PathBuf;

/// The most branches named in a message.
const MOST_NAMED: usize = 10;

/// Why there is no history to import; what is wrong with single files is a [`Mistake`](crate::definitions::mistake::Mistake).
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The folder is none.
    #[error(
        "`{}` is not a git repository: name the folder that holds `.git`, or a bare repository ({problem})",
        path.display()
    )]
    NotARepository {
        /// As it was named.
        path: PathBuf,
        /// What was found instead.
        problem: String,
    },
    /// Nothing was committed yet.
    #[error("the repository has no commits yet: commit the prompts first")]
    Empty,
    /// Nothing has this name.
    #[error(
        "`{reference}` is no branch, tag or commit here; branches: {}",
        named(branches)
    )]
    UnknownRef {
        /// As it was named.
        reference: String,
        /// The local branches.
        branches: Vec<String>,
    },
    /// The folder's name is none within a repository.
    #[error(
        "`{0}` must be a folder's path from the root of the repository, such as `config/prompts`, without `..`"
    )]
    BadPath(String),
    /// No commit that is read has the folder.
    #[error("`{reference}` has no folder `{path}`, now or earlier: name the folder that holds the prompts")]
    NoFolder {
        /// The ref.
        reference: String,
        /// The folder.
        path: String,
    },
    /// The path leads to something else.
    #[error("`{path}` is not a folder in `{reference}`: name the folder that holds the prompts")]
    NotAFolder {
        /// The ref.
        reference: String,
        /// The path.
        path: String,
    },
    /// The folder never had a prompt.
    #[error(
        "`{path}` of `{reference}` never had a prompt: one is `<name>/<semver>.toml`, or `<name>` with the ending \
         .md, .txt, .prompt, .toml or .json"
    )]
    NoPrompts {
        /// The ref.
        reference: String,
        /// The folder.
        path: String,
    },
    /// Where a history is cut off, files would seem to come from commits that did not write them.
    #[error(
        "the repository is a shallow clone, whose history is cut off: run `git fetch --unshallow` in it first"
    )]
    Shallow,
    /// More than is read.
    #[error("the history has more than {0} commits, which is the most that is read")]
    TooLong(usize),
    /// An object is missing or broken.
    #[error(
        "{what} cannot be read ({problem}): `git fsck` says what is wrong; a partial clone lacks files until `git fetch --refetch --no-filter`"
    )]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        problem: String,
    },
}

fn named(branches: &[String]) -> String {
    let mut names = branches.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>();
    if branches.len() > MOST_NAMED {
        names.push(format!("and {} more", branches.len() - MOST_NAMED));
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
