//! Experiments as written, in a file or in a JSON body, turned into designs.
//!
//! Owns the keys and their defaults. The rules about values are `domain::check`'s; here they are asked even where a
//! part could not be read, so that one run shows everything. [`super::load`] and the HTTP API call this.

mod parts;

use super::{
    document::{Document, enclosing},
    reader::{Field, Report, Table},
};
use crate::domain::{
    check,
    experiment::{ExperimentKind, ExperimentSpec, WantedStatus},
    id::{AttributeName, Environment, ExperimentId, PromptName},
    problem::Problem,
    rollout::Revert,
};

const KINDS: [(&str, ExperimentKind); 2] = [
    ("experiment", ExperimentKind::Experiment),
    ("canary", ExperimentKind::Canary),
];

const STATUSES: [(&str, WantedStatus); 3] = [
    ("draft", WantedStatus::Draft),
    ("running", WantedStatus::Running),
    ("stopped", WantedStatus::Stopped),
];

const REVERTS: [(&str, Revert); 2] = [("kill", Revert::Kill), ("drain", Revert::Drain)];

/// An experiment from a JSON body, with the keys and the rules of the file.
///
/// The id comes from the caller (the address), from the body's `id`, or from both when they agree. An absent
/// `environment` is `default_environment`, an absent `status` is `draft`.
///
/// # Errors
/// Everything that is wrong with it, by field; fields have no lines here.
pub fn experiment_from_json(
    id: Option<&str>,
    body: &serde_json::Value,
    default_environment: &Environment,
) -> Result<ExperimentSpec, Vec<Problem>> {
    read(&Document::json(body), Identity::Body(id), default_environment)
}

