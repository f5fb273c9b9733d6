//! Labels of branches: `branch-<name>`, within the rule for labels.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// What the labels of branches begin with, so that no branch can be named like an environment.
const PREFIX: &str = "branch-";
/// The longest label.
const LONGEST: usize = 36;
/// The hexadecimal digits that tell branches apart whose labels would be the same.
const MARK: usize = 6;

/// The label of each branch, in their order. Upper case becomes lower case, and whatever a label may not have, slashes
/// first of all, becomes `-`. A name that is too long, or would share its label with another one, ends in six digits of its
/// SHA-256 instead.
pub(super) fn labels(branches: &[&str]) -> Vec<String> {
    let plain: Vec<String> = branches.iter().map(|branch| plain(branch)).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in &plain {
        *uses.entry(name).or_default() += 1;
    }
    let room = LONGEST - PREFIX.len();
    let label = |(branch, name): (&&str, &String)| {
        if name.len() <= room && uses[name.as_str()] == 1 {
            return format!("{PREFIX}{name}");
        }
        // Plain names are ASCII, so any place is between two characters.
        let short = &name[..name.len().min(room - MARK - 1)];
        format!("{PREFIX}{short}-{}", mark(branch))
    };
    branches.iter().zip(&plain).map(label).collect()
}

fn plain(branch: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    };
    branch.chars().map(allowed).collect()
}

fn mark(branch: &str) -> String {
    let digest = Sha256::digest(branch.as_bytes());
    digest[..MARK / 2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Environment;

    #[test]
    fn slashes_and_capitals_are_made_safe() {
        assert_eq!(
            labels(&["main", "feature/Warm-Tone", "v1.2_x", "größer"]),
            [
                "branch-main",
                "branch-feature-warm-tone",
                "branch-v1.2_x",
                "branch-gr--er"
            ]
        );
    }

    #[test]
    fn labels_of_different_branches_differ_and_keep_the_rule() {
        let long = "feature/a-very-long-name-that-goes-on-and-on";
        let longer = format!("{long}-and-on");
        let branches = ["a/b", "a-b", "A-b", long, &longer, "c"];
        let labels = labels(&branches);
        for (index, label) in labels.iter().enumerate() {
            assert!(label.starts_with("branch-"), "{label}");
            assert!(Environment::new(label).is_ok(), "{label}");
            assert!(!labels[..index].contains(label), "{labels:?}");
        }
        // printf a/b | sha256sum
        assert_eq!(labels[0], "branch-a-b-c14cdd");
        assert_eq!(labels[5], "branch-c");
    }

    #[test]
    fn a_mark_belongs_to_the_name_alone() {
        assert_eq!(labels(&["a/b", "a-b"])[0], labels(&["x", "A-b", "a/b"])[2]);
    }
}
