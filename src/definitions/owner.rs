//! Whose files a set of definitions is: who changes things by it, and which experiments stop when their file is gone.
//!
//! The one place where files become actors. A server's own folder and every applied set are owners of their own, told
//! apart by the name in the actor, which the log keeps: so a folder never stops what a set defines, and the other way
//! round. What was made over the API has no owner here and is never stopped by a file that is not there.

use crate::domain::command::{APPLY_ACTOR, FILE_ACTOR, Origin};
use std::path::Path;

/// The longest name of a set.
const LONGEST_NAME: usize = 64;

/// Who speaks through the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owner {
    /// The folders that the server reads itself.
    #[default]
    Folder,
    /// Somebody who applied a set.
    Set {
        /// The set's name, as [`set_name`] allows it.
        name: String,
        /// Who applied it.
        by: String,
        /// Why; empty when nothing was said.
        reason: String,
    },
}

/// Checks the name of a set: it is part of actors, so it has no spaces and no slashes.
///
/// # Errors
/// What is allowed, as text.
///
/// ```
/// assert!(serin::definitions::owner::set_name("config").is_ok());
/// assert!(serin::definitions::owner::set_name("my config").is_err());
/// ```
pub fn set_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "the name of a set must have 1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`, found `{name:.80}`"
    ))
}

impl Owner {
    /// Who asks for what a file says. The paths of a set's files begin with its name.
    pub(super) fn origin(&self, path: &Path, usual: &str) -> Origin {
        match self {
            Self::Folder => Origin::new(format!("{FILE_ACTOR}{}", path.display()), usual),
            Self::Set { by, .. } => Origin::new(
                format!("{by} {APPLY_ACTOR}{}", path.display()),
                self.reason(usual),
            ),
        }
    }

    /// Who stops the experiment of a file that is gone; `file` is as the catalog knows it.
    pub(super) fn deleted(&self, file: &str) -> Origin {
        match self {
            Self::Folder => Origin::new(format!("{FILE_ACTOR}{file}"), "the file was deleted"),
            Self::Set { by, .. } => Origin::new(
                format!("{by} {file}"),
                self.reason("the file is no longer in the set"),
            ),
        }
    }

    /// Whether an experiment's file, as the catalog knows it, is one of these.
    #[must_use]
    pub fn owns(&self, file: &str) -> bool {
        let in_set = file.strip_prefix(APPLY_ACTOR);
        match self {
            Self::Folder => in_set.is_none(),
            Self::Set { name, .. } => in_set
                .and_then(|file| file.strip_prefix(name.as_str()))
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }

    fn reason(&self, usual: &str) -> String {
        match self {
            Self::Set { reason, .. } if !reason.is_empty() => reason.clone(),
            _ => usual.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::file_of;

    #[test]
    fn owners_leave_each_others_experiments_alone() {
        let set = |name: &str| Owner::Set {
            name: name.to_owned(),
            by: "ci".to_owned(),
            reason: String::new(),
        };
        let file_in = |owner: &Owner, path: &str| {
            let actor = owner.origin(Path::new(path), "").actor;
            file_of(&actor).unwrap().to_owned()
        };
        let folder = file_in(&Owner::Folder, "config/experiments/a.toml");
        let applied = file_in(&set("config"), "config/experiments/a.toml");
        assert!(Owner::Folder.owns(&folder) && !Owner::Folder.owns(&applied));
        assert!(set("config").owns(&applied) && !set("config").owns(&folder));
        assert!(!set("conf").owns(&applied) && !set("config2").owns(&applied));
        let gone = set("config").deleted(&applied);
        assert_eq!(gone.actor, "ci apply:config/experiments/a.toml");
        assert_eq!(file_of(&gone.actor), Some(applied.as_str()));
    }
}
