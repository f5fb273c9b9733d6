//! `serin experiment`: look at experiments and steer them.

use super::{
    Global,
    client::{self, Server, segment},
    evidence, explain,
    figures::{counted, list, moment_of, percent, shortened, text},
    output, preflight, results,
    table::{Table, facts, indented, plain},
};
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What can be done with experiments.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ExperimentCommand {
    /// All experiments, with state and shares
    List {
        #[command(flatten)]
        at: Address,
    },
    /// One experiment: arms, history and, when it is frozen, the whole evidence
    Show(Named),
    /// Start it
    Start(Step),
    /// End it: everyone is back on the deployed version
    Stop(Stop),
    /// Keep the split, advance nothing
    Hold(Step),
    /// Stop it and give every unit control's version, until somebody resumes it
    Freeze(ReasonedStep),
    /// Lift a freeze or a hold
    Resume(ReasonedStep),
    /// Deploy the candidate to everyone and end the experiment
    Promote(Step),
    /// Its story in sentences: every step with who, when, why and on what evidence
    Explain(Named),
    /// What was measured: estimates, intervals, tests and guardrails
    Results(Named),
}

#[derive(Debug, clap::Args)]
pub(super) struct Address {
    /// The control plane's address [default: the one in the settings file]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The experiment's id
    id: String,
    #[command(flatten)]
    at: Address,
}

