//! The rules a design keeps to, as far as the design alone tells.
//!
//! Files, the HTTP API and the control log all ask here, so that a mistake is the same mistake on every road. What
//! needs the catalog (does the version exist, is the layer free) is not decided here. Every function returns all
//! problems, in the order of the fields, and never stops at the first.

mod found;
mod measured;

use super::{
    experiment::{ExperimentSpec, MOST_VARIANTS},
    guardrail::{GuardrailSpec, Limit, OUTCOME_MISSING},
    metric::{BUILT_IN, Goal, MetricKind, built_in},
    problem::Problem,
    prompt::{ChatMessage, PromptContent, PromptDraft, composition::references, variables::ambiguous},
    rollout::Revert,
};
use found::Found;
use std::{collections::HashMap, ops::RangeInclusive, time::Duration};

/// The most metrics one experiment may declare.
pub const MOST_METRICS: usize = 64;
/// The most guardrails of one experiment; each of them makes the others slower to act.
pub const MOST_GUARDRAILS: usize = 32;
/// The most stages of one rollout.
pub const MOST_STAGES: usize = 64;
/// The most unit ids one experiment may force into variants.
pub const MOST_OVERRIDES: usize = 10_000;
/// The most tags of a prompt.
pub const MOST_TAGS: usize = 100;
/// The longest unit id, tag, role, owner, author or salt, in bytes.
pub const LONGEST_NAME: usize = 1_024;
/// The longest hypothesis, audience or commit message, in bytes.
pub const LONGEST_TEXT: usize = 16_384;
/// The largest prompt version, with its config and limitations, in bytes of JSON.
pub const LARGEST_DRAFT: usize = 1_048_576;
/// The units each arm may be asked to have before it is judged.
pub const MIN_UNITS: RangeInclusive<u64> = 1..=1_000_000;
/// The largest effect worth finding and the largest margin, as shares of control's mean.
pub const LARGEST_SHARE: f64 = 10.0;
/// The longest `settle`: an outcome may report this late at most.
pub const LONGEST_SETTLE: Duration = Duration::from_secs(7 * 86_400);
/// The longest stage.
pub const LONGEST_STAGE: Duration = Duration::from_secs(366 * 86_400);

/// Everything wrong with an experiment's design; empty when it may be used.
///
/// ```
/// # let spec: serin::domain::experiment::ExperimentSpec = serde_json::from_str(r#"{
/// #   "id": "a", "prompt": "p", "environment": "production", "kind": "experiment", "status": "draft",
/// #   "unit": "user", "traffic": 1.5,
/// #   "variants": [{"name": "a", "version": 1, "weight": 1}, {"name": "b", "version": 2, "weight": 1}]}"#).unwrap();
/// let problems = serin::domain::check::problems(&spec);
/// assert_eq!(problems[0].to_string(), "traffic: must be from 0 to 1, found 1.5");
/// ```
#[must_use]
pub fn problems(spec: &ExperimentSpec) -> Vec<Problem> {
    let mut found = Found::default();
    found.length("owner", spec.owner.as_deref(), LONGEST_NAME);
    found.length("hypothesis", spec.hypothesis.as_deref(), LONGEST_TEXT);
    found.length("audience", spec.audience.as_deref(), LONGEST_TEXT);
    if spec.audience.as_ref().is_some_and(|text| text.trim().is_empty()) {
        found.add("audience", "must not be empty; leave it out to enrol everyone");
    }
    if !(0.0..=1.0).contains(&spec.traffic) {
        found.add(
            "traffic",
            format_args!("must be from 0 to 1, found {}", spec.traffic),
        );
    }
    found.short_text("salt", spec.salt.as_deref());
    if let (Some(start), Some(end)) = (spec.start, spec.end)
        && end <= start
    {
        found.add(
            "end",
            format_args!("must be after `start` ({start}), found {end}"),
        );
    }
    if let Some(layer) = &spec.layer {
        let [lower, upper] = layer.slots;
        if !(0.0 <= lower && lower < upper && upper <= 100.0) {
            found.add(
                "layer.slots",
                format_args!("must be [lower, upper] with 0 ≤ lower < upper ≤ 100, found [{lower}, {upper}]"),
            );
        }
    }
    variants(spec, &mut found);
    measured::metrics(spec, &mut found);
    guardrails(spec, &mut found);
    stages(spec, &mut found);
    ends(spec, &mut found);
    overrides(spec, &mut found);
    measured::segments(spec, &mut found);
    measured::min_units(spec, &mut found);
    found.problems()
}

