//! Designs of experiments: what is wrong with one, and what an edit may change.

use super::{
    Rejection,
    prompts::{find_version, gate_problems},
    steps::{begin, stop},
};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp, check,
        event::Event,
        experiment::{Experiment, ExperimentSpec, PinnedVersion, State, Variant, WantedStatus},
        problem::Problem,
        segment::SegmentAttribute,
    },
    routing::audience::CompiledAudience,
};
use std::sync::Arc;

/// Every mistake of a design, those that need the catalog included.
#[must_use]
pub fn experiment_problems(catalog: &Catalog, spec: &ExperimentSpec) -> Vec<Problem> {
    let mut problems = check::problems(spec);
    if let Some(audience) = &spec.audience
        && let Err(error) = CompiledAudience::compile(audience)
    {
        problems.push(Problem::new("audience", error.to_string()));
    }
    match catalog.prompts.get(&spec.prompt) {
        None => problems.push(Problem::new(
            "prompt",
            Rejection::UnknownPrompt(spec.prompt.clone()).to_string(),
        )),
        Some(prompt) => {
            if !prompt.deployed.contains_key(&spec.environment) {
                let problem = format!(
                    "prompt `{}` is not deployed to `{}`",
                    spec.prompt, spec.environment
                );
                problems.push(Problem::new("environment", problem));
            }
            for (index, variant) in spec.variants.iter().enumerate() {
                if let Err(rejection) = find_version(catalog, &spec.prompt, &variant.version) {
                    problems.push(Problem::new(
                        format!("variants[{index}].version"),
                        rejection.to_string(),
                    ));
                }
            }
        }
    }
    if let Some(layer) = &spec.layer
        && spec.status != WantedStatus::Stopped
    {
        for other in catalog.experiments.values() {
            let overlaps = other
                .spec
                .layer
                .as_ref()
                .is_some_and(|slots| slots.overlaps(layer));
            if other.spec.id != spec.id && other.state.is_live() && overlaps {
                let slots = other.spec.layer.as_ref().map_or([0.0; 2], |layer| layer.slots);
                problems.push(Problem::new(
                    "layer.slots",
                    format!(
                        "overlaps slots [{}, {}] of experiment `{}` in layer `{}`",
                        slots[0], slots[1], other.spec.id, layer.name
                    ),
                ));
            }
        }
    }
    problems
}

pub(super) fn pins(catalog: &Catalog, spec: &ExperimentSpec) -> Result<Vec<PinnedVersion>, Rejection> {
    let pin = |variant: &Variant| {
        let version = find_version(catalog, &spec.prompt, &variant.version)?;
        let resolved = catalog.resolve(&spec.prompt, &version);
        let resolved = resolved.map_err(|error| Rejection::Composition {
            prompt: spec.prompt.clone(),
            error,
        })?;
        Ok(PinnedVersion {
            variant: variant.name.clone(),
            version: version.number,
            digest: resolved.digest().to_owned(),
            chosen: resolved.chosen().to_vec(),
        })
    };
    spec.variants.iter().map(pin).collect()
}