#[derive(Debug, clap::Args)]
pub(super) struct Step {
    #[command(flatten)]
    experiment: Named,
    /// Why; it lands in the audit log
    #[arg(long, default_value = "asked for on the command line")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    step: Step,
    /// What came of it: ship, revert or inconclusive [default: what its state says]
    #[arg(long, value_parser = ["ship", "revert", "inconclusive"])]
    conclusion: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReasonedStep {
    #[command(flatten)]
    experiment: Named,
    /// Why; it lands in the audit log
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Runs one of the commands.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(command: &ExperimentCommand, global: &Global) -> Result<()> {
    match command {
        ExperimentCommand::List { at } => view(global, at, "/api/v1/experiments", table),
        ExperimentCommand::Show(named) => view(global, &named.at, &named.path(""), shown),
        ExperimentCommand::Results(named) => view(global, &named.at, &named.path("/results"), results::shown),
        ExperimentCommand::Explain(named) => explain(global, named),
        ExperimentCommand::Start(step) => steer(global, "start", &step.experiment, &step.reason),
        ExperimentCommand::Stop(stop) => {
            let Step { experiment, reason } = &stop.step;
            let body = json!({"reason": reason, "conclusion": stop.conclusion});
            send(global, "stop", experiment, &body)
        }
        ExperimentCommand::Hold(step) => steer(global, "hold", &step.experiment, &step.reason),
        ExperimentCommand::Freeze(step) => steer(global, "freeze", &step.experiment, &step.reason),
        ExperimentCommand::Resume(step) => steer(global, "resume", &step.experiment, &step.reason),
        ExperimentCommand::Promote(step) => steer(global, "promote", &step.experiment, &step.reason),
    }
}

impl Named {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/experiments/{}{rest}", segment(&self.id))
    }
}

pub(super) fn control_plane(global: &Global, at: &Address) -> Result<Server> {
    global.control_plane(at.url.as_deref())
}

pub(super) fn view(global: &Global, at: &Address, path: &str, shown: fn(&Value) -> String) -> Result<()> {
    let server = control_plane(global, at)?;
    let answer = client::run(async { Ok(server.get(path).await?) })?;
    answer.print(global.json, shown)
}

fn explain(global: &Global, named: &Named) -> Result<()> {
    let server = control_plane(global, &named.at)?;
    let entries = client::run(async {
        // A name that nobody knows is told by the server.
        server.get(&named.path("")).await?;
        explain::entries(&server, &named.id).await
    })?;
    if global.json {
        output::print_json(&json!(entries))
    } else {
        output::print(&explain::story(&entries))
    }
}

fn steer(global: &Global, step: &str, named: &Named, reason: &str) -> Result<()> {
    send(global, step, named, &json!({"reason": reason}))
}

fn send(global: &Global, step: &str, named: &Named, body: &Value) -> Result<()> {
    let server = control_plane(global, &named.at)?;
    let path = named.path(&format!("/{step}"));
    let answer = client::run(async { Ok(server.post(&path, body).await?) })?;
    answer.print(global.json, stepped)?;
    if !global.json {
        // Of a start: what its stages will not find.
        preflight::complain(&answer.json["warnings"]);
    }
    Ok(())
}

fn stepped(answer: &Value) -> String {
    let unchanged = answer["events"].as_array().is_some_and(Vec::is_empty);
    format!(
        "{} is {}{} (revision {})\n",
        plain(text(answer, "experiment")),
        plain(text(answer, "state")),
        if unchanged { " as before" } else { " now" },
        answer["revision"],
    )
}

fn table(answer: &Value) -> String {
    let mut table = Table::new(&[
        "experiment",
        "prompt",
        "kind",
        "state",
        ">epoch",
        "shares",
        ">traffic",
        "changed",
        "note",
    ]);
    for experiment in list(&answer["experiments"]) {
        table.row([
            text(experiment, "id").to_owned(),
            text(experiment, "prompt").to_owned(),
            text(experiment, "kind").to_owned(),
            text(experiment, "state").to_owned(),
            counted(&experiment["epoch"]),
            shares(experiment),
            experiment["traffic"].as_f64().map_or_else(String::new, percent),
            moment_of(&experiment["changed_at"]),
            note(experiment),
        ]);
    }
    if table.is_empty() {
        "no experiments\n".to_owned()
    } else {
        table.to_string()
    }
}

fn shares(experiment: &Value) -> String {
    let share = |variant: &Value| {
        let share = variant["share"].as_f64().map_or_else(|| "–".to_owned(), percent);
        format!("{} {share}", text(variant, "name"))
    };
    list(&experiment["variants"])
        .iter()
        .map(share)
        .collect::<Vec<_>>()
        .join(", ")
}

fn note(experiment: &Value) -> String {
    if let Some(why) = experiment["unroutable"].as_str() {
        return format!("unroutable: {why}");
    }
    if experiment["freeze"].is_object() {
        return match experiment["freeze"]["cause"]["guardrail"]["guardrail"].as_str() {
            Some(guardrail) => format!("guardrail {guardrail}"),
            None => text(&experiment["freeze"], "reason").to_owned(),
        };
    }
    text(experiment, "hold").to_owned()
}

fn shown(experiment: &Value) -> String {
    let spec = &experiment["spec"];
    let id = text(experiment, "id");
    let mut out = format!(
        "{} – {} of prompt {}: {}\n",
        plain(id),
        plain(text(experiment, "kind")),
        plain(text(experiment, "prompt")),
        plain(text(experiment, "state")),
    );
    let mut rows = Vec::new();
    for (name, value) in [
        ("owner", &experiment["owner"]),
        ("hypothesis", &spec["hypothesis"]),
        ("environment", &spec["environment"]),
        ("unit", &experiment["unit"]),
        ("audience", &spec["audience"]),
        ("holding", &experiment["hold"]),
        ("unroutable", &experiment["unroutable"]),
    ] {
        if let Some(value) = value.as_str() {
            rows.push((name, value.to_owned()));
        }
    }
    if let Some(traffic) = experiment["traffic"].as_f64() {
        rows.push(("traffic", percent(traffic)));
    }
    let (changed, revision) = (moment_of(&experiment["changed_at"]), &experiment["revision"]);
    rows.push(("changed", format!("{changed} (revision {revision})")));
    let allowed: Vec<&str> = list(&experiment["allowed"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !allowed.is_empty() {
        rows.push(("possible now", allowed.join(", ")));
    }
    out.push_str(&facts(&rows));
    if experiment["freeze"].is_object() {
        let control = text(&experiment["variants"][0], "name");
        let sentences = evidence::sentences(id, &experiment["freeze"], control);
        let _ = write!(out, "\n{}", indented(&sentences.join("\n")));
    }
    let _ = write!(out, "\n{}", indented(&variants(experiment).to_string()));
    let epochs = epochs(experiment);
    if !epochs.is_empty() {
        let _ = write!(out, "\n{}", indented(&epochs.to_string()));
    }
    out
}

fn variants(experiment: &Value) -> Table {
    let mut table = Table::new(&["variant", "version", ">weight", ">share"]);
    for variant in list(&experiment["variants"]) {
        let number = match (variant["semver"].as_str(), variant["version"].as_u64()) {
            (Some(semver), Some(number)) => format!("{semver} (version {number})"),
            (Some(semver), None) => semver.to_owned(),
            (None, Some(number)) => format!("version {number}"),
            (None, None) => text(variant, "version").to_owned(),
        };
        let figure = |member: &str, format: fn(f64) -> String| {
            variant[member].as_f64().map_or_else(|| "–".to_owned(), format)
        };
        table.row([
            text(variant, "name").to_owned(),
            number,
            figure("weight", |weight| shortened(weight, 4)),
            figure("share", percent),
        ]);
    }
    table
}

fn epochs(experiment: &Value) -> Table {
    let mut table = Table::new(&[">epoch", "since", "state", "shares"]);
    for epoch in list(&experiment["epochs"]) {
        let shares = epoch["shares"].as_object().map_or_else(String::new, |shares| {
            let share = |(name, share): (&String, &Value)| {
                format!(
                    "{name} {}",
                    share.as_f64().map_or_else(|| "–".to_owned(), percent)
                )
            };
            shares.iter().map(share).collect::<Vec<_>>().join(", ")
        });
        table.row([
            counted(&epoch["epoch"]),
            moment_of(&epoch["since"]),
            text(epoch, "state").to_owned(),
            shares,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> Value {
        json!({
            "id": "summary", "prompt": "ticket", "kind": "canary", "state": "frozen", "epoch": 2, "unit": "user",
            "owner": "tools", "traffic": 1.0, "hold": null, "unroutable": null,
            "variants": [
                {"name": "current", "version": 1, "semver": "1.0.0", "weight": 50, "share": 1.0},
                {"name": "candidate", "version": 2, "semver": null, "weight": 50, "share": 0.0}],
            "freeze": {"revision": 9, "at": "2026-12-01T10:00:05Z", "actor": "api", "reason": "odd answers",
                "cause": "manual"},
            "changed_at": "2026-12-01T10:00:05Z", "revision": 9,
            "spec": {"environment": "production", "hypothesis": null}, "allowed": ["resume", "stop"],
            "epochs": [{"epoch": 1, "since": "2026-12-01T09:00:00Z", "state": "running",
                "shares": {"candidate": 0.05, "current": 0.95}}]})
    }

    #[test]
    fn the_list_is_a_table_with_a_note() {
        let listed = table(&json!({"revision": 9, "experiments": [frozen()]}));
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(
            lines,
            [
                "experiment  prompt  kind    state   epoch  shares                        traffic  changed                  note",
                "summary     ticket  canary  frozen      2  current 100 %, candidate 0 %    100 %  2026-12-01 10:00:05 UTC  odd answers",
            ]
        );
        assert_eq!(table(&json!({"experiments": []})), "no experiments\n");
    }

    #[test]
    fn a_frozen_experiment_shows_why_and_how_to_go_on() {
        let shown = shown(&frozen());
        for part in [
            "summary – canary of prompt ticket: frozen\n",
            "possible now  resume, stop\n",
            "  Frozen on 2026-12-01 10:00:05 UTC by hand (api, revision 9): odd answers.\n",
            "serin experiment resume summary --reason",
            "  candidate  version 2              50    0 %\n",
            "1  2026-12-01 09:00:00 UTC  running  candidate 5 %, current 95 %\n",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        assert!(!shown.contains("hypothesis"), "{shown}");
    }

    #[test]
    fn a_step_says_whether_it_changed_anything() {
        let answer = |events| json!({"experiment": "a", "state": "running", "revision": 4, "events": events});
        assert_eq!(stepped(&answer(json!([{}]))), "a is running now (revision 4)\n");
        assert_eq!(
            stepped(&answer(json!([]))),
            "a is running as before (revision 4)\n"
        );
    }
}
