//! Experiments that meet: who comes first, who excludes whom, and how much traffic is left.
//!
//! Owns the arithmetic of the walk over several experiments, without a single unit: enrolments, layers and holdouts are
//! independent draws, the slots of one layer are one draw, and a unit that an experiment does not take goes to the next.
//! The shares are exact where audiences are absent or the same; an audience is a predicate about which nothing is known
//! here, so where they differ a share is a range. Decides nothing and stops nothing. Called by `serin validate` and by
//! the plan of an apply.

mod words;

use crate::{
    control_plane::catalog::Catalog,
    domain::{
        allocation::Holdout,
        experiment::{Experiment, ExperimentSpec, WantedStatus},
        id::{Environment, ExperimentId, LayerName, PromptName},
    },
};
use serde::Serialize;
use std::{collections::BTreeMap, ops::Deref, sync::Arc};

/// The most combinations of shared draws that are added up; with more than these a share is a range.
const MOST_CASES: usize = 4_096;

/// A share that may not be known exactly: both ends are the same where it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// It is not less than this.
    pub at_least: f64,
    /// It is not more than this.
    pub at_most: f64,
}

/// The experiments of one prompt in one environment, in the order of the walk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meeting {
    /// The prompt.
    pub prompt: PromptName,
    /// The environment.
    pub environment: Environment,
    /// In the order in which a decision asks them.
    pub experiments: Vec<Place>,
    /// The share of all units that gets the deployed version.
    pub deployed: Range,
    /// Who excludes whom and why, in sentences.
    pub explained: Vec<String>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

/// One experiment among others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// Which.
    pub experiment: ExperimentId,
    /// The enrolled share of its audience, if it were alone.
    pub enrolled: f64,
    /// The share of its audience that it gets.
    pub gets: Range,
    /// The share of its audience that layers, the holdout and earlier experiments leave to it, before its enrolment.
    pub reach: Range,
}

impl Range {
    /// Whether both ends are the same for every practical purpose.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.at_most - self.at_least < 1e-9
    }
}

/// An experiment as it takes part in a walk.
#[derive(Clone, Copy)]
struct Entrant<'a> {
    spec: &'a ExperimentSpec,
    /// The enrolled share in its stage.
    enrolled: f64,
}

impl<'a> Entrant<'a> {
    fn at_stage(spec: &'a ExperimentSpec, stage: usize) -> Self {
        Self {
            spec,
            enrolled: spec.enrolled_share(stage),
        }
    }
}

impl Deref for Entrant<'_> {
    type Target = ExperimentSpec;

    fn deref(&self) -> &ExperimentSpec {
        self.spec
    }
}

/// The experiments of a set of files that are to run, by id: files of one set start in that order.
#[must_use]
pub fn of_files<'a>(
    specs: impl IntoIterator<Item = &'a ExperimentSpec>,
    holdout: Option<&Holdout>,
) -> Vec<Meeting> {
    let mut running: Vec<Entrant<'_>> = specs
        .into_iter()
        .filter(|spec| spec.status == WantedStatus::Running)
        .map(|spec| Entrant::at_stage(spec, 0))
        .collect();
    running.sort_by(|a, b| a.id.cmp(&b.id));
    meetings(&running, holdout)
}

/// The experiments of a catalog that take part in decisions, in the order of the walk, and one more at the end if it is
/// not live yet.
#[must_use]
pub fn of_catalog(catalog: &Catalog, joining: Option<&Experiment>) -> Vec<Meeting> {
    let mut live: Vec<&Experiment> = catalog
        .experiments
        .values()
        .map(Arc::as_ref)
        .filter(|experiment| experiment.state.is_live())
        .collect();
    // As the routing table is compiled.
    live.sort_by_key(|experiment| (experiment.started.is_none(), experiment.started, experiment.key));
    live.extend(joining.filter(|joining| !joining.state.is_live()));
    let entrants: Vec<Entrant<'_>> = live
        .iter()
        .map(|experiment| Entrant::at_stage(&experiment.spec, experiment.stage()))
        .collect();
    meetings(&entrants, catalog.holdout.as_ref())
}

