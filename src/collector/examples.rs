//! Tagged outcomes: a bounded sample per tag, for people and for regression suites.
//!
//! One JSON object per line when exported. Owns nothing; the journal keeps them.

use super::{intake::Intake, observation::Observation};
use crate::{
    domain::{Timestamp, id::MetricKey, metric::of_deployed},
    store::sqlite::journal::{MOST_TAGGED, TaggedRow},
};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// What to keep of some outcomes, oldest first; of each tag only as many as the journal would keep.
pub(super) fn rows(outcomes: &[&Observation], intake: &Intake, at: Timestamp) -> Vec<TaggedRow> {
    let mut rows = Vec::new();
    let mut kept: HashMap<(u32, &str), u32> = HashMap::new();
    for outcome in outcomes.iter().rev() {
        let Some(tagging) = &outcome.tagging else { continue };
        let mut item = None;
        for tag in &tagging.tags {
            let kept = kept.entry((outcome.experiment.0, tag)).or_default();
            if *kept < MOST_TAGGED {
                *kept += 1;
                rows.push(TaggedRow {
                    experiment: outcome.experiment.0,
                    tag: tag.clone(),
                    item: item.get_or_insert_with(|| text(outcome, intake, at)).clone(),
                });
            }
        }
    }
    rows.reverse();
    rows
}

/// The texts of stored rows, those of an outcome with several tags once.
pub(super) fn texts(rows: Vec<TaggedRow>) -> Vec<String> {
    let mut seen = HashSet::new();
    rows.into_iter()
        .map(|row| row.item)
        .filter(|item| seen.insert(item.clone()))
        .collect()
}

fn text(outcome: &Observation, intake: &Intake, at: Timestamp) -> String {
    let experiment = intake
        .experiment(outcome.experiment)
        .map(|design| design.experiment());
    let deployed = outcome.experiment.deployed_prompt();
    let name = |key: MetricKey| {
        if deployed.is_some() {
            let (_, (name, ..)) = of_deployed().find(|(known, _)| *known == key)?;
            return Some(name.to_owned());
        }
        let measure = experiment?.measures.iter().find(|measure| measure.key == key)?;
        Some(measure.name.clone())
    };
    let metrics: Map<String, Value> = outcome
        .values
        .iter()
        .filter_map(|(key, value)| Some((name(key)?, json!(value))))
        .collect();
    let tagging = outcome.tagging.as_deref();
    if let Some(prompt) = deployed {
        return json!({
            "at": at,
            "prompt": intake.prompt_name(prompt),
            "version": outcome.epoch,
            "tags": tagging.map(|tagging| &tagging.tags),
            "note": tagging.and_then(|tagging| tagging.note.as_deref()),
            "metrics": metrics,
        })
        .to_string();
    }
    json!({
        "at": at,
        "experiment": experiment.map(|experiment| experiment.spec.id.as_str()),
        "variant": experiment.and_then(|experiment| experiment.arm_name(outcome.arm)).map(|name| name.as_str()),
        "epoch": outcome.epoch,
        "receipt": tagging.and_then(|tagging| tagging.receipt.as_deref()),
        "tags": tagging.map(|tagging| &tagging.tags),
        "note": tagging.and_then(|tagging| tagging.note.as_deref()),
        "metrics": metrics,
    })
    .to_string()
}
