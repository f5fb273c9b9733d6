//! `serin apply`: a folder of definitions, as one set, to a running server.
//!
//! Reads and checks the files here, so that a mistake is told with its line before anything is sent; what they mean for
//! what is running is decided by the server, all of it or nothing. Prints the plan in either case.

mod shown;

use super::{
    Global,
    client::{self, ClientError},
    experiment::{Address, control_plane},
    output::{self, Told},
};
use crate::{
    definitions::{
        load::{self, DefinitionDirs, Definitions},
        mistake::{Mistake, Mistakes},
        owner::set_name,
        set::{experiment_path, prompt_path},
    },
    domain::{id::Environment, problem::Problem},
};
use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Make a running server do what the files of a folder say, as a whole or not at all
///
/// The folder has `prompts` and `experiments`, as the server's own does. What it says already is left alone, so applying
/// twice does nothing the second time. An experiment whose file is gone from the folder is stopped if an earlier apply of
/// the same set made it; experiments of other sets, of the server's own files and of the API are left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The folder with `prompts` and `experiments`
    dir: PathBuf,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    /// The set's name, by which it knows its experiments again [default: the folder's name]
    #[arg(long, value_name = "NAME", value_parser = named)]
    set: Option<String>,
    /// Why; it lands in the audit log
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: Address,
}

fn named(written: &str) -> Result<String, String> {
    set_name(written).map(|()| written.to_owned())
}

/// Applies, or tells what that would do.
///
/// # Errors
/// [`Told`] when files have mistakes or the server refuses the set; otherwise that the server cannot be asked.
pub(super) fn run(apply: &Apply, global: &Global) -> Result<()> {
    let set = apply.set_name()?;
    let dirs = DefinitionDirs {
        prompts: apply.dir.join("prompts"),
        experiments: apply.dir.join("experiments"),
    };
    // Where a file names no environment the server's own is meant, which only the server knows.
    let stand_in = Environment::new("production").map_err(|error| anyhow!(error))?;
    let definitions = match load::load(&dirs, &stand_in) {
        Ok(definitions) => definitions,
        Err(mistakes) => return refused(&mistakes, global.json),
    };
    let body = json!({
        "set": set,
        "dry_run": apply.dry_run,
        "reason": apply.reason,
        "prompts": prompts(&definitions),
        "experiments": experiments(&definitions),
    });
    let server = control_plane(global, &apply.at)?;
    match client::run(async { Ok(server.post("/api/v1/apply", &body).await) })? {
        Ok(answer) => answer.print(global.json, |answer| shown::plan(answer, &server.url())),
        Err(ClientError::Refused { code, problem, .. }) if code == "INVALID_SET" => {
            refused(&located(&problem, &definitions, &set), global.json)
        }
        Err(error) => Err(error.into()),
    }
}

impl Apply {
    fn set_name(&self) -> Result<String> {
        if let Some(set) = &self.set {
            return Ok(set.clone());
        }
        let dir = &self.dir;
        // `.` and `..` have a name of their own.
        let real = dir.canonicalize().with_context(|| dir.display().to_string())?;
        let name = real
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let hint = || format!("{}: name the set with --set", dir.display());
        set_name(&name)
            .map_err(|problem| anyhow!(problem))
            .with_context(hint)?;
        Ok(name)
    }
}

fn refused(mistakes: &Mistakes, json: bool) -> Result<()> {
    if json {
        output::print_json(&json!(mistakes))?;
    } else {
        output::complain(&mistakes.to_string());
        output::complain("nothing was changed");
    }
    Err(Told.into())
}

fn prompts(definitions: &Definitions) -> Vec<Value> {
    let prompt = |file: &load::PromptFile| {
        let mut entry = json!(file.draft);
        entry["name"] = json!(file.name);
        entry["labels"] = json!(file.labels);
        entry
    };
    definitions.prompts.iter().map(prompt).collect()
}

fn experiments(definitions: &Definitions) -> Vec<Value> {
    let experiment = |file: &load::ExperimentFile| {
        let mut entry = json!(file.spec);
        if let Some(entry) = entry.as_object_mut().filter(|_| !file.lines.has("environment")) {
            entry.remove("environment");
        }
        entry
    };
    definitions.experiments.iter().map(experiment).collect()
}

/// The server's mistakes, with the files and lines they have here.
fn located(problem: &Value, definitions: &Definitions, set: &str) -> Mistakes {
    let empty = Map::new();
    let listed = problem["problems"].as_array().map_or(&[][..], Vec::as_slice);
    let mistakes = listed.iter().map(|told| {
        let told = told.as_object().unwrap_or(&empty);
        let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
        let (file, found) = (text("file"), Problem::new(text("field"), text("problem")));
        let prompt = definitions.prompts.iter().find(|known| {
            let semver = known
                .draft
                .semver
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            prompt_path(set, known.name.as_str(), &semver)
                .display()
                .to_string()
                == file
        });
        let experiment = definitions
            .experiments
            .iter()
            .find(|known| experiment_path(set, known.spec.id.as_str()).display().to_string() == file);
        match (prompt, experiment) {
            (Some(known), _) => known.mistake(&found),
            (_, Some(known)) => known.mistake(&found),
            (None, None) => Mistake {
                field: found.field,
                ..Mistake::of_file(file.as_ref(), found.problem)
            },
        }
    });
    Mistakes::sorted(mistakes.collect())
}
