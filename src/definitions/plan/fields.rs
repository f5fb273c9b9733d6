//! Two designs, field by field, under the names that files have.

use crate::domain::experiment::ExperimentSpec;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A field with another value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Its path; entries of lists go by their names: `variants[friendly].weight`.
    pub field: String,
    /// Null where it was not there.
    pub from: Value,
    /// Null where it is no longer there.
    pub to: Value,
}

/// What is different, by path.
pub(super) fn between(before: &ExperimentSpec, after: &ExperimentSpec) -> Vec<FieldChange> {
    let (mut from, mut to) = (leaves(before), leaves(after));
    let mut changes: Vec<FieldChange> = Vec::new();
    let paths: Vec<String> = from.keys().chain(to.keys()).cloned().collect();
    for field in paths {
        let (old, new) = (from.remove(&field), to.remove(&field));
        if old != new {
            changes.push(FieldChange {
                field,
                from: old.unwrap_or_default(),
                to: new.unwrap_or_default(),
            });
        }
    }
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    changes
}

fn leaves(spec: &ExperimentSpec) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    // A design always has a JSON form; it is what the log stores.
    collect(
        String::new(),
        serde_json::to_value(spec).unwrap_or_default(),
        &mut found,
    );
    found
}

fn collect(path: String, value: Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key
                } else {
                    format!("{path}.{key}")
                };
                collect(path, value, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let mut taken: BTreeMap<String, usize> = BTreeMap::new();
            for (index, value) in list.into_iter().enumerate() {
                let name = value["name"].as_str().or_else(|| value["metric"].as_str());
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                // Two guardrails may watch one metric.
                let times = taken.entry(name.clone()).or_insert(0);
                *times += 1;
                let name = if *times > 1 {
                    format!("{name}#{times}")
                } else {
                    name
                };
                collect(format!("{path}[{name}]"), value, found);
            }
        }
        leaf => {
            found.insert(path, leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(weight: f64, more: Value) -> ExperimentSpec {
        let mut spec = json!({
            "id": "a", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
            "unit": "user", "traffic": 1.0,
            "variants": [
                {"name": "now", "version": 1, "weight": 50.0}, {"name": "next", "version": 2, "weight": weight}]});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_change_goes_by_the_names_of_the_file() {
        let before = spec(50.0, json!({"owner": "support"}));
        let after = spec(60.0, json!({"audience": "plan == \"free\""}));
        let told: Vec<String> = between(&before, &after)
            .iter()
            .map(|change| format!("{} {} {}", change.field, change.from, change.to))
            .collect();
        assert_eq!(
            told,
            [
                "audience null \"plan == \\\"free\\\"\"",
                "owner \"support\" null",
                "variants[next].weight 50.0 60.0"
            ]
        );
        assert!(between(&before, &before).is_empty());
    }
}