/// Everything wrong with a prompt version; empty when it may be registered.
#[must_use]
pub fn draft_problems(draft: &PromptDraft) -> Vec<Problem> {
    let mut found = Found::default();
    if let PromptContent::Chat(messages) = &draft.prompt {
        if messages.is_empty() {
            found.add("prompt", "must have at least 1 message");
        }
        for (index, message) in messages.iter().enumerate() {
            let (key, text) = match message {
                ChatMessage::ChatMessage { role, .. } => ("role", role),
                ChatMessage::Placeholder { name } => ("name", name),
            };
            found.short_text(format_args!("prompt[{index}].{key}"), Some(text.as_str()));
        }
    }
    if let Err((place, error)) = references(&draft.prompt) {
        found.add(place, error);
    }
    for name in ambiguous(&draft.prompt) {
        found.add(
            "prompt",
            format_args!("`{name}` is a variable and a placeholder; give one of them another name"),
        );
    }
    if draft.semver.is_some() && draft.bump.is_some() {
        found.add("bump", "and `semver` exclude each other; leave one of them out");
    }
    found.short_text("category", draft.category.as_deref());
    // What is kept for good in the log is bounded as it is kept: as JSON.
    let size = serde_json::to_vec(&(&draft.prompt, &draft.config, &draft.limitations)).map_or(0, |b| b.len());
    if size > LARGEST_DRAFT {
        found.add(
            "prompt",
            format_args!(
                "prompt, config and limitations may have {LARGEST_DRAFT} bytes together, found {size}"
            ),
        );
    }
    found.length("commit_message", draft.commit_message.as_deref(), LONGEST_TEXT);
    found.length("author", draft.author.as_deref(), LONGEST_NAME);
    let mut problems = found.problems();
    problems.extend(tag_problems(&draft.tags));
    problems
}

/// Everything wrong with the tags of a prompt.
#[must_use]
pub fn tag_problems(tags: &[String]) -> Vec<Problem> {
    let mut found = Found::default();
    found.count("tags", tags.len(), 0, MOST_TAGS);
    for (index, tag) in tags.iter().enumerate() {
        found.short_text(format_args!("tags[{index}]"), Some(tag.as_str()));
    }
    found.problems()
}

fn variants(spec: &ExperimentSpec, found: &mut Found) {
    // For a canary the last of them is the candidate, so it needs two as well.
    found.count("variants", spec.variants.len(), 2, MOST_VARIANTS);
    let mut first = HashMap::new();
    let mut sum = 0.0;
    for (index, variant) in spec.variants.iter().enumerate() {
        found.unique(
            &mut first,
            "variants",
            index,
            variant.name.as_str(),
            "a variant's name",
        );
        found.positive(format_args!("variants[{index}].weight"), variant.weight);
        sum += variant.weight;
    }
    if sum == f64::INFINITY && spec.variants.iter().all(|variant| variant.weight.is_finite()) {
        found.add("variants", "the weights' sum must be finite");
    }
}