/// By prompt and environment; `order` is that of the walk.
fn meetings(order: &[Entrant<'_>], holdout: Option<&Holdout>) -> Vec<Meeting> {
    let mut groups: BTreeMap<(&PromptName, &Environment), Vec<Entrant<'_>>> = BTreeMap::new();
    for spec in order {
        let design = spec.spec;
        groups
            .entry((&design.prompt, &design.environment))
            .or_default()
            .push(*spec);
    }
    groups
        .into_iter()
        .map(|((prompt, environment), group)| {
            let (places, deployed) = shares(&group, holdout);
            Meeting {
                prompt: prompt.clone(),
                environment: environment.clone(),
                explained: words::explained(&group, &places, deployed, order, holdout),
                warnings: words::warnings(&group, &places),
                experiments: places,
                deployed,
            }
        })
        .collect()
}

/// Whether whoever is in the audience of `inner` is in that of `outer` too, as far as anybody can tell.
fn contains(outer: &ExperimentSpec, inner: &ExperimentSpec) -> bool {
    outer.audience.is_none() || outer.audience == inner.audience
}

fn shares(group: &[Entrant<'_>], holdout: Option<&Holdout>) -> (Vec<Place>, Range) {
    let mut places = Vec::with_capacity(group.len());
    for (index, spec) in group.iter().enumerate() {
        let all = group[..=index].to_vec();
        // Earlier experiments with another audience may take all of these units, or none.
        let mut sure = all.clone();
        sure.retain(|earlier| contains(earlier, spec));
        let gets = |walk: &[Entrant<'_>]| taken(walk, holdout).last().copied().unwrap_or(0.0);
        let gets = Range {
            at_least: gets(&all),
            at_most: gets(&sure),
        };
        let enrolled = spec.enrolled;
        let reach = |gets: f64| {
            if enrolled > 0.0 {
                (gets / enrolled).min(1.0)
            } else {
                0.0
            }
        };
        places.push(Place {
            experiment: spec.id.clone(),
            enrolled,
            gets,
            reach: Range {
                at_least: reach(gets.at_least),
                at_most: reach(gets.at_most),
            },
        });
    }
    let left = |walk: &[Entrant<'_>]| 1.0 - taken(walk, holdout).iter().sum::<f64>();
    let everyones: Vec<Entrant<'_>> = group
        .iter()
        .filter(|spec| spec.audience.is_none())
        .copied()
        .collect();
    let deployed = Range {
        at_least: left(group).max(0.0),
        at_most: left(&everyones).max(0.0),
    };
    (places, deployed)
}

/// What a draw is made with: those of one name and one attribute are the same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Draw<'a> {
    Holdout(&'a str),
    Layer(&'a LayerName, &'a str),
    Enrolment(&'a str, &'a str),
}

/// The share of the units that each experiment takes when all of them have one audience: the sum over all cases of the
/// draws, of which an experiment needs several at once and some are shared.
fn taken(walk: &[Entrant<'_>], holdout: Option<&Holdout>) -> Vec<f64> {
    // For each draw the part of [0, 1) that lets a unit into an experiment.
    let mut draws: BTreeMap<Draw<'_>, Vec<(usize, f64, f64)>> = BTreeMap::new();
    for (index, entrant) in walk.iter().enumerate() {
        let spec = entrant.spec;
        let unit = spec.unit.as_str();
        let mut needs = |draw, low, high| draws.entry(draw).or_default().push((index, low, high));
        if let Some(holdout) = holdout {
            needs(Draw::Holdout(unit), holdout.share, 1.0);
        }
        if let Some(layer) = &spec.layer {
            let [low, high] = layer.slots;
            needs(Draw::Layer(&layer.name, unit), low / 100.0, high / 100.0);
        }
        needs(Draw::Enrolment(spec.salt(), unit), 0.0, entrant.enrolled);
    }
    // What only one experiment asks is a factor of its own; cases are made of what several share.
    let mut alone = vec![1.0; walk.len()];
    let mut cases: Vec<(f64, Vec<bool>)> = vec![(1.0, vec![true; walk.len()])];
    for needs in draws.values() {
        if let [(index, low, high)] = needs.as_slice() {
            alone[*index] *= high - low;
            continue;
        }
        let parts = parts(needs, walk.len());
        if cases.len() * parts.len() > MOST_CASES {
            // As if it were drawn anew for each: rough, but nobody has that many layers on one prompt.
            for (index, low, high) in needs {
                alone[*index] *= high - low;
            }
            continue;
        }
        let mut split = Vec::with_capacity(cases.len() * parts.len());
        for (probability, open) in &cases {
            for (width, lets) in &parts {
                let both: Vec<bool> = open.iter().zip(lets).map(|(open, lets)| *open && *lets).collect();
                split.push((probability * width, both));
            }
        }
        cases = split;
    }
    let mut taken = vec![0.0; walk.len()];
    for (probability, open) in cases {
        let mut left = probability;
        for (index, open) in open.into_iter().enumerate() {
            if open {
                taken[index] += left * alone[index];
                left *= 1.0 - alone[index];
            }
        }
    }
    taken
}

/// [0, 1) cut where a need begins or ends: the width of each part, and whom it lets in. Who does not ask is let in.
fn parts(needs: &[(usize, f64, f64)], experiments: usize) -> Vec<(f64, Vec<bool>)> {
    let mut cuts: Vec<f64> = needs.iter().flat_map(|(_, low, high)| [*low, *high]).collect();
    cuts.extend([0.0, 1.0]);
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    let part = |ends: &[f64]| {
        let mut lets = vec![true; experiments];
        for (index, low, high) in needs {
            lets[*index] = *low <= ends[0] && ends[1] <= *high;
        }
        (ends[1] - ends[0], lets)
    };
    cuts.windows(2).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(id: &str, more: Value) -> ExperimentSpec {
        let mut spec = json!({
            "id": id, "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
            "unit": "user", "traffic": 1.0,
            "variants": [{"name": "a", "version": 1, "weight": 1}, {"name": "b", "version": 2, "weight": 1}]});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn check(
        specs: &[ExperimentSpec],
        holdout: Option<f64>,
        gets: &[(f64, f64)],
        deployed: (f64, f64),
    ) -> Meeting {
        let holdout = holdout.map(|share| Holdout {
            name: LayerName::new("all").unwrap(),
            share,
        });
        let meetings = of_files(specs, holdout.as_ref());
        let meeting = meetings.into_iter().next().unwrap();
        let near = |range: Range, (low, high): (f64, f64)| {
            assert!(
                (range.at_least - low).abs() < 1e-9 && (range.at_most - high).abs() < 1e-9,
                "{range:?} is not [{low}, {high}] in {meeting:#?}"
            );
        };
        for (place, wanted) in meeting.experiments.iter().zip(gets) {
            near(place.gets, *wanted);
        }
        near(meeting.deployed, deployed);
        meeting
    }

    fn exact(share: f64) -> (f64, f64) {
        (share, share)
    }

    #[test]
    fn the_first_takes_its_units_and_the_next_has_the_rest() {
        let specs = [
            spec("a", json!({"traffic": 0.4})),
            spec("b", json!({"traffic": 0.5})),
        ];
        let meeting = check(&specs, None, &[exact(0.4), exact(0.3)], exact(0.3));
        assert!(meeting.warnings.is_empty(), "{meeting:?}");
        check(&specs, Some(0.1), &[exact(0.36), exact(0.27)], exact(0.37));
    }

    #[test]
    fn nothing_is_left_behind_an_experiment_for_everyone() {
        let specs = [
            spec("a", json!({})),
            spec("b", json!({"audience": "plan == \"free\""})),
        ];
        let meeting = check(&specs, None, &[exact(1.0), exact(0.0)], exact(0.0));
        assert_eq!(
            meeting.warnings,
            ["`b` gets no traffic: `a` comes before it and takes every unit"]
        );
    }

    #[test]
    fn slots_of_one_layer_exclude_and_of_two_do_not() {
        let slots = |name: &str, low: u32, high: u32| json!({"layer": {"name": name, "slots": [low, high]}});
        let one = [spec("a", slots("l", 0, 30)), spec("b", slots("l", 30, 80))];
        check(&one, None, &[exact(0.3), exact(0.5)], exact(0.2));
        let two = [spec("a", slots("l", 0, 30)), spec("b", slots("m", 30, 80))];
        check(&two, None, &[exact(0.3), exact(0.35)], exact(0.35));
        // The layer of the first two is one draw, also for who comes after them.
        let three = [one[0].clone(), one[1].clone(), spec("c", json!({"traffic": 0.5}))];
        check(&three, None, &[exact(0.3), exact(0.5), exact(0.1)], exact(0.1));
    }

    #[test]
    fn units_of_another_kind_are_drawn_apart() {
        let specs = [
            spec("a", json!({"layer": {"name": "l", "slots": [0, 50]}})),
            spec(
                "b",
                json!({"layer": {"name": "l", "slots": [50, 100]}, "unit": "tenant"}),
            ),
        ];
        let meeting = check(&specs, None, &[exact(0.5), exact(0.25)], exact(0.25));
        assert_eq!(meeting.warnings.len(), 1, "{meeting:?}");
        assert!(
            meeting.warnings[0].contains("do not exclude each other"),
            "{meeting:?}"
        );
    }

    #[test]
    fn one_salt_is_one_draw() {
        let specs = [
            spec("a", json!({"traffic": 0.4, "salt": "s"})),
            spec("b", json!({"traffic": 0.5, "salt": "s"})),
        ];
        let meeting = check(&specs, None, &[exact(0.4), exact(0.1)], exact(0.5));
        assert!(meeting.warnings[0].contains("salt"), "{meeting:?}");
    }

    #[test]
    fn of_another_audience_a_share_is_a_range() {
        let specs = [
            spec("a", json!({"traffic": 0.4, "audience": "country == \"DE\""})),
            spec("b", json!({"traffic": 0.5})),
            spec("c", json!({"audience": "country == \"DE\""})),
        ];
        let gets = [exact(0.4), (0.3, 0.5), exact(0.3)];
        check(&specs, None, &gets, (0.0, 0.5));
    }

    #[test]
    fn drafts_and_other_environments_are_not_met() {
        let specs = [
            spec("a", json!({"status": "draft"})),
            spec("b", json!({"environment": "staging"})),
            spec("c", json!({"traffic": 0.2})),
        ];
        check(&specs, None, &[exact(0.2)], exact(0.8));
        assert_eq!(of_files(&specs, None).len(), 2);
    }
}
