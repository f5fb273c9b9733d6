//! Registering a version.

use super::{
    deploy::{Asked, first_deployments},
    resolved,
};
use crate::{
    control_plane::{catalog::Catalog, decide::Rejection},
    domain::{
        Timestamp, check,
        event::Event,
        id::{Environment, PromptName, VersionNumber},
        problem::Problem,
        prompt::{
            Prompt, PromptDraft, PromptVersion, composition::references, content_digest, variables::ambiguous,
        },
    },
};
use std::sync::Arc;

/// The version that a draft is already: the one with its semver, or without one the newest, when the content is the
/// same. To register it again changes nothing.
#[must_use]
pub fn registered<'c>(
    catalog: &'c Catalog,
    name: &PromptName,
    draft: &PromptDraft,
) -> Option<&'c Arc<PromptVersion>> {
    known(catalog.prompts.get(name)?, draft, &draft.digest())
}

fn known<'p>(prompt: &'p Prompt, draft: &PromptDraft, digest: &str) -> Option<&'p Arc<PromptVersion>> {
    let same = match &draft.semver {
        Some(semver) => prompt
            .same_precedence(semver)
            .filter(|version| version.draft.semver.as_ref() == Some(semver)),
        None => prompt.versions.last(),
    };
    same.filter(|version| version.digest == digest)
}

pub(in super::super) fn register(
    catalog: &Catalog,
    name: &PromptName,
    draft: &PromptDraft,
    environments: &[Environment],
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let invalid = |problems| {
        Err(Rejection::InvalidPrompt {
            prompt: name.clone(),
            problems,
        })
    };
    let problems = check::draft_problems(draft);
    if !problems.is_empty() {
        return invalid(problems);
    }
    let prompt = catalog.prompts.get(name).map(Arc::as_ref);
    let digest = content_digest(&draft.prompt, &draft.config);
    if let Some(prompt) = prompt {
        let asked = draft.prompt.prompt_type();
        if let Some(fixed) = prompt.prompt_type().filter(|fixed| *fixed != asked) {
            return Err(Rejection::OtherType {
                prompt: name.clone(),
                fixed,
                asked,
            });
        }
        if known(prompt, draft, &digest).is_some() {
            return Ok(Vec::new());
        }
        if let Some(semver) = draft
            .semver
            .as_ref()
            .filter(|semver| prompt.same_precedence(semver).is_some())
        {
            return Err(Rejection::Immutable {
                prompt: name.clone(),
                semver: semver.clone(),
            });
        }
    }
    let mut draft = draft.clone();
    if let Some(bump) = draft.bump.take() {
        let first = semver::Version::new(1, 0, 0);
        let next = match prompt.and_then(Prompt::highest_release) {
            Some(highest) => bump.after(highest),
            None => Some(first),
        };
        let Some(next) = next else {
            return invalid(vec![Problem::new(
                "bump",
                "the part to count up is at its end; give a `semver`",
            )]);
        };
        draft.semver = Some(next);
    }
    let number = prompt.map_or(0, |prompt| prompt.versions.len()) + 1;
    let version = Arc::new(PromptVersion {
        number: VersionNumber(u32::try_from(number).unwrap_or(u32::MAX)),
        digest,
        created_at: now,
        includes: references(&draft.prompt).unwrap_or_default(),
        draft,
    });
    let resolved = resolved(catalog, name, &version)?;
    let ambiguous = ambiguous(resolved.content());
    if !ambiguous.is_empty() {
        let names: Vec<String> = ambiguous.into_iter().collect();
        let problem = format!(
            "with what it includes, {} is a variable and a placeholder",
            names.join(", ")
        );
        return invalid(vec![Problem::new("prompt", problem)]);
    }
    let mut events = vec![Event::PromptRegistered {
        prompt: name.clone(),
        key: prompt.map_or_else(|| catalog.next_prompt_key(), |prompt| prompt.key),
        version,
    }];
    if prompt.is_none() {
        events.extend(first_deployments(
            catalog,
            name,
            &resolved,
            environments,
            &Asked::Label,
        )?);
    }
    Ok(events)
}
