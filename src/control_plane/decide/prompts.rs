//! Versions and what runs where.

use super::Rejection;
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp, check,
        event::Event,
        id::{Environment, PromptName, VersionNumber},
        prompt::{PromptDraft, PromptVersion, VersionRef, composition::references},
    },
};
use std::sync::Arc;

pub(super) fn register(
    catalog: &Catalog,
    name: &PromptName,
    draft: &PromptDraft,
    environments: &[Environment],
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let problems = check::draft_problems(draft);
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: name.to_string(),
            problems,
        });
    }
    let prompt = catalog.prompts.get(name);
    let digest = draft.digest();
    if let Some(prompt) = prompt {
        if let Some(first) = prompt.versions.first() {
            let (fixed, asked) = (first.draft.prompt.prompt_type(), draft.prompt.prompt_type());
            if fixed != asked {
                return Err(Rejection::OtherType {
                    prompt: name.clone(),
                    fixed,
                    asked,
                });
            }
        }
        if let Some(semver) = &draft.semver
            && let Some(version) = prompt.version(&VersionRef::Semver(semver.clone()))
        {
            return if version.digest == digest {
                Ok(Vec::new())
            } else {
                Err(Rejection::Immutable {
                    prompt: name.clone(),
                    semver: semver.clone(),
                })
            };
        }
    }
    let number = VersionNumber(prompt.map_or(1, |prompt| {
        u32::try_from(prompt.versions.len() + 1).unwrap_or(u32::MAX)
    }));
    let version = PromptVersion {
        number,
        draft: draft.clone(),
        digest,
        created_at: now,
        includes: references(&draft.prompt).unwrap_or_default(),
    };
    let key = prompt.map_or_else(|| catalog.next_prompt_key(), |prompt| prompt.key);
    let mut events = vec![Event::PromptRegistered {
        prompt: name.clone(),
        key,
        version: Arc::new(version),
    }];
    // There is nothing else to serve yet.
    if prompt.is_none() {
        events.extend(environments.iter().map(|environment| Event::PromptDeployed {
            prompt: name.clone(),
            environment: environment.clone(),
            version: number,
            previous: None,
            wish: false,
        }));
    }
    Ok(events)
}

pub(super) fn find_version(
    catalog: &Catalog,
    name: &PromptName,
    reference: &VersionRef,
) -> Result<Arc<PromptVersion>, Rejection> {
    let prompt = catalog
        .prompts
        .get(name)
        .ok_or_else(|| Rejection::UnknownPrompt(name.clone()))?;
    prompt.version(reference).cloned().ok_or_else(|| {
        let known = prompt.versions.iter().map(|version| {
            version
                .draft
                .semver
                .as_ref()
                .map_or_else(|| version.number.to_string(), ToString::to_string)
        });
        Rejection::UnknownVersion {
            prompt: name.clone(),
            version: reference.clone(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    })
}

pub(super) fn deploy(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    reference: &VersionRef,
    wish: bool,
) -> Result<Vec<Event>, Rejection> {
    let version = find_version(catalog, name, reference)?.number;
    let prompt = catalog.prompts.get(name);
    let previous = prompt
        .and_then(|prompt| prompt.deployed.get(environment))
        .copied();
    let done = if wish {
        prompt.is_some_and(|prompt| prompt.wished.get(environment) == Some(&version))
    } else {
        previous == Some(version)
    };
    if done {
        return Ok(Vec::new());
    }
    let (prompt, environment) = (name.clone(), environment.clone());
    Ok(vec![Event::PromptDeployed {
        prompt,
        environment,
        version,
        previous,
        wish,
    }])
}
