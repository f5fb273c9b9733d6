//! Labels and tags: names that move, and words that stay with the name.

use super::{existing_prompt, find_version};
use crate::{
    control_plane::{catalog::Catalog, decide::Rejection},
    domain::{
        check,
        event::Event,
        id::{LabelName, PromptName},
        prompt::{ENVIRONMENTS, LATEST, Prompt, VersionRef},
    },
};

/// Whether a label is an environment of a prompt, which only deployments move: one that is there without anybody saying
/// so, one that has a gate, or one that something of the prompt is deployed to.
#[must_use]
pub fn is_environment(catalog: &Catalog, prompt: Option<&Prompt>, label: &str) -> bool {
    ENVIRONMENTS.contains(&label)
        || catalog.gates.contains_key(label)
        || prompt.is_some_and(|prompt| prompt.deployed.contains_key(label))
}

pub(in super::super) fn label(
    catalog: &Catalog,
    name: &PromptName,
    label: &LabelName,
    version: Option<&VersionRef>,
) -> Result<Vec<Event>, Rejection> {
    let prompt = existing_prompt(catalog, name)?;
    let word = label.as_str();
    if word == LATEST {
        return Err(Rejection::ManagedLabel { prompt: name.clone() });
    }
    if is_environment(catalog, Some(prompt), word) {
        return Err(Rejection::ProtectedLabel {
            prompt: name.clone(),
            label: label.clone(),
        });
    }
    let version = version
        .map(|version| find_version(catalog, name, version))
        .transpose()?;
    let version = version.map(|version| version.number);
    let previous = prompt.labels.get(label).copied();
    if version == previous {
        return Ok(Vec::new());
    }
    Ok(vec![Event::PromptLabelled {
        prompt: name.clone(),
        label: label.clone(),
        version,
        previous,
    }])
}

pub(in super::super) fn tag(
    catalog: &Catalog,
    name: &PromptName,
    tags: &[String],
) -> Result<Vec<Event>, Rejection> {
    let prompt = existing_prompt(catalog, name)?;
    let problems = check::tag_problems(tags);
    if !problems.is_empty() {
        return Err(Rejection::InvalidPrompt {
            prompt: name.clone(),
            problems,
        });
    }
    if prompt.tags == tags {
        return Ok(Vec::new());
    }
    Ok(vec![Event::PromptTagged {
        prompt: name.clone(),
        tags: tags.to_vec(),
    }])
}