fn guardrails(spec: &ExperimentSpec, found: &mut Found) {
    found.count("guardrails", spec.guardrails.len(), 0, MOST_GUARDRAILS);
    let mut first: HashMap<(String, &str), usize> = HashMap::new();
    for (index, guardrail) in spec.guardrails.iter().enumerate() {
        let at = |key: &str| format!("guardrails[{index}].{key}");
        let limit = match guardrail.limit {
            Limit::MaxRatio(ratio) => {
                if !(ratio > 1.0 && ratio < 16.0) {
                    found.add(
                        at("max_ratio"),
                        format_args!("must be greater than 1 and less than 16, found {ratio}"),
                    );
                }
                "max_ratio"
            }
            Limit::MaxRate(rate) => {
                if !(rate > 0.0 && rate < 1.0) {
                    found.add(
                        at("max_rate"),
                        format_args!("must be greater than 0 and less than 1, found {rate}"),
                    );
                }
                "max_rate"
            }
            Limit::MaxExcess(excess) => {
                if !(excess > 0.0 && excess < 1.0) {
                    found.add(
                        at("max_excess"),
                        format_args!("must be greater than 0 and less than 1, found {excess}"),
                    );
                }
                "max_excess"
            }
        };
        margin(guardrail, &at, found);
        guarded_metric(spec, guardrail, &at, found);
        if guardrail.settle > LONGEST_SETTLE {
            found.add(
                at("settle"),
                format_args!(
                    "must be at most 7d, found {}",
                    super::duration_text::format(guardrail.settle)
                ),
            );
        }
        let measure = guardrail.measure_name();
        if let Some(earlier) = first.get(&(measure.clone(), limit)) {
            found.add(
                format_args!("guardrails[{index}]"),
                format_args!("guardrails[{earlier}] already limits `{measure}` by `{limit}`"),
            );
        } else {
            first.insert((measure, limit), index);
        }
    }
}

fn margin(guardrail: &GuardrailSpec, at: &dyn Fn(&str) -> String, found: &mut Found) {
    let Some(margin) = guardrail.margin else { return };
    match guardrail.limit {
        Limit::MaxRatio(ratio) => {
            if !(margin >= ratio && margin <= 16.0) {
                found.add(
                    at("margin"),
                    format_args!("must be from `max_ratio` ({ratio}) to 16, found {margin}"),
                );
            }
        }
        Limit::MaxRate(_) | Limit::MaxExcess(_) => found.add(
            at("margin"),
            "is for `max_ratio`; of the other limits the limit itself is ruled out before a stage passes",
        ),
    }
}

/// A guardrail counts bad requests, so its measure must be a rate where lower is better.
fn guarded_metric(
    spec: &ExperimentSpec,
    guardrail: &GuardrailSpec,
    at: &dyn Fn(&str) -> String,
    found: &mut Found,
) {
    let name = guardrail.metric.as_str();
    let is_missing = name == OUTCOME_MISSING;
    if is_missing != matches!(guardrail.limit, Limit::MaxExcess(_)) {
        found.add(
            at("metric"),
            format_args!(
                "`{OUTCOME_MISSING}` and `max_excess` go together: one is for nothing else than the other"
            ),
        );
    }
    if is_missing {
        if guardrail.above.is_some() {
            found.add(
                at("above"),
                format_args!("`{name}` is a rate already; leave `above` out"),
            );
        }
        return;
    }
    if let Some(above) = guardrail.above
        && !above.is_finite()
    {
        found.add(
            at("above"),
            format_args!("must be a finite number, found {above}"),
        );
    }
    let declared = spec
        .metrics
        .iter()
        .find(|metric| metric.name == guardrail.metric)
        .map(|metric| (metric.kind, metric.goal));
    let Some((kind, goal)) = declared.or_else(|| built_in(name)) else {
        let mut known: Vec<&str> = spec.metrics.iter().map(|metric| metric.name.as_str()).collect();
        known.extend(BUILT_IN.iter().map(|(name, ..)| *name));
        found.add(
            at("metric"),
            format_args!(
                "`{name}` is neither built in nor declared in `metrics`; known here: {}",
                known.join(", ")
            ),
        );
        return;
    };
    if goal == Goal::Increase {
        found.add(
            at("metric"),
            format_args!(
                "a guardrail counts what is bad, and of `{name}` more is better; state it the other way round, \
                 as a metric with goal \"decrease\""
            ),
        );
    }
    match (kind, guardrail.above) {
        (MetricKind::Rate, Some(_)) => {
            found.add(
                at("above"),
                format_args!("`{name}` is a rate already; leave `above` out"),
            );
        }
        (MetricKind::Mean, None) => found.add(
            at("above"),
            format_args!("`{name}` is a number; give the value above which a request counts as bad"),
        ),
        _ => {}
    }
}