/// Where an experiment's id comes from.
pub(super) enum Identity<'a> {
    /// A file's name without `.toml`; the file has no key `id`.
    FileStem(&'a str),
    /// The caller, the body's key `id`, or both.
    Body(Option<&'a str>),
}

/// Reads and checks one experiment.
pub(super) fn read(
    document: &Document,
    identity: Identity<'_>,
    environment: &Environment,
) -> Result<ExperimentSpec, Vec<Problem>> {
    let report = Report::default();
    let spec = Table::root(&document.root, &report)
        .and_then(|root| experiment(root, identity, environment, &report));
    let unreadable = report.into_problems();
    let mut all = unreadable.clone();
    if let Some(spec) = &spec {
        let sure = |problem: &Problem| !is_doubtful(&problem.field, &unreadable);
        all.extend(check::problems(spec).into_iter().filter(sure));
    }
    match spec {
        Some(spec) if all.is_empty() => Ok(spec),
        _ => Err(all),
    }
}

/// Reads everything that can be read. What cannot gets a stand-in that breaks no rule, next to its problem in the
/// report; none only when not even that was possible.
fn experiment(
    mut root: Table<'_>,
    identity: Identity<'_>,
    environment: &Environment,
    report: &Report,
) -> Option<ExperimentSpec> {
    let id = experiment_id(&mut root, identity, report);
    let prompt = root
        .required("prompt", "the name of the prompt under test")
        .and_then(|field| field.name(PromptName::new));
    let own_environment = root
        .optional("environment")
        .and_then(|field| field.name(Environment::new));
    let kind = root
        .optional("kind")
        .and_then(|field| field.choice(&KINDS))
        .unwrap_or(ExperimentKind::Experiment);
    let status = root
        .optional("status")
        .and_then(|field| field.choice(&STATUSES))
        .unwrap_or(WantedStatus::Draft);
    let unit = root
        .required(
            "unit",
            "the context attribute that is randomised, such as \"user\"",
        )
        .and_then(|field| field.name(AttributeName::new));
    let owner = text(root.optional("owner"));
    let hypothesis = text(root.optional("hypothesis"));
    let audience = text(root.optional("audience"));
    let salt = text(root.optional("salt"));
    let traffic = root
        .optional("traffic")
        .and_then(|field| field.number())
        .unwrap_or(1.0);
    let start = root.optional("start").and_then(|field| field.timestamp());
    let end = root.optional("end").and_then(|field| field.timestamp());
    let layer = root.optional("layer").and_then(|field| parts::layer(&field));
    let variants = root
        .required("variants", "at least 2 `[[variants]]`, the first is the control")
        .and_then(|field| parts::variants(&field));
    let metrics = root.optional("metrics").and_then(|field| parts::metrics(&field));
    let guardrails = root
        .optional("guardrails")
        .and_then(|field| parts::guardrails(&field));
    let rollout = root.optional("rollout").and_then(|field| parts::rollout(&field));
    let overrides = root
        .optional("overrides")
        .and_then(|field| parts::overrides(&field));
    let revert = root
        .optional("revert")
        .and_then(|field| field.choice(&REVERTS))
        .unwrap_or_default();
    let drain_for = root.optional("drain_for").and_then(|field| field.duration());
    let segments = root
        .optional("segments")
        .and_then(|field| parts::segments(&field));
    let min_units = root
        .optional("min_units")
        .and_then(|field| field.whole(check::MIN_UNITS))
        .and_then(|units| u32::try_from(units).ok());
    root.finish();
    Some(ExperimentSpec {
        id: id.or_else(|| ExperimentId::new("unreadable").ok())?,
        prompt: prompt.or_else(|| PromptName::new("unreadable").ok())?,
        environment: own_environment.unwrap_or_else(|| environment.clone()),
        kind,
        status,
        owner,
        hypothesis,
        unit: unit.or_else(|| AttributeName::new("unreadable").ok())?,
        audience,
        traffic,
        salt,
        start,
        end,
        layer,
        variants: variants.unwrap_or_default(),
        metrics: metrics.unwrap_or_default(),
        guardrails: guardrails.unwrap_or_default(),
        rollout,
        overrides: overrides.unwrap_or_default(),
        revert,
        drain_for,
        segments: segments.unwrap_or_default(),
        min_units,
    })
}

fn experiment_id(root: &mut Table<'_>, identity: Identity<'_>, report: &Report) -> Option<ExperimentId> {
    let given = match identity {
        Identity::FileStem(stem) => Some(stem),
        Identity::Body(given) => {
            let written = root.optional("id");
            if let (Some(given), Some(written)) = (given, &written) {
                let text = written.text()?;
                if text != given {
                    written.wrong(format_args!(
                        "must be `{given}`, the id in the address, or absent"
                    ));
                    return None;
                }
            } else if let Some(written) = written {
                return written.name(ExperimentId::new);
            } else if given.is_none() {
                report.add("id", "is required: the name of the new experiment");
            }
            given
        }
    };
    match ExperimentId::new(given?) {
        Ok(id) => Some(id),
        Err(problem) => {
            report.add("id", problem);
            None
        }
    }
}

fn text(field: Option<Field<'_>>) -> Option<String> {
    field.and_then(|field| field.text()).map(str::to_owned)
}

/// Whether a rule's complaint about `field` may only come from the stand-in of a part that could not be read.
fn is_doubtful(field: &str, unreadable: &[Problem]) -> bool {
    let any = |test: &dyn Fn(&str) -> bool| unreadable.iter().any(|problem| test(&problem.field));
    let mut around = field;
    loop {
        if !around.is_empty() && any(&|unread| unread == around) {
            return true;
        }
        if around.is_empty() {
            break;
        }
        around = enclosing(around);
    }
    let names = |unread: &str, list: &str, keys: &[&str]| {
        let Some(rest) = unread.strip_prefix(list) else {
            return false;
        };
        // The list itself, an entry of it, or one of the keys others refer to; `[0].weight` concerns nobody else.
        !rest.contains('.') || keys.iter().any(|key| rest.ends_with(key))
    };
    if field.starts_with("overrides") {
        return any(&|unread| names(unread, "variants", &[".name"]));
    }
    let Some(guardrail) = field.strip_prefix("guardrails[") else {
        return false;
    };
    if guardrail.ends_with(']') {
        // "Another guardrail limits the same": the other one may be half read.
        return any(&|unread| unread.starts_with("guardrails["));
    }
    (guardrail.ends_with(".metric") || guardrail.ends_with(".above"))
        && any(&|unread| names(unread, "metrics", &[".name", ".kind", ".goal"]))
}
