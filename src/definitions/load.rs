//! Reads whole folders of definitions: all of them, or every mistake in them.
//!
//! Owns where files lie and the rules between files. Called at the start, after every announced change and by
//! `serin validate`. What needs the log (is a referenced prompt registered, is a version unchanged) is decided by
//! the catalog's rules later, whose problems get their file and line from [`ExperimentFile::mistake`].

use super::{
    document::{Document, Lines},
    experiment::{self, Identity},
    mistake::{Mistake, Mistakes},
    owner::Owner,
    prompt,
    walk::{Depth, definition_files},
};
use crate::domain::{
    experiment::{ExperimentSpec, WantedStatus},
    id::{Environment, LayerName, PromptName},
    problem::Problem,
    prompt::{PromptDraft, PromptType},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The folders that definitions are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionDirs {
    /// `<name>/<semver>.toml`, where a name may have several parts.
    pub prompts: PathBuf,
    /// `<id>.toml`.
    pub experiments: PathBuf,
}

/// Everything the folders say.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// By name, then in semver order.
    pub prompts: Vec<PromptFile>,
    /// By id.
    pub experiments: Vec<ExperimentFile>,
    /// Whose files they are: who changes things by them, and which experiments stop when theirs is gone.
    pub owner: Owner,
}

/// One prompt version.
#[derive(Debug, Clone)]
pub struct PromptFile {
    /// The file.
    pub path: PathBuf,
    /// The folder's path below the prompts' folder.
    pub name: PromptName,
    /// The version; its semver is the file's name.
    pub draft: PromptDraft,
    /// The environments it asks to serve.
    pub labels: Vec<Environment>,
    /// Where its fields are.
    pub lines: Lines,
}

/// One experiment.
#[derive(Debug, Clone)]
pub struct ExperimentFile {
    /// The file.
    pub path: PathBuf,
    /// The design; its id is the file's name.
    pub spec: ExperimentSpec,
    /// Where its fields are.
    pub lines: Lines,
}

impl Definitions {
    /// Sorts the files, and says what is wrong between them.
    pub(super) fn put_in_order(&mut self) -> Vec<Mistake> {
        self.prompts
            .sort_by(|a, b| (&a.name, &a.draft.semver).cmp(&(&b.name, &b.draft.semver)));
        self.experiments.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        let mut mistakes = Vec::new();
        one_type_per_name(&self.prompts, &mut mistakes);
        one_file_per_version(&self.prompts, &mut mistakes);
        one_experiment_per_slot(&self.experiments, &mut mistakes);
        mistakes
    }
}

impl PromptFile {
    /// Gives a problem found later its file and line.
    #[must_use]
    pub fn mistake(&self, problem: &Problem) -> Mistake {
        Mistake::located(&self.path, &self.lines, problem.clone())
    }
}

impl ExperimentFile {
    /// Gives a problem found later its file and line.
    #[must_use]
    pub fn mistake(&self, problem: &Problem) -> Mistake {
        Mistake::located(&self.path, &self.lines, problem.clone())
    }
}

/// What could be read, and what was wrong with the rest.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The files without mistakes of their own.
    pub definitions: Definitions,
    /// The mistakes of the others.
    pub mistakes: Vec<Mistake>,
    /// Prompts with a version that could not be read: what refers to them cannot be judged.
    pub unreadable: BTreeSet<PromptName>,
}

/// Reads both folders. An existing empty folder is fine; a missing one is a mistake, since taking it for empty would
/// stop every experiment.
///
/// # Errors
/// Every mistake in every file, by file and line.
pub fn load(dirs: &DefinitionDirs, environment: &Environment) -> Result<Definitions, Mistakes> {
    let loaded = read(dirs, environment);
    if loaded.mistakes.is_empty() {
        Ok(loaded.definitions)
    } else {
        Err(Mistakes::sorted(loaded.mistakes))
    }
}

/// The same, giving the good files too when others have mistakes.
#[must_use]
pub fn read(dirs: &DefinitionDirs, environment: &Environment) -> Loaded {
    let Loaded {
        mut definitions,
        mut mistakes,
        mut unreadable,
    } = Loaded::default();
    let prompts = definition_files(&dirs.prompts, Depth::Recursive);
    mistakes.extend(prompts.mistakes);
    for found in prompts.files {
        let name = prompt_name(&found.path, &dirs.prompts);
        match prompt_file(found.path, &dirs.prompts) {
            Ok(file) => definitions.prompts.push(file),
            Err(found) => {
                mistakes.extend(found);
                unreadable.extend(name);
            }
        }
    }
    let experiments = definition_files(&dirs.experiments, Depth::Flat);
    mistakes.extend(experiments.mistakes);
    for found in experiments.files {
        match experiment_file(found.path, environment) {
            Ok(file) => definitions.experiments.push(file),
            Err(found) => mistakes.extend(found),
        }
    }
    mistakes.extend(definitions.put_in_order());
    Loaded {
        definitions,
        mistakes,
        unreadable,
    }
}