pub(super) fn put(catalog: &Catalog, spec: &ExperimentSpec, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let id = &spec.id;
    let current = catalog.experiments.get(id);
    if current.is_some_and(|current| *current.spec == *spec) {
        return Ok(Vec::new());
    }
    let mut problems = experiment_problems(catalog, spec);
    if let Some(current) = current {
        problems.extend(forbidden_changes(current, spec));
        problems.extend(broken_series(current, spec));
    }
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: id.to_string(),
            problems,
        });
    }
    let shared = Arc::new(spec.clone());
    let Some(current) = current else {
        let key = catalog.next_experiment_key();
        let mut events = vec![Event::ExperimentCreated { key, spec: shared }];
        if spec.status == WantedStatus::Running {
            events.push(begin(catalog, spec, now)?);
        }
        return Ok(events);
    };
    let live = current.state.is_live();
    let mut pinned = if live { pins(catalog, spec)? } else { Vec::new() };
    // While it is frozen everyone has control's version of before, and an edit must not hand out another one under
    // that name. A resume pins what the design says by then. And where an edit names the same version as before, a
    // label that moved inside it must not slip in.
    for pin in &mut pinned {
        if let Some(kept) = current.pinned_version(&pin.variant)
            && (current.state == State::Frozen || kept.version == pin.version)
        {
            pin.clone_from(kept);
        }
    }
    let problems = gate_problems(catalog, spec, &pinned, &current.pinned);
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: id.to_string(),
            problems,
        });
    }
    let mut events = vec![Event::ExperimentChanged { spec: shared, pinned }];
    // Only a changed wish is followed: what a person did since the last edit stays done.
    if spec.status != current.spec.status {
        match (spec.status, current.state) {
            // A freeze outlives every file: only a resume lifts it.
            (_, State::Frozen) => {}
            (WantedStatus::Running, _) if current.freeze.is_some() => {}
            (WantedStatus::Running, _) if !live => events.push(begin(catalog, spec, now)?),
            (WantedStatus::Draft | WantedStatus::Stopped, _) if live => {
                events.extend(stop(current, None)?);
            }
            _ => {}
        }
    }
    Ok(events)
}

/// A live experiment's units must not be reshuffled by an edit.
fn forbidden_changes(current: &Experiment, spec: &ExperimentSpec) -> Vec<Problem> {
    if !current.state.is_live() {
        return Vec::new();
    }
    let old = &current.spec;
    let changed = [
        ("prompt", old.prompt != spec.prompt),
        ("environment", old.environment != spec.environment),
        ("kind", old.kind != spec.kind),
        ("unit", old.unit != spec.unit),
        ("salt", old.salt() != spec.salt()),
    ];
    let changed = changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(field, _)| {
            Problem::new(
                field,
                format!(
                    "cannot change while the experiment is {}: stop it first",
                    current.state
                ),
            )
        });
    let control = old.control().map(|control| &control.name);
    let moved = (spec.control().map(|control| &control.name) != control).then(|| {
        let problem = format!(
            "the control cannot change while the experiment is {}: stop it first",
            current.state
        );
        Problem::new("variants[0].name", problem)
    });
    changed.chain(moved).collect()
}

/// What was counted must keep its meaning: from the first start on segments only grow, and a metric that has a
/// covariate keeps it.
fn broken_series(current: &Experiment, spec: &ExperimentSpec) -> Vec<Problem> {
    if current.started.is_none() {
        return Vec::new();
    }
    const STAYS: &str =
        "since outcomes are counted by it: once an experiment has started, segments can only be added";
    let mut problems = Vec::new();
    for SegmentAttribute { attribute, values } in &current.segments {
        let Some(kept) = spec.segments.get(attribute) else {
            let problem = format!("`{attribute}` cannot be taken out {STAYS}");
            problems.push(Problem::new("segments", problem));
            continue;
        };
        for value in values.iter().filter(|value| !kept.contains(value)) {
            let problem = format!("`{value:.80}` cannot be taken out {STAYS}");
            problems.push(Problem::new(format!("segments.{attribute}"), problem));
        }
    }
    for old in &current.spec.metrics {
        let Some(covariate) = &old.covariate else { continue };
        let place = spec.metrics.iter().position(|metric| metric.name == old.name);
        let Some(place) = place else {
            let problem = format!(
                "`{}` cannot be taken out once the experiment has started, since its outcomes are counted with \
                 covariate `{covariate}`",
                old.name
            );
            problems.push(Problem::new("metrics", problem));
            continue;
        };
        if spec.metrics[place].covariate.as_ref() != Some(covariate) {
            let problem = format!(
                "must stay `{covariate}` once the experiment has started, since outcomes are counted with it; use a \
                 new experiment or a metric of another name"
            );
            problems.push(Problem::new(format!("metrics[{place}].covariate"), problem));
        }
    }
    problems
}
