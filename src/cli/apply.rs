//! `serin apply`: a folder of definitions to a running server, as one set; first as a plan.

use super::{
    Global, client,
    experiment::{Address, control_plane},
    figures::{list, percent, text},
    output::{self, Told},
    preflight,
    table::{indented, plain},
};
use crate::{
    definitions::load::{self, DefinitionDirs, Definitions},
    domain::id::Environment,
    settings::Settings,
};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf};

/// Apply a folder of prompts and experiments to a running server, all of it or nothing
///
/// The folder has `prompts/` and `experiments/`, as `config/` does. What an earlier apply of the same set defined and is
/// gone from the folder is stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The set's name; a set stops only what it has defined itself
    #[arg(long, value_name = "NAME", default_value = "default")]
    set: String,
    /// Why; it lands in the audit log
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: Address,
}

/// Reads the folder, sends it and tells what changes.
///
/// # Errors
/// Every mistake in the files, with file and line, or the server's reason to refuse.
pub(super) fn run(apply: &Apply, global: &Global) -> Result<()> {
    let dirs = DefinitionDirs {
        prompts: apply.dir.join("prompts"),
        experiments: apply.dir.join("experiments"),
    };
    let definitions = match load::load(&dirs, &environment(global)?) {
        Ok(definitions) => definitions,
        Err(mistakes) if global.json => {
            output::print_json(&json!(mistakes))?;
            return Err(Told.into());
        }
        Err(mistakes) => {
            output::complain(&mistakes.to_string());
            return Err(Told.into());
        }
    };
    let mut body = set(&definitions)?;
    body["set"] = json!(apply.set);
    body["dry_run"] = json!(apply.dry_run);
    body["reason"] = json!(apply.reason);
    let server = control_plane(global, &apply.at)?;
    let answer = client::run(async { Ok(server.post("/api/v1/apply", &body).await?) })?;
    answer.print(global.json, shown)
}

/// The environment of experiments that name none: the settings', where there are any.
fn environment(global: &Global) -> Result<Environment> {
    let file = global.file();
    let settings = if global.config.is_none() && !file.exists() {
        Settings::parse("", file)
    } else {
        Settings::load(file)
    };
    Ok(settings?.environment)
}

/// The folder as the server takes it.
fn set(definitions: &Definitions) -> Result<Value> {
    let mut prompts = Vec::new();
    for file in &definitions.prompts {
        let mut prompt = serde_json::to_value(&file.draft).context("a prompt has no JSON form")?;
        prompt["name"] = json!(file.name);
        prompt["type"] = json!(file.draft.prompt.prompt_type());
        prompt["labels"] = json!(file.labels);
        prompts.push(prompt);
    }
    let specs: Vec<_> = definitions.experiments.iter().map(|file| &file.spec).collect();
    Ok(json!({"prompts": prompts, "experiments": specs}))
}

fn shown(answer: &Value) -> String {
    let mut out = String::new();
    for change in list(&answer["changes"]) {
        let sign = match text(change, "action") {
            "create" => '+',
            "stop" => '-',
            _ => '~',
        };
        let kind = text(change, "kind").replace('_', " ");
        let _ = writeln!(out, "{sign} {kind} {}", plain(text(change, "name")));
        for field in list(&change["fields"]) {
            let (name, from, to) = (plain(text(field, "field")), &field["from"], &field["to"]);
            let _ = writeln!(out, "    {name}: {from} → {to}");
        }
        for line in traffic(&change["traffic"]) {
            let _ = writeln!(out, "    {line}");
        }
        for note in list(&change["notes"]).iter().filter_map(Value::as_str) {
            let _ = writeln!(out, "    {}", plain(note));
        }
    }
    let unchanged = answer["unchanged"].as_u64().unwrap_or(0);
    let _ = writeln!(out, "= {unchanged} unchanged");
    let steps: Vec<String> = list(&answer["steps"])
        .iter()
        .filter_map(Value::as_str)
        .map(|step| format!("{}\n", plain(step)))
        .collect();
    let dry = answer["dry_run"] == json!(true);
    if steps.is_empty() {
        out.push_str("nothing to do\n");
    } else {
        let head = if dry { "would be done" } else { "done" };
        let _ = write!(out, "{head}:\n{}", indented(&steps.concat()));
    }
    let excluded = preflight::exclusions(&answer["exclusions"]);
    if !excluded.is_empty() {
        let _ = write!(out, "who excludes whom:\n{}", indented(&excluded));
    }
    for found in list(&answer["preflight"]) {
        out.push_str(&preflight::forecast(found));
    }
    out.push_str(&preflight::warnings(&answer["warnings"]));
    out
}

/// How much of the traffic moves.
fn traffic(shift: &Value) -> Vec<String> {
    if !shift.is_object() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for variant in list(&shift["variants"]) {
        if let (Some(from), Some(to)) = (variant["from"].as_f64(), variant["to"].as_f64()) {
            let name = plain(text(variant, "variant"));
            lines.push(format!(
                "{name}: {} → {} of the audience",
                percent(from),
                percent(to)
            ));
        }
    }
    let share = |name: &str| percent(shift[name].as_f64().unwrap_or(0.0));
    lines.push(format!(
        "{} of the audience joins, {} leaves, {} changes its variant, {} keeps it",
        share("join"),
        share("leave"),
        share("move_between"),
        share("keep")
    ));
    if let Some(unknown) = shift["unknown"].as_str() {
        lines.push(plain(unknown));
    }
    lines
}
