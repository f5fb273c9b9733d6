//! `[environments.<name>]`: the evidence that an environment asks for before a version is served there.

use crate::{
    definitions::reader::{Field, Table},
    domain::{
        id::Environment,
        prompt::{Gate, ReviewKind, evaluation::LARGEST_INCREASE},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Every environment that is named, with what it asks for; one that asks for nothing is open.
pub(super) fn read(section: Table<'_>) -> BTreeMap<Environment, Gate> {
    let mut gates = BTreeMap::new();
    for (name, field) in section.fields() {
        let gate = field.table().map(gate).unwrap_or_default();
        match Environment::new(name) {
            Ok(environment) => {
                gates.insert(environment, gate);
            }
            Err(problem) => field.wrong(problem),
        }
    }
    gates
}

fn gate(mut table: Table<'_>) -> Gate {
    let score = |field: Field<'_>| number(&field, 1.0, "a score from 0 to 1");
    let increase = |field: Field<'_>| {
        number(
            &field,
            LARGEST_INCREASE,
            "a share from 0 to 100, such as 0.1 for 10 % more",
        )
    };
    let gate = Gate {
        min_score: table.optional("min_score").and_then(score),
        segment_floors: table
            .optional("segment_floors")
            .and_then(|field| floors(&field))
            .unwrap_or_default(),
        max_cost_increase: table.optional("max_cost_increase").and_then(increase),
        max_latency_increase: table.optional("max_latency_increase").and_then(increase),
        reviews: table
            .optional("reviews")
            .and_then(|field| reviews(&field))
            .unwrap_or_default(),
    };
    table.finish();
    gate
}

fn number(field: &Field<'_>, most: f64, what: &str) -> Option<f64> {
    let number = field.number()?;
    if (0.0..=most).contains(&number) {
        Some(number)
    } else {
        field.expected(what)
    }
}

fn floors(field: &Field<'_>) -> Option<BTreeMap<String, f64>> {
    let table = field.table()?;
    let floor = |(segment, field): (&str, Field<'_>)| {
        Some((segment.to_owned(), number(&field, 1.0, "a score from 0 to 1")?))
    };
    Some(table.fields().filter_map(floor).collect())
}

fn reviews(field: &Field<'_>) -> Option<BTreeSet<ReviewKind>> {
    let kinds = field.list()?;
    Some(
        kinds
            .iter()
            .filter_map(|kind| kind.choice(&ReviewKind::ALL))
            .collect(),
    )
}
