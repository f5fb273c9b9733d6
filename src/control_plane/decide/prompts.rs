//! Prompts: what may be registered, labelled and deployed.

mod deploy;
mod evidence;
mod labels;
mod register;
mod rollback;

pub use deploy::deployability;
pub(super) use deploy::{Asked, deploy, gate_problems};
pub(super) use evidence::{evaluate, review};
pub use labels::is_environment;
pub(super) use labels::{label, tag};
pub(super) use register::register;
pub use register::registered;
pub(super) use rollback::roll_back;

use super::Rejection;
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        id::PromptName,
        prompt::{Prompt, PromptVersion, ResolvedVersion, VersionRef},
    },
};
use std::sync::Arc;

/// Versions that a refusal names, the newest last.
const MOST_NAMED: usize = 20;

pub(super) fn existing_prompt<'c>(
    catalog: &'c Catalog,
    name: &PromptName,
) -> Result<&'c Arc<Prompt>, Rejection> {
    catalog
        .prompts
        .get(name)
        .ok_or_else(|| Rejection::UnknownPrompt(name.clone()))
}

/// The version of a prompt with this number or semver.
///
/// # Errors
/// [`Rejection`] when there is no such prompt, or no such version; then it names those there are.
pub fn find_version(
    catalog: &Catalog,
    name: &PromptName,
    reference: &VersionRef,
) -> Result<Arc<PromptVersion>, Rejection> {
    let prompt = existing_prompt(catalog, name)?;
    prompt.version(reference).cloned().ok_or_else(|| {
        let skipped = prompt.versions.len().saturating_sub(MOST_NAMED);
        let mut known: Vec<String> = prompt.versions[skipped..]
            .iter()
            .map(|version| version.name())
            .collect();
        if skipped > 0 {
            known.insert(0, format!("{skipped} older ones"));
        }
        Rejection::UnknownVersion {
            prompt: name.clone(),
            version: reference.clone(),
            known: known.join(", "),
        }
    })
}

fn resolved(
    catalog: &Catalog,
    name: &PromptName,
    version: &Arc<PromptVersion>,
) -> Result<ResolvedVersion, Rejection> {
    catalog
        .resolve(name, version)
        .map_err(|error| Rejection::Composition {
            prompt: name.clone(),
            error,
        })
}
