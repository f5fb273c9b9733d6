//! The order of commits: parents before children, and the same order again when the history has grown.
//!
//! Knows no repository: a graph is whatever names its parents.

use std::{collections::HashSet, hash::Hash};

/// Every commit that the heads reach, once, in the order its versions are numbered in: all of a commit's first parent's
/// history, then what each further parent brought in, then the commit itself; the heads in the order they are given.
///
/// Dates play no part, since clocks of several machines disagree. Because the first parent's whole history comes first, the
/// order of a branch that only grew begins with the order it had before.
///
/// # Errors
/// The first one of `parents`.
pub(super) fn parents_first<Id: Copy + Eq + Hash, E>(
    heads: impl IntoIterator<Item = Id>,
    mut parents: impl FnMut(Id) -> Result<Vec<Id>, E>,
) -> Result<Vec<Id>, E> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    // A list instead of recursion: a history is deeper than any call stack.
    let mut path: Vec<(Id, std::vec::IntoIter<Id>)> = Vec::new();
    for head in heads {
        if seen.insert(head) {
            path.push((head, parents(head)?.into_iter()));
        }
        while let Some((commit, above)) = path.last_mut() {
            match above.next() {
                Some(parent) if seen.insert(parent) => {
                    let above = parents(parent)?.into_iter();
                    path.push((parent, above));
                }
                Some(_) => {}
                None => {
                    order.push(*commit);
                    path.pop();
                }
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(heads: &str, graph: &[(char, &str)]) -> String {
        let parents = |id: char| {
            let (_, above) = graph.iter().find(|(commit, _)| *commit == id).ok_or(id)?;
            Ok::<_, char>(above.chars().collect())
        };
        parents_first(heads.chars(), parents)
            .unwrap()
            .into_iter()
            .collect()
    }

    #[test]
    fn the_first_parents_history_comes_first_and_a_merged_branch_before_its_merge() {
        // a ─ b ─ m ─ c, and a ─ x ─ y merged in m.
        let graph = [
            ('a', ""),
            ('b', "a"),
            ('x', "a"),
            ('y', "x"),
            ('m', "by"),
            ('c', "m"),
        ];
        assert_eq!(order("c", &graph), "abxymc");
        // Before the merge both were heads; what came first then comes first now.
        assert_eq!(order("by", &graph), "abxy");
        assert_eq!(order("by", &graph[..4]), order("m", &graph)[..4]);
    }

    #[test]
    fn a_commit_that_many_reach_comes_once() {
        let crossed = [
            ('a', ""),
            ('b', "a"),
            ('c', "a"),
            ('d', "bc"),
            ('e', "cb"),
            ('f', "de"),
        ];
        assert_eq!(order("f", &crossed), "abcdef");
        assert_eq!(order("fed", &crossed), "abcdef");
        // Two histories without a common root.
        assert_eq!(order("m", &[('a', ""), ('z', ""), ('m', "az")]), "azm");
    }

    #[test]
    fn a_long_history_needs_no_deep_stack() {
        let parents = |id: u32| Ok::<_, ()>(if id == 0 { vec![] } else { vec![id - 1] });
        let order = parents_first([200_000], parents).unwrap();
        assert_eq!((order.len(), order[0], order[200_000]), (200_001, 0, 200_000));
    }
}
