//! Deploying a version: what stands against it, and who may accept what.
//!
//! The gate stands where a version first meets users: at a deployment, and at the start of an experiment that serves it.
//! A promotion asks for the same evidence again, since somebody may have rejected the version meanwhile; what a person
//! would have to accept, a difference in cost or in variables, was measured by the experiment and is taken as accepted.

use super::{existing_prompt, find_version, resolved};
use crate::{
    control_plane::{catalog::Catalog, decide::Rejection},
    domain::{
        event::Event,
        experiment::{ExperimentSpec, PinnedVersion},
        id::{Environment, ExperimentId, PromptName},
        problem::Problem,
        prompt::{
            Basis, Evidence, Finding, FindingCode, Prompt, ResolvedVersion, Severity, VersionRef,
            validation::{Validation, validate},
        },
    },
};

/// Who asks for a deployment.
#[derive(Debug)]
pub(in super::super) enum Asked<'a> {
    /// A person, with the warnings they accept.
    Person(&'a [String]),
    /// A file, by a label. An open environment follows it, whatever its warnings.
    Label,
    /// An experiment whose candidate won, with what it served.
    Promotion(&'a ExperimentId, Option<&'a PinnedVersion>),
}

/// What stands against deploying a version to an environment now, and what is to be known of it: the same findings that
/// [`Command::DeployPrompt`](crate::domain::command::Command::DeployPrompt) would be refused with.
///
/// # Errors
/// [`Rejection`] when there is no such version.
pub fn deployability(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    version: &VersionRef,
) -> Result<Validation, Rejection> {
    let version = find_version(catalog, name, version)?;
    Ok(match catalog.resolve(name, &version) {
        Ok(resolved) => validation(catalog, name, environment, &resolved),
        Err(error) => {
            let mut unresolved = validate(&version.draft.prompt, &version.draft.config, None);
            let remedy = "register a version that includes what there is";
            unresolved.findings.push(Finding::new(
                FindingCode::Unresolved,
                "prompt",
                error.to_string(),
                remedy,
            ));
            unresolved
        }
    })
}

fn validation(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    resolved: &ResolvedVersion,
) -> Validation {
    let prompt = catalog.prompts.get(name);
    let deployed = prompt.and_then(|prompt| catalog.served(prompt, prompt.deployment(environment)?));
    let content = deployed.as_ref().map(ResolvedVersion::content);
    let mut validation = validate(resolved.content(), &resolved.version.draft.config, content);
    validation
        .findings
        .extend(missing_evidence(catalog, name, environment, resolved));
    validation
}

fn missing_evidence(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    resolved: &ResolvedVersion,
) -> Vec<Finding> {
    let Some(gate) = catalog.gate(environment) else {
        return Vec::new();
    };
    let prompt = catalog.prompts.get(name);
    let record = prompt.and_then(|prompt| prompt.record(resolved.version.number));
    gate.missing(Evidence {
        digest: resolved.digest(),
        evaluation: record.and_then(|record| record.evaluation(resolved.digest())),
        reviews: record.map_or(&[], |record| &record.reviews),
        deployed: prompt
            .and_then(|prompt| prompt.deployed.get(environment))
            .copied(),
    })
}

pub(in super::super) fn deploy(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    reference: &VersionRef,
    asked: &Asked<'_>,
) -> Result<Vec<Event>, Rejection> {
    let version = find_version(catalog, name, reference)?;
    let prompt = existing_prompt(catalog, name)?;
    if matches!(asked, Asked::Label) && prompt.wished.get(environment) == Some(&version.number) {
        return Ok(Vec::new());
    }
    let resolved = match asked {
        // What was tested is what is deployed, wherever the labels inside point by now.
        Asked::Promotion(_, Some(pinned)) => {
            catalog
                .resolve_as(name, &version, &pinned.chosen)
                .map_err(|error| Rejection::Composition {
                    prompt: name.clone(),
                    error,
                })?
        }
        _ => resolved(catalog, name, &version)?,
    };
    let served = |prompt: &Prompt| {
        let deployment = prompt.deployment(environment)?;
        Some(deployment.version == version.number && deployment.digest == resolved.digest())
    };
    if served(prompt) == Some(true) {
        // Nothing changes for anybody; a file's wish is noted all the same.
        return Ok(match asked {
            Asked::Label => vec![deployed(prompt, environment, &resolved, asked, Vec::new())],
            _ => Vec::new(),
        });
    }
    let accepted = accepted(catalog, name, environment, &resolved, asked)?;
    Ok(vec![deployed(prompt, environment, &resolved, asked, accepted)])
}

