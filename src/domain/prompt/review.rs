//! Reviews: two kinds, by different people, neither of them the author.

use super::finding::{Finding, FindingCode};
use crate::domain::{Timestamp, id::Revision};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What a reviewer looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewKind {
    /// Tone, policy, value.
    Product,
    /// Determinism, schema, handling of failures.
    Technical,
}

impl ReviewKind {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 2] = [("product", Self::Product), ("technical", Self::Technical)];
}

impl fmt::Display for ReviewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Product => "product",
            Self::Technical => "technical",
        })
    }
}

/// What a reviewer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewVerdict {
    /// It may go out.
    Approve,
    /// It must not, until the same reviewer approves.
    Reject,
}

impl ReviewVerdict {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 2] = [("approve", Self::Approve), ("reject", Self::Reject)];
}

/// One review of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// What was looked at.
    pub kind: ReviewKind,
    /// What came of it.
    pub verdict: ReviewVerdict,
    /// Who looked.
    pub reviewer: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A review as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewRecord {
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// The digest of what was looked at: an approval is for that content only.
    pub digest: String,
    /// What was said.
    pub review: Review,
}

/// Whether two names are one person: neither case nor surrounding spaces make another one.
///
/// ```
/// use serin::domain::prompt::review::is_same_person;
/// assert!(is_same_person("Ann", " ann "));
/// ```
#[must_use]
pub fn is_same_person(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// What each reviewer said last in one kind of review.
fn last_words(reviews: &[Arc<ReviewRecord>], kind: ReviewKind) -> Vec<&ReviewRecord> {
    let mut last: Vec<&ReviewRecord> = Vec::new();
    for record in reviews.iter().filter(|record| record.review.kind == kind) {
        last.retain(|earlier| !is_same_person(&earlier.review.reviewer, &record.review.reviewer));
        last.push(record);
    }
    last
}

/// Who approves of a content in one kind of review, as things stand.
#[must_use]
pub fn approvers<'r>(reviews: &'r [Arc<ReviewRecord>], kind: ReviewKind, digest: &str) -> Vec<&'r str> {
    let last = last_words(reviews, kind).into_iter();
    let approving =
        last.filter(|record| record.review.verdict == ReviewVerdict::Approve && record.digest == digest);
    approving.map(|record| record.review.reviewer.as_str()).collect()
}

/// What is missing of the reviews that are asked for: a rejection of the version stands until its reviewer approves,
/// an approval counts for its content, and one person stands for one kind.
#[must_use]
pub fn missing_reviews(
    reviews: &[Arc<ReviewRecord>],
    wanted: &BTreeSet<ReviewKind>,
    digest: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut approved: Vec<(ReviewKind, Vec<&str>)> = Vec::new();
    for kind in wanted {
        let rejected = last_words(reviews, *kind);
        for record in rejected
            .iter()
            .filter(|record| record.review.verdict == ReviewVerdict::Reject)
        {
            let comment = record.review.comment.as_deref().unwrap_or("no comment");
            findings.push(Finding::new(
                FindingCode::ReviewRejected,
                kind.to_string(),
                format!("{} rejected it: {comment:.200}", record.review.reviewer),
                format!(
                    "register a better version, or have {} approve this one",
                    record.review.reviewer
                ),
            ));
        }
        let approving = approvers(reviews, *kind, digest);
        if approving.is_empty() {
            findings.push(Finding::new(
                FindingCode::ReviewMissing,
                kind.to_string(),
                format!("has no approval of kind {kind} for this content"),
                format!("have somebody other than the author approve it as {kind}"),
            ));
        } else {
            approved.push((*kind, approving));
        }
    }
    if let [(_, first), (kind, second)] = approved.as_slice()
        && first
            .iter()
            .all(|one| second.iter().all(|other| is_same_person(one, other)))
    {
        findings.push(Finding::new(
            FindingCode::ReviewMissing,
            kind.to_string(),
            format!(
                "both approvals are by {}",
                first.first().copied().unwrap_or_default()
            ),
            format!("have another person approve it as {kind}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews(given: &[(&str, &str, &str, &str)]) -> Vec<Arc<ReviewRecord>> {
        given
            .iter()
            .enumerate()
            .map(|(index, (reviewer, kind, verdict, digest))| {
                let word = |word: &str| serde_json::Value::String(word.to_owned());
                Arc::new(ReviewRecord {
                    revision: Revision(index as u64),
                    at: Timestamp::default(),
                    digest: (*digest).to_owned(),
                    review: Review {
                        kind: serde_json::from_value(word(kind)).unwrap(),
                        verdict: serde_json::from_value(word(verdict)).unwrap(),
                        reviewer: (*reviewer).to_owned(),
                        comment: None,
                    },
                })
            })
            .collect()
    }

    #[test]
    fn two_people_and_nobody_against() {
        let both = ReviewKind::ALL.map(|(_, kind)| kind).into();
        for (given, expected) in [
            (
                &[][..],
                vec!["review_missing:product", "review_missing:technical"],
            ),
            (
                &[
                    ("a", "product", "approve", "d"),
                    ("b", "technical", "approve", "d"),
                ],
                vec![],
            ),
            (
                &[
                    ("a", "product", "approve", "d"),
                    ("A ", "technical", "approve", "d"),
                ],
                vec!["review_missing:technical"],
            ),
            (
                &[
                    ("a", "product", "approve", "d"),
                    ("a", "technical", "approve", "d"),
                    ("b", "product", "approve", "d"),
                ],
                vec![],
            ),
            (
                &[
                    ("a", "product", "approve", "old"),
                    ("b", "technical", "approve", "d"),
                ],
                vec!["review_missing:product"],
            ),
            (
                &[
                    ("a", "product", "reject", "d"),
                    ("c", "product", "approve", "d"),
                    ("b", "technical", "approve", "d"),
                ],
                vec!["review_rejected:product"],
            ),
            (
                &[
                    ("a", "product", "reject", "d"),
                    ("a", "product", "approve", "d"),
                    ("b", "technical", "approve", "d"),
                ],
                vec![],
            ),
            (
                &[
                    ("a", "product", "reject", "old"),
                    ("c", "product", "approve", "d"),
                    ("b", "technical", "approve", "d"),
                ],
                vec!["review_rejected:product"],
            ),
        ] {
            let found = missing_reviews(&reviews(given), &both, "d");
            let found: Vec<String> = found.iter().map(|f| format!("{}:{}", f.code, f.place)).collect();
            assert_eq!(found, expected, "{given:?}");
        }
    }
}
