//! A set of definitions in a JSON body: what `serin apply` sends, with the keys and the rules of the files.
//!
//! Owns the body's shape. Every entry stands for the file it would be, `<set>/experiments/<id>.toml` and
//! `<set>/prompts/<name>/<semver>.toml`, and its mistakes are told under that name. Called by the HTTP API.

use super::{
    document::{Document, Lines},
    experiment::experiment_from_json,
    load::{Definitions, ExperimentFile, PromptFile},
    mistake::{Mistake, Mistakes},
    owner::{Owner, set_name},
    prompt,
    registration::LONGEST_REASON,
};
use crate::domain::{
    id::{Environment, PromptName},
    problem::Problem,
};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The name of a set that names itself nothing.
pub const DEFAULT_SET: &str = "default";

/// What somebody asks to be applied.
#[derive(Debug)]
pub struct AppliedSet {
    /// The set's name.
    pub name: String,
    /// What it says.
    pub definitions: Definitions,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
}

/// Where a prompt version's file lies in its set.
#[must_use]
pub fn prompt_path(set: &str, name: &str, semver: &str) -> PathBuf {
    [set, "prompts", name, &format!("{semver}.toml")].iter().collect()
}

/// Where an experiment's file lies in its set.
#[must_use]
pub fn experiment_path(set: &str, id: &str) -> PathBuf {
    [set, "experiments", &format!("{id}.toml")].iter().collect()
}

/// A set from a JSON body: `set`, `prompts`, `experiments`, `dry_run` and `reason`. Both lists must be there, since an
/// absent one taken for an empty one would stop every experiment of the set. `by` is who applies it.
///
/// # Errors
/// Everything that is wrong with it, by the file an entry stands for; of the body itself under an empty name.
pub fn set_from_json(
    body: &Map<String, Value>,
    default_environment: &Environment,
    by: &str,
) -> Result<AppliedSet, Mistakes> {
    let mut mistakes = Vec::new();
    let own = |field: &str, problem: String| Mistake {
        field: field.to_owned(),
        ..Mistake::of_file(Path::new(""), problem)
    };
    for key in body.keys() {
        if !["set", "prompts", "experiments", "dry_run", "reason"].contains(&key.as_str()) {
            mistakes.push(own(
                &key.chars().take(80).collect::<String>(),
                "unknown key, allowed here: set, prompts, experiments, dry_run, reason".to_owned(),
            ));
        }
    }
    let text = |key: &str, mistakes: &mut Vec<Mistake>| match body.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        Some(_) => {
            mistakes.push(own(key, "must be text".to_owned()));
            None
        }
    };
    let name = text("set", &mut mistakes).unwrap_or_else(|| DEFAULT_SET.to_owned());
    if let Err(problem) = set_name(&name) {
        mistakes.push(own("set", problem));
    }
    let reason = text("reason", &mut mistakes).unwrap_or_default();
    if reason.chars().count() > LONGEST_REASON {
        let problem = format!("must have at most {LONGEST_REASON} characters");
        mistakes.push(own("reason", problem));
    }
    let dry_run = match body.get("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        Some(_) => {
            mistakes.push(own("dry_run", "must be true or false".to_owned()));
            false
        }
    };
    let mut definitions = Definitions {
        owner: Owner::Set {
            name: name.clone(),
            by: by.to_owned(),
            reason,
        },
        ..Definitions::default()
    };
    for (index, entry) in entries(body, "prompts", &mut mistakes) {
        match prompt_entry(&name, index, entry) {
            Ok(file) => definitions.prompts.push(file),
            Err(found) => mistakes.extend(found),
        }
    }
    for (index, entry) in entries(body, "experiments", &mut mistakes) {
        match experiment_entry(&name, index, entry, default_environment) {
            Ok(file) => definitions.experiments.push(file),
            Err(found) => mistakes.extend(found),
        }
    }
    mistakes.extend(definitions.put_in_order());
    let ids = definitions.experiments.windows(2);
    for twice in ids.filter(|pair| pair[0].spec.id == pair[1].spec.id) {
        mistakes.push(twice[1].mistake(&Problem::new("id", "is in the set twice")));
    }
    if mistakes.is_empty() {
        return Ok(AppliedSet {
            name,
            definitions,
            dry_run,
        });
    }
    Err(Mistakes::sorted(mistakes))
}

fn entries<'a>(
    body: &'a Map<String, Value>,
    key: &str,
    mistakes: &mut Vec<Mistake>,
) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    let list = body.get(key).and_then(Value::as_array);
    if list.is_none() {
        mistakes.push(Mistake {
            field: key.to_owned(),
            ..Mistake::of_file(Path::new(""), "is required: a list, empty when the set has none")
        });
    }
    list.map_or(&[][..], Vec::as_slice).iter().enumerate()
}

fn prompt_entry(set: &str, index: usize, entry: &Value) -> Result<PromptFile, Vec<Mistake>> {
    let nameless = |problem: &str| {
        vec![Mistake {
            field: format!("prompts[{index}]"),
            ..Mistake::of_file(Path::new(""), problem)
        }]
    };
    let Value::Object(entry) = entry else {
        return Err(nameless("must be an object"));
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let (Some(written_name), Some(written_semver)) = (text("name"), text("semver")) else {
        return Err(nameless(
            "needs `name` and `semver`, the version's folder and file",
        ));
    };
    let path = prompt_path(set, written_name, written_semver);
    let wrong = |field: &str, problem: String| {
        vec![Mistake::located(
            &path,
            &Lines::default(),
            Problem::new(field, problem),
        )]
    };
    let name = PromptName::new(written_name).map_err(|problem| wrong("name", problem.to_string()))?;
    let semver = semver::Version::parse(written_semver)
        .map_err(|problem| wrong("semver", format!("must be a semver such as 1.0.0 ({problem})")))?;
    let mut content = entry.clone();
    content.remove("name");
    content.remove("semver");
    let document = Document::json(&Value::Object(content));
    match prompt::read(&document, &semver) {
        Ok((draft, labels)) => Ok(PromptFile {
            path,
            name,
            draft,
            labels,
            lines: Lines::default(),
        }),
        Err(problems) => {
            let located = |problem| Mistake::located(&path, &Lines::default(), problem);
            Err(problems.into_iter().map(located).collect())
        }
    }
}

fn experiment_entry(
    set: &str,
    index: usize,
    entry: &Value,
    environment: &Environment,
) -> Result<ExperimentFile, Vec<Mistake>> {
    let path = match entry["id"].as_str() {
        Some(id) => experiment_path(set, id),
        None => PathBuf::new(),
    };
    match experiment_from_json(None, entry, environment) {
        Ok(spec) => Ok(ExperimentFile {
            path,
            spec,
            lines: Lines::default(),
        }),
        Err(problems) => {
            let located = |problem: Problem| {
                let problem = if path.as_os_str().is_empty() {
                    Problem::new(format!("experiments[{index}].{}", problem.field), problem.problem)
                } else {
                    problem
                };
                Mistake::located(&path, &Lines::default(), problem)
            };
            Err(problems.into_iter().map(located).collect())
        }
    }
}
