//! The tables and lists inside an experiment.
//!
//! Lists keep their length whatever is wrong in them, so that the index in a problem's path is the file's.

use super::super::{
    document::Content,
    reader::{Field, Report, Table},
};
use crate::domain::{
    allocation::LayerSlots,
    experiment::Variant,
    guardrail::{GuardrailSpec, Limit, OnBreach},
    id::{AttributeName, LayerName, MetricName, VariantName, VersionNumber},
    metric::{Goal, MetricKind, MetricSpec, built_in},
    prompt::VersionRef,
    rollout::{Budget, OnComplete, RolloutPlan, Stage},
};
use std::{collections::BTreeMap, time::Duration};

const METRIC_KINDS: [(&str, MetricKind); 2] = [("rate", MetricKind::Rate), ("mean", MetricKind::Mean)];
const GOALS: [(&str, Goal); 2] = [("increase", Goal::Increase), ("decrease", Goal::Decrease)];
const BREACH_ACTIONS: [(&str, OnBreach); 3] = [
    ("freeze", OnBreach::Freeze),
    ("hold", OnBreach::Hold),
    ("alert", OnBreach::Alert),
];
const COMPLETIONS: [(&str, OnComplete); 2] = [("promote", OnComplete::Promote), ("hold", OnComplete::Hold)];

/// A count of outcomes that no stage will ever reach; larger ones are a slip.
const MOST_OUTCOMES: u64 = 1_000_000_000_000;

pub(super) fn layer(field: &Field<'_>) -> Option<LayerSlots> {
    let mut table = field.table()?;
    let name = table
        .required("name", "the layer's name")
        .and_then(|field| field.name(LayerName::new));
    let slots = table
        .required("slots", "[lower, upper] in percent, such as [0, 30]")
        .and_then(|field| {
            let list = field.list()?;
            let [lower, upper] = list.as_slice() else {
                field.wrong(format_args!(
                    "must be [lower, upper], 2 numbers in percent such as [0, 30], found {}",
                    list.len()
                ));
                return None;
            };
            let (lower, upper) = (lower.number(), upper.number());
            Some([lower?, upper?])
        });
    table.finish();
    Some(LayerSlots {
        name: name?,
        slots: slots?,
    })
}

pub(super) fn variants(field: &Field<'_>) -> Option<Vec<Variant>> {
    entries(field, |index, table| {
        let name = table
            .required("name", "the variant's name")
            .and_then(|field| field.name(VariantName::new));
        let version = table
            .required(
                "version",
                "a prompt version, by semver such as \"1.1.0\" or by number",
            )
            .and_then(|field| field.version());
        let weight = table
            .required("weight", "a number greater than 0")
            .and_then(|field| field.number());
        Some(Variant {
            name: name.or_else(|| VariantName::new(&format!("unreadable-{index}")).ok())?,
            version: version.unwrap_or(VersionRef::Number(VersionNumber(1))),
            weight: weight.unwrap_or(1.0),
        })
    })
}

pub(super) fn metrics(field: &Field<'_>) -> Option<Vec<MetricSpec>> {
    entries(field, |index, table| {
        let name = table
            .required("name", "the name outcomes report it under")
            .and_then(|field| field.name(MetricName::new));
        let kind = table
            .required("kind", "\"rate\" (yes or no per request) or \"mean\" (a number)")
            .and_then(|field| field.choice(&METRIC_KINDS));
        let goal = table
            .required("goal", "\"increase\" or \"decrease\", whichever is better")
            .and_then(|field| field.choice(&GOALS));
        let primary = table.optional("primary").and_then(|field| field.boolean());
        let cap = table.optional("cap").and_then(|field| field.number());
        let covariate = table
            .optional("covariate")
            .and_then(|field| field.name(AttributeName::new));
        let mde = table.optional("mde").and_then(|field| field.number());
        let margin = table.optional("margin").and_then(|field| field.number());
        let known = name.as_ref().and_then(|name| built_in(name.as_str()));
        let likely = if cap.is_some() {
            MetricKind::Mean
        } else {
            MetricKind::Rate
        };
        Some(MetricSpec {
            name: name.or_else(|| MetricName::new(&format!("unreadable_{index}")).ok())?,
            kind: kind.or(known.map(|(kind, _)| kind)).unwrap_or(likely),
            goal: goal.or(known.map(|(_, goal)| goal)).unwrap_or(Goal::Decrease),
            primary: primary.unwrap_or(false),
            cap,
            covariate,
            mde,
            margin,
        })
    })
}

pub(super) fn guardrails(field: &Field<'_>) -> Option<Vec<GuardrailSpec>> {
    entries(field, |index, table| {
        let metric = table
            .required("metric", "the metric that is watched")
            .and_then(|field| field.name(MetricName::new));
        let above = table.optional("above").and_then(|field| field.number());
        let limit = limit(table);
        let on_breach = table
            .optional("on_breach")
            .and_then(|field| field.choice(&BREACH_ACTIONS));
        let settle = table.optional("settle").and_then(|field| field.duration());
        let margin = table.optional("margin").and_then(|field| field.number());
        Some(GuardrailSpec {
            metric: metric.or_else(|| MetricName::new(&format!("unreadable_{index}")).ok())?,
            above,
            limit: limit.unwrap_or(Limit::MaxRatio(2.0)),
            margin,
            on_breach,
            settle: settle.unwrap_or_default(),
        })
    })
}