fn stages(spec: &ExperimentSpec, found: &mut Found) {
    let Some(rollout) = &spec.rollout else { return };
    found.count("rollout.stages", rollout.stages.len(), 1, MOST_STAGES);
    let mut before = 0.0;
    for (index, stage) in rollout.stages.iter().enumerate() {
        let share = stage.share;
        let field = format!("rollout.stages[{index}].share");
        if !(share > 0.0 && share <= 1.0) {
            found.add(
                field,
                format_args!("must be greater than 0 and at most 1, found {share}"),
            );
        } else if share < before {
            found.add(
                field,
                format_args!("must not be smaller than the stage before ({before}), found {share}"),
            );
        } else {
            before = share;
        }
        if let Some(cost) = stage.budget.max_cost_usd {
            found.positive(format_args!("rollout.stages[{index}].max_cost_usd"), cost);
        }
        if stage.duration.is_zero() || stage.duration > LONGEST_STAGE {
            found.add(
                format_args!("rollout.stages[{index}].for"),
                format_args!(
                    "must be greater than 0s and at most 366d, found {}",
                    super::duration_text::format(stage.duration)
                ),
            );
        }
    }
}

/// What ends waiting, and what a freeze leaves alone.
fn ends(spec: &ExperimentSpec, found: &mut Found) {
    if let Some(rollout) = &spec.rollout
        && let Some(deadline) = rollout.deadline
    {
        let longest = rollout.stages.iter().map(|stage| stage.duration).max();
        if longest.is_some_and(|longest| deadline <= longest) || deadline > LONGEST_STAGE {
            found.add(
                "rollout.deadline",
                format_args!(
                    "must be longer than every stage ({} here) and at most 366d, found {}",
                    super::duration_text::format(longest.unwrap_or_default()),
                    super::duration_text::format(deadline)
                ),
            );
        }
    }
    if let Some(drain) = spec.drain_for {
        if spec.revert == Revert::Kill {
            found.add(
                "drain_for",
                "is for `revert = \"drain\"`; add that, or leave this out",
            );
        } else if drain.is_zero() || drain > LONGEST_SETTLE {
            found.add(
                "drain_for",
                format_args!(
                    "must be greater than 0s and at most 7d, found {}",
                    super::duration_text::format(drain)
                ),
            );
        }
    }
}

fn overrides(spec: &ExperimentSpec, found: &mut Found) {
    let total = spec.overrides.values().map(Vec::len).sum();
    found.count("overrides", total, 0, MOST_OVERRIDES);
    let mut first = HashMap::new();
    for (variant, units) in &spec.overrides {
        if spec.variants.iter().all(|known| known.name != *variant) {
            let known: Vec<&str> = spec.variants.iter().map(|known| known.name.as_str()).collect();
            found.add(
                format_args!("overrides.{variant}"),
                format_args!("no variant has this name; there are: {}", known.join(", ")),
            );
        }
        for (index, unit) in units.iter().enumerate() {
            let field = format!("overrides.{variant}[{index}]");
            match first.insert(unit.as_str(), variant) {
                Some(earlier) if earlier != variant => {
                    found.add(
                        &field,
                        format_args!("unit `{unit:.80}` is already forced into `{earlier}`"),
                    );
                }
                _ if unit.is_empty() => found.add(field, "a unit id must not be empty"),
                _ => found.length(field, Some(unit.as_str()), LONGEST_NAME),
            }
        }
    }
}