/// The deployments of a first version: there is nothing else to serve yet, so every open environment gets it.
pub(super) fn first_deployments(
    catalog: &Catalog,
    name: &PromptName,
    resolved: &ResolvedVersion,
    environments: &[Environment],
    asked: &Asked<'_>,
) -> Result<Vec<Event>, Rejection> {
    let open = environments
        .iter()
        .filter(|environment| catalog.gate(environment).is_none());
    open.map(|environment| {
        let accepted = accepted(catalog, name, environment, resolved, asked)?;
        Ok(Event::PromptDeployed {
            prompt: name.clone(),
            environment: environment.clone(),
            version: resolved.version.number,
            previous: None,
            wish: false,
            basis: Box::new(basis(resolved, asked, accepted)),
        })
    })
    .collect()
}

/// The warnings that go along with a deployment.
fn accepted(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    resolved: &ResolvedVersion,
    asked: &Asked<'_>,
) -> Result<Vec<Finding>, Rejection> {
    let findings = validation(catalog, name, environment, resolved).findings;
    let gated = catalog.gate(environment).is_some();
    let passes = |finding: &Finding| match (finding.severity, asked) {
        (Severity::Error, _) => false,
        (Severity::Note, _) | (Severity::Warning, Asked::Promotion(..)) => true,
        (Severity::Warning, Asked::Label) => !gated,
        (Severity::Warning, Asked::Person(accept)) => finding.is_accepted_by(accept),
    };
    let (passed, missing): (Vec<_>, Vec<_>) = findings.into_iter().partition(passes);
    if missing.is_empty() {
        let warnings = passed
            .into_iter()
            .filter(|finding| finding.severity == Severity::Warning);
        return Ok(warnings.collect());
    }
    Err(Rejection::NotDeployable {
        prompt: name.clone(),
        version: resolved.version.number,
        environment: environment.clone(),
        missing,
    })
}

fn deployed(
    prompt: &Prompt,
    environment: &Environment,
    resolved: &ResolvedVersion,
    asked: &Asked<'_>,
    accepted: Vec<Finding>,
) -> Event {
    Event::PromptDeployed {
        prompt: prompt.name.clone(),
        environment: environment.clone(),
        version: resolved.version.number,
        previous: prompt.deployed.get(environment).copied(),
        wish: matches!(asked, Asked::Label),
        basis: Box::new(basis(resolved, asked, accepted)),
    }
}

fn basis(resolved: &ResolvedVersion, asked: &Asked<'_>, accepted: Vec<Finding>) -> Basis {
    Basis {
        digest: Some(resolved.digest().to_owned()),
        chosen: resolved.chosen().to_vec(),
        accepted,
        experiment: match asked {
            Asked::Promotion(id, _) => Some((*id).clone()),
            Asked::Person(_) | Asked::Label => None,
        },
        restores: None,
    }
}

/// What stands against serving the versions of an experiment in its environment: evidence that the gate asks for.
/// `kept` are those it serves already; what is deployed there needs none, it has passed.
pub(in super::super) fn gate_problems(
    catalog: &Catalog,
    spec: &ExperimentSpec,
    pinned: &[PinnedVersion],
    kept: &[PinnedVersion],
) -> Vec<Problem> {
    let Some(prompt) = catalog
        .prompts
        .get(&spec.prompt)
        .filter(|_| catalog.gate(&spec.environment).is_some())
    else {
        return Vec::new();
    };
    let deployed = prompt.deployment(&spec.environment);
    let mut problems = Vec::new();
    for (index, pin) in pinned.iter().enumerate() {
        let is_deployed = deployed
            .is_some_and(|deployment| deployment.version == pin.version && deployment.digest == pin.digest);
        if is_deployed || kept.contains(pin) {
            continue;
        }
        let Some(Ok(resolved)) = prompt
            .numbered(pin.version)
            .map(|version| catalog.resolve_as(&spec.prompt, version, &pin.chosen))
        else {
            continue;
        };
        let missing = missing_evidence(catalog, &spec.prompt, &spec.environment, &resolved);
        for finding in missing
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
        {
            let problem = format!("may not be served in `{}` yet: {finding}", spec.environment);
            problems.push(Problem::new(format!("variants[{index}].version"), problem));
        }
    }
    problems
}