fn limit(table: &mut Table<'_>) -> Option<Limit> {
    let ratio = table.optional("max_ratio");
    let rate = table.optional("max_rate");
    if let Some(excess) = table.optional("max_excess") {
        if ratio.is_some() || rate.is_some() {
            excess.wrong("a guardrail has one limit: leave out the others, or write two guardrails");
            return None;
        }
        return excess.number().map(Limit::MaxExcess);
    }
    match (ratio, rate) {
        (Some(ratio), None) => ratio.number().map(Limit::MaxRatio),
        (None, Some(rate)) => rate.number().map(Limit::MaxRate),
        (Some(_), Some(rate)) => {
            rate.wrong(
                "a guardrail has one limit: leave out `max_rate` or `max_ratio`, or write two guardrails",
            );
            None
        }
        (None, None) => {
            let _ = table.required(
                "max_ratio",
                "a limit, either `max_ratio` (to control's rate, between 1 and 16) or `max_rate` (between 0 and 1)",
            );
            None
        }
    }
}

pub(super) fn rollout(field: &Field<'_>) -> Option<RolloutPlan> {
    let mut table = field.table()?;
    let stages = table
        .required("stages", "at least 1 stage such as { share = 0.1, for = \"1h\" }")
        .and_then(|field| stages(&field));
    let on_complete = table
        .optional("on_complete")
        .and_then(|field| field.choice(&COMPLETIONS));
    let deadline = table.optional("deadline").and_then(|field| field.duration());
    table.finish();
    Some(RolloutPlan {
        stages: stages.unwrap_or_default(),
        on_complete: on_complete.unwrap_or_default(),
        deadline,
    })
}

fn stages(field: &Field<'_>) -> Option<Vec<Stage>> {
    // A stage that cannot be read takes a share that neither it nor the next one is refused for.
    let mut before = f64::MIN_POSITIVE;
    entries(field, |_, table| {
        let share = table
            .required("share", "a number greater than 0 and at most 1")
            .and_then(|field| field.number())
            .unwrap_or(before);
        before = before.max(share.min(1.0));
        let duration = table
            .required("for", "the least time the stage lasts, such as \"15m\"")
            .and_then(|field| field.duration());
        let min_outcomes = table
            .optional("min_outcomes")
            .and_then(|field| field.whole(0..=MOST_OUTCOMES));
        let budget = Budget {
            max_units: most(table, "max_units"),
            max_requests: most(table, "max_requests"),
            max_cost_usd: table.optional("max_cost_usd").and_then(|field| field.number()),
        };
        Some(Stage {
            share,
            duration: duration.unwrap_or(Duration::from_secs(1)),
            min_outcomes: min_outcomes.unwrap_or(0),
            budget,
        })
    })
}

/// A number of units or requests that one stage may reach.
fn most(table: &mut Table<'_>, key: &'static str) -> Option<u64> {
    table
        .optional(key)
        .and_then(|field| field.whole(1..=MOST_OUTCOMES))
}

pub(super) fn overrides(field: &Field<'_>) -> Option<BTreeMap<VariantName, Vec<String>>> {
    let mut overrides = BTreeMap::new();
    for (name, field) in field.table()?.fields() {
        let units = unit_ids(&field);
        match VariantName::new(name) {
            Ok(variant) => {
                overrides.insert(variant, units);
            }
            Err(problem) => field.wrong(problem),
        }
    }
    Some(overrides)
}

fn unit_ids(field: &Field<'_>) -> Vec<String> {
    let items = field.list().unwrap_or_default();
    let unit = |field: &Field<'_>| match field.content() {
        // A whole number is hashed as its decimal text, so here it is that text.
        Content::Whole(number) => number.to_string(),
        _ => field.text().unwrap_or("unreadable").to_owned(),
    };
    items.iter().map(unit).collect()
}

pub(super) fn segments(field: &Field<'_>) -> Option<BTreeMap<AttributeName, Vec<String>>> {
    let mut segments = BTreeMap::new();
    for (name, field) in field.table()?.fields() {
        let values = segment_values(&field);
        match AttributeName::new(name) {
            Ok(attribute) => {
                segments.insert(attribute, values);
            }
            Err(problem) => field.wrong(problem),
        }
    }
    Some(segments)
}

/// Values of a context's attribute; numbers and booleans match by their text, so here they are that text.
fn segment_values(field: &Field<'_>) -> Vec<String> {
    let items = field.list().unwrap_or_default();
    let value = |(index, field): (usize, &Field<'_>)| match field.content() {
        Content::Text(text) => text.clone(),
        Content::Bool(value) => value.to_string(),
        Content::Whole(number) => number.to_string(),
        Content::Number(number) if number.is_finite() => number.to_string(),
        _ => field
            .expected("text, a number, or true or false")
            .unwrap_or_else(|| format!("unreadable {index}")),
    };
    items.iter().enumerate().map(value).collect()
}

/// A list of tables; one entry for each, readable or not.
fn entries<T>(field: &Field<'_>, mut read: impl FnMut(usize, &mut Table<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut list = Vec::new();
    for (index, entry) in field.list()?.iter().enumerate() {
        if let Some(mut table) = entry.table() {
            list.push(read(index, &mut table)?);
            table.finish();
        } else {
            // Its keys are missing too, but that is no news.
            let unheard = Report::default();
            list.push(read(index, &mut Table::empty(&unheard))?);
        }
    }
    Some(list)
}
