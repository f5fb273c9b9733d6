//! The same in sentences.

use super::{Entrant, Place, Range};
use crate::domain::{allocation::Holdout, experiment::ExperimentSpec};

/// Who excludes whom and why; nothing for an experiment that meets nobody and has everyone.
pub(super) fn explained(
    group: &[Entrant<'_>],
    places: &[Place],
    deployed: Range,
    everywhere: &[Entrant<'_>],
    holdout: Option<&Holdout>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    let prompt = group.first().map_or("", |spec| spec.prompt.as_str());
    if let [first, ..] = group
        && group.len() > 1
    {
        let ids: Vec<String> = group.iter().map(|spec| format!("`{}`", spec.id)).collect();
        sentences.push(format!(
            "decisions of prompt `{prompt}` in {} ask {} in this order, and the first that takes a unit has it",
            first.environment,
            ids.join(", ")
        ));
    }
    for (index, (spec, place)) in group.iter().zip(places).enumerate() {
        let mut why = Vec::new();
        if let Some(layer) = &spec.layer {
            let [low, high] = layer.slots;
            why.push(format!(
                "has slots [{low}, {high}) of layer `{}`{}",
                layer.name,
                others_of_layer(spec, everywhere)
            ));
        }
        let before: Vec<String> = group[..index]
            .iter()
            .filter(|earlier| meets(earlier, spec))
            .map(|earlier| format!("`{}`", earlier.id))
            .collect();
        if !before.is_empty() {
            why.push(format!(
                "gets what {} before it did not take",
                before.join(" and ")
            ));
        }
        if spec.enrolled < 1.0 {
            why.push(format!("enrols {}", percent(spec.enrolled)));
        }
        if why.is_empty() && holdout.is_none() {
            if group.len() > 1 {
                sentences.push(format!("`{}` takes everyone{}", spec.id, of_audience(spec)));
            }
            continue;
        }
        if why.is_empty() {
            why.push("takes whoever is not held out".to_owned());
        }
        sentences.push(format!(
            "`{}` {}: {} of {}",
            spec.id,
            why.join(", "),
            share(place.gets),
            audience(spec)
        ));
    }
    if let Some(holdout) = holdout {
        sentences.push(format!(
            "holdout `{}` keeps {} of the units out of every experiment",
            holdout.name,
            percent(holdout.share)
        ));
    }
    if !sentences.is_empty() {
        sentences.push(format!("the deployed version has {}", share(deployed)));
    }
    sentences
}

/// What is probably not meant.
pub(super) fn warnings(group: &[Entrant<'_>], places: &[Place]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, (spec, place)) in group.iter().zip(places).enumerate() {
        let id = &spec.id;
        if place.gets.at_most <= 1e-9 {
            let all = group[..index].iter().find(|earlier| {
                earlier.audience.is_none() && earlier.layer.is_none() && earlier.enrolled >= 1.0
            });
            warnings.push(match all {
                Some(earlier) => format!(
                    "`{id}` gets no traffic: `{}` comes before it and takes every unit",
                    earlier.id
                ),
                None if spec.enrolled <= 0.0 => format!("`{id}` gets no traffic: it enrols nobody"),
                None => format!("`{id}` gets no traffic: those before it take every unit"),
            });
        }
        for earlier in &group[..index] {
            if earlier.unit == spec.unit && earlier.salt() == spec.salt() {
                warnings.push(format!(
                    "`{}` and `{id}` have one salt, `{:.80}`: who is enrolled in one is first in the other too, and \
                     their variants are drawn alike",
                    earlier.id,
                    spec.salt()
                ));
            }
            if let (Some(a), Some(b)) = (&earlier.layer, &spec.layer)
                && a.name == b.name
                && earlier.unit != spec.unit
            {
                warnings.push(format!(
                    "`{}` and `{id}` have slots of layer `{}` but randomise `{}` and `{}`: they do not exclude each \
                     other",
                    earlier.id, a.name, earlier.unit, spec.unit
                ));
            }
        }
    }
    warnings
}

/// Whether a unit can be wanted by both, as far as layers tell.
fn meets(earlier: &ExperimentSpec, later: &ExperimentSpec) -> bool {
    match (&earlier.layer, &later.layer) {
        (Some(a), Some(b)) => a.name != b.name || earlier.unit != later.unit || a.overlaps(b),
        _ => true,
    }
}

/// Whom the slots of a layer exclude, on this prompt and on others.
fn others_of_layer(spec: &ExperimentSpec, everywhere: &[Entrant<'_>]) -> String {
    let Some(layer) = &spec.layer else {
        return String::new();
    };
    let others: Vec<String> = everywhere
        .iter()
        .filter(|other| other.id != spec.id && other.unit == spec.unit)
        .filter(|other| other.layer.as_ref().is_some_and(|slots| slots.name == layer.name))
        .map(|other| {
            if other.prompt == spec.prompt {
                format!("`{}`", other.id)
            } else {
                format!("`{}` of prompt `{}`", other.id, other.prompt)
            }
        })
        .collect();
    if others.is_empty() {
        String::new()
    } else {
        format!(", so it shares no unit with {}", others.join(" and "))
    }
}

fn audience(spec: &ExperimentSpec) -> &'static str {
    match spec.audience {
        Some(_) => "its audience",
        None => "all units",
    }
}

fn of_audience(spec: &ExperimentSpec) -> &'static str {
    match spec.audience {
        Some(_) => " of its audience",
        None => "",
    }
}

fn share(range: Range) -> String {
    if range.is_exact() {
        percent(range.at_most)
    } else if range.at_least <= 1e-9 {
        format!("at most {}", percent(range.at_most))
    } else {
        format!("{} to {}", percent(range.at_least), percent(range.at_most))
    }
}

/// A share in per cent, without needless zeros.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}
