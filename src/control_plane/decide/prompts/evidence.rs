//! Evidence for a version: evaluations of its content, and what reviewers say.

use super::{existing_prompt, find_version, resolved};
use crate::{
    control_plane::{catalog::Catalog, decide::Rejection},
    domain::{
        check::{LONGEST_NAME, LONGEST_TEXT},
        event::Event,
        id::PromptName,
        problem::Problem,
        prompt::{
            EvaluationBundle, Review, ReviewKind, ReviewVerdict, VersionRef,
            review::{approvers, is_same_person},
        },
    },
};
use std::sync::Arc;

pub(in super::super) fn evaluate(
    catalog: &Catalog,
    name: &PromptName,
    reference: &VersionRef,
    bundle: &EvaluationBundle,
) -> Result<Vec<Event>, Rejection> {
    let version = find_version(catalog, name, reference)?;
    let mut problems = bundle.problems();
    if let Some(compared) = bundle.compared_with
        && existing_prompt(catalog, name)?.numbered(compared).is_none()
    {
        problems.push(Problem::new(
            "compared_with",
            format!("there is no version {compared}"),
        ));
    }
    if !problems.is_empty() {
        return Err(Rejection::InvalidPrompt {
            prompt: name.clone(),
            problems,
        });
    }
    let resolved = resolved(catalog, name, &version)?;
    let digest = resolved.digest();
    if let Some(evaluated) = bundle.digest.as_ref().filter(|evaluated| *evaluated != digest) {
        return Err(Rejection::OtherContent {
            prompt: name.clone(),
            version: version.number,
            digest: digest.to_owned(),
            evaluated: evaluated.chars().take(64).collect(),
        });
    }
    let mut evaluation = bundle.clone();
    evaluation.digest = Some(digest.to_owned());
    let newest = existing_prompt(catalog, name)?
        .record(version.number)
        .and_then(|record| record.evaluations.last());
    // A run that is reported twice is one run.
    if newest.is_some_and(|newest| newest.bundle == evaluation) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::PromptEvaluated {
        prompt: name.clone(),
        version: version.number,
        evaluation: Arc::new(evaluation),
    }])
}

pub(in super::super) fn review(
    catalog: &Catalog,
    name: &PromptName,
    reference: &VersionRef,
    review: &Review,
) -> Result<Vec<Event>, Rejection> {
    let version = find_version(catalog, name, reference)?;
    let problems = review_problems(review);
    if !problems.is_empty() {
        return Err(Rejection::InvalidPrompt {
            prompt: name.clone(),
            problems,
        });
    }
    let record = existing_prompt(catalog, name)?.record(version.number);
    let registered_by = record.map(|record| record.registered_by.as_ref());
    let own = [version.draft.author.as_deref(), registered_by];
    let reviewer = || review.reviewer.trim().to_owned();
    if own
        .into_iter()
        .flatten()
        .any(|author| is_same_person(author, &review.reviewer))
    {
        return Err(Rejection::OwnVersion {
            prompt: name.clone(),
            version: version.number,
            reviewer: reviewer(),
        });
    }
    let digest = resolved(catalog, name, &version)?.digest().to_owned();
    let reviews = record.map_or(&[][..], |record| &record.reviews);
    let approves = |kind: ReviewKind| {
        let approvers = approvers(reviews, kind, &digest);
        approvers
            .iter()
            .any(|approver| is_same_person(approver, &review.reviewer))
    };
    let other = ReviewKind::ALL
        .into_iter()
        .map(|(_, kind)| kind)
        .find(|kind| *kind != review.kind && approves(*kind));
    if let (ReviewVerdict::Approve, Some(other)) = (review.verdict, other) {
        return Err(Rejection::SameReviewer {
            prompt: name.clone(),
            version: version.number,
            reviewer: reviewer(),
            approved: other,
            asked: review.kind,
        });
    }
    let same_again = reviews.iter().rev().find(|record| {
        record.review.kind == review.kind && is_same_person(&record.review.reviewer, &review.reviewer)
    });
    if same_again.is_some_and(|record| record.digest == digest && record.review == *review) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::PromptReviewed {
        prompt: name.clone(),
        version: version.number,
        digest,
        review: Arc::new(review.clone()),
    }])
}

fn review_problems(review: &Review) -> Vec<Problem> {
    let mut problems = Vec::new();
    if review.reviewer.trim().is_empty() || review.reviewer.len() > LONGEST_NAME {
        let problem = format!("must be a name of 1 to {LONGEST_NAME} bytes");
        problems.push(Problem::new("reviewer", problem));
    }
    if review
        .comment
        .as_ref()
        .is_some_and(|comment| comment.len() > LONGEST_TEXT)
    {
        problems.push(Problem::new(
            "comment",
            format!("may have at most {LONGEST_TEXT} bytes"),
        ));
    }
    let silent = review
        .comment
        .as_ref()
        .is_none_or(|comment| comment.trim().is_empty());
    if review.verdict == ReviewVerdict::Reject && silent {
        problems.push(Problem::new(
            "comment",
            "is required to reject: say what has to change",
        ));
    }
    problems
}