fn prompt_file(path: PathBuf, dir: &Path) -> Result<PromptFile, Vec<Mistake>> {
    // The place and the content are judged apart, so that one run shows the mistakes of both.
    let placed = prompt_name(&path, dir).and_then(|name| Ok((name, semver_of(&path)?)));
    let document = Document::open(&path);
    let stand_in = semver::Version::new(0, 0, 0);
    let semver = placed.as_ref().map_or(&stand_in, |(_, semver)| semver);
    let read = document.and_then(|document| {
        let located = |problem| Mistake::located(&path, &document.lines, problem);
        prompt::read(&document, semver)
            .map_err(|problems| problems.into_iter().map(located).collect::<Vec<_>>())
            .map(|(draft, labels)| (draft, labels, document.lines.clone()))
    });
    match (placed, read) {
        (Ok((name, _)), Ok((draft, labels, lines))) => Ok(PromptFile {
            path,
            name,
            draft,
            labels,
            lines,
        }),
        (placed, read) => {
            let misplaced = placed.err().map(|problem| Mistake::of_file(&path, problem));
            Err(misplaced
                .into_iter()
                .chain(read.err().unwrap_or_default())
                .collect())
        }
    }
}

fn prompt_name(path: &Path, dir: &Path) -> Result<PromptName, String> {
    let below = path.parent().and_then(|folder| folder.strip_prefix(dir).ok());
    let parts: Option<Vec<&str>> = below
        .unwrap_or(Path::new(""))
        .iter()
        .map(|part| part.to_str())
        .collect();
    let parts = parts.ok_or("the folder's name is the prompt's name and must be valid UTF-8")?;
    if parts.is_empty() {
        return Err(
            "a version lies in a folder with the prompt's name, as in support_reply/1.0.0.toml".into(),
        );
    }
    PromptName::new(&parts.join("/")).map_err(|problem| problem.to_string())
}

fn semver_of(path: &Path) -> Result<semver::Version, String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    semver::Version::parse(&stem).map_err(|problem| {
        format!("the file's name `{stem}.toml` must be a semver such as 1.0.0.toml ({problem})")
    })
}

fn experiment_file(path: PathBuf, environment: &Environment) -> Result<ExperimentFile, Vec<Mistake>> {
    let document = Document::open(&path)?;
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match experiment::read(&document, Identity::FileStem(&stem), environment) {
        Ok(spec) => Ok(ExperimentFile {
            path,
            spec,
            lines: document.lines,
        }),
        Err(problems) => {
            let located = |problem| Mistake::located(&path, &document.lines, problem);
            Err(problems.into_iter().map(located).collect())
        }
    }
}

fn one_type_per_name(prompts: &[PromptFile], mistakes: &mut Vec<Mistake>) {
    let mut first: BTreeMap<&PromptName, (&PromptFile, PromptType)> = BTreeMap::new();
    for file in prompts {
        let own = file.draft.prompt.prompt_type();
        let (earlier, wanted) = first.entry(&file.name).or_insert((file, own));
        if *wanted != own {
            let problem = format!(
                "is {own}, but a prompt's type is fixed and {} is {wanted}",
                earlier.path.display()
            );
            mistakes.push(file.mistake(&Problem::new("type", problem)));
        }
    }
}

/// Build metadata is no part of semver's order, so `1.0.0+a` and `1.0.0+b` would have none.
fn one_file_per_version(prompts: &[PromptFile], mistakes: &mut Vec<Mistake>) {
    for pair in prompts.windows(2) {
        let [earlier, later] = pair else { continue };
        let (Some(a), Some(b)) = (&earlier.draft.semver, &later.draft.semver) else {
            continue;
        };
        if earlier.name == later.name && a.cmp_precedence(b).is_eq() {
            let problem = format!("is the same version as {}", earlier.path.display());
            mistakes.push(later.mistake(&Problem::new("", problem)));
        }
    }
}

fn one_experiment_per_slot(experiments: &[ExperimentFile], mistakes: &mut Vec<Mistake>) {
    let mut layers: BTreeMap<&LayerName, Vec<(f64, f64, &ExperimentFile)>> = BTreeMap::new();
    for file in experiments {
        if let Some(layer) = &file.spec.layer
            && file.spec.status != WantedStatus::Stopped
        {
            let [lower, upper] = layer.slots;
            layers.entry(&layer.name).or_default().push((lower, upper, file));
        }
    }
    for (name, mut taken) in layers {
        taken.sort_by(|a, b| a.0.total_cmp(&b.0));
        // In order of the lower ends, whoever reaches furthest is met first by all later ones.
        let mut furthest: Option<(f64, f64, &ExperimentFile)> = None;
        for slot in taken {
            let (lower, upper, file) = slot;
            if let Some((other_lower, other_upper, other)) = furthest
                && lower < other_upper
            {
                let problem = format!(
                    "[{lower}, {upper}] of layer `{name}` overlaps [{other_lower}, {other_upper}] in {}",
                    other.path.display()
                );
                mistakes.push(file.mistake(&Problem::new("layer.slots", problem)));
            }
            if furthest.is_none_or(|(_, other_upper, _)| upper > other_upper) {
                furthest = Some(slot);
            }
        }
    }
}
