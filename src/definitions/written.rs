//! One version as somebody hands it over: a file, or what came through a pipe.
//!
//! Owns how it is written (text, TOML or JSON with the keys of `config/prompts`) and what its place says of it. Which
//! prompt it is of is said elsewhere. Called by the command line.

use super::{
    document::{self, Document, LARGEST_FILE, Lines},
    mistake::{Mistake, Mistakes},
    prompt,
};
use crate::domain::{
    check,
    id::Environment,
    problem::Problem,
    prompt::{PromptContent, PromptDraft},
};
use serde_json::Value;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// How a version is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The whole is the text of the prompt.
    Text,
    /// The keys of a file in `config/prompts`.
    Toml,
    /// The same keys.
    Json,
}

impl Format {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 3] =
        [("text", Self::Text), ("toml", Self::Toml), ("json", Self::Json)];

    /// What a file's ending says.
    ///
    /// ```
    /// use serin::definitions::written::Format;
    /// assert_eq!(Format::of("prompts/tone.md".as_ref()), Some(Format::Text));
    /// assert_eq!(Format::of("tone.docx".as_ref()), None);
    /// ```
    #[must_use]
    pub fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "md" | "markdown" | "txt" | "prompt" => Some(Self::Text),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// What it must be where no name says: TOML or JSON when it reads as such and has a `prompt`, else text.
    ///
    /// ```
    /// use serin::definitions::written::Format;
    /// assert_eq!(Format::guessed(r#"{"prompt": "Be kind."}"#), Format::Json);
    /// assert_eq!(Format::guessed("prompt = \"Be kind.\""), Format::Toml);
    /// assert_eq!(Format::guessed("Answer as {\"answer\": …}."), Format::Text);
    /// ```
    #[must_use]
    pub fn guessed(text: &str) -> Self {
        if serde_json::from_str::<Value>(text).is_ok_and(|json| json.get("prompt").is_some()) {
            return Self::Json;
        }
        match Document::toml(text, Path::new("")) {
            Ok(document) if document.lines.has("prompt") => Self::Toml,
            _ => Self::Text,
        }
    }
}

/// A version as written, with the places of its fields.
#[derive(Debug, Clone)]
pub struct WrittenVersion {
    /// What mistakes are told under.
    shown: PathBuf,
    /// The version. Its semver is that of the file's name, where the file is named after one.
    pub draft: PromptDraft,
    /// The labels it asks for.
    pub labels: Vec<Environment>,
    lines: Lines,
}

impl WrittenVersion {
    /// Reads a file. Without a format its ending says it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(file: &Path, format: Option<Format>) -> Result<Self, Mistakes> {
        let Some(format) = format.or_else(|| Format::of(file)) else {
            let problem = "ends in none of .toml, .json, .md, .markdown, .txt and .prompt: say how it is written with \
                           --format text, toml or json";
            return Err(Mistakes(vec![Mistake::of_file(file, problem)]));
        };
        let text = document::text_of(file).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut written = Self::read(&text, file, Some(format))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        written.draft.semver = stem.and_then(|stem| semver::Version::parse(stem).ok());
        Ok(written)
    }

    /// Reads what comes through a pipe, to its end.
    ///
    /// # Errors
    /// Everything that is wrong with it, under the name `shown`.
    pub fn piped(input: impl Read, shown: &str, format: Option<Format>) -> Result<Self, Mistakes> {
        let wrong = |problem: String| Mistakes(vec![Mistake::of_file(Path::new(shown), problem)]);
        let mut bytes = Vec::new();
        let mut limited = input.take(LARGEST_FILE + 1);
        let read = limited.read_to_end(&mut bytes);
        read.map_err(|error: io::Error| wrong(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(wrong(format!("may have at most {LARGEST_FILE} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("not valid UTF-8".to_owned()))?;
        Self::read(&text, Path::new(shown), format)
    }

    fn read(text: &str, shown: &Path, format: Option<Format>) -> Result<Self, Mistakes> {
        // An editor's byte order mark is no part of a prompt.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let of = |document: Document| {
            // The reader of files wants a version; which one it is, the name says.
            let stand_in = semver::Version::new(0, 0, 0);
            let (draft, labels) = prompt::read(&document, &stand_in).map_err(|problems| {
                let located = |problem| Mistake::located(shown, &document.lines, problem);
                problems.into_iter().map(located).collect::<Vec<_>>()
            })?;
            Ok((draft, labels, document.lines))
        };
        let read = match format.unwrap_or_else(|| Format::guessed(text)) {
            Format::Text => plain(text, shown),
            Format::Toml => Document::toml(text, shown).and_then(of),
            Format::Json => json(text, shown).and_then(of),
        };
        let (mut draft, labels, lines) = read.map_err(Mistakes::sorted)?;
        draft.semver = None;
        Ok(Self {
            shown: shown.to_owned(),
            draft,
            labels,
            lines,
        })
    }

    /// Gives a problem found later its file and line.
    #[must_use]
    pub fn mistake(&self, problem: Problem) -> Mistake {
        Mistake::located(&self.shown, &self.lines, problem)
    }
}

/// What a version says, the labels it asks for, and where its fields are.
type Content = (PromptDraft, Vec<Environment>, Lines);

fn plain(text: &str, shown: &Path) -> Result<Content, Vec<Mistake>> {
    let draft = PromptDraft::of(PromptContent::Text(text.to_owned()));
    let problems = check::draft_problems(&draft);
    if problems.is_empty() {
        return Ok((draft, Vec::new(), Lines::default()));
    }
    let located = |problem| Mistake::located(shown, &Lines::default(), problem);
    Err(problems.into_iter().map(located).collect())
}

fn json(text: &str, shown: &Path) -> Result<Document, Vec<Mistake>> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        vec![Mistake {
            line: Some(error.line()),
            column: Some(error.column()),
            ..Mistake::of_file(shown, format!("not valid JSON: {error}"))
        }]
    })?;
    Ok(Document::json(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piped(text: &str, format: Option<Format>) -> Result<WrittenVersion, String> {
        WrittenVersion::piped(text.as_bytes(), "input", format).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_three_ways_to_write_one_version() {
        let toml =
            "prompt = \"Be kind.\"\nauthor = \"ann\"\nlabels = [\"production\"]\n[config]\nmodel = \"m\"\n";
        let json =
            r#"{"prompt": "Be kind.", "author": "ann", "labels": ["production"], "config": {"model": "m"}}"#;
        let (from_toml, from_json) = (piped(toml, None).unwrap(), piped(json, None).unwrap());
        assert_eq!(from_toml.draft, from_json.draft);
        assert_eq!(from_toml.draft.semver, None, "a pipe has no name");
        assert_eq!(from_json.labels[0].as_str(), "production");
        assert_eq!(
            piped(toml, Some(Format::Text)).unwrap().draft.prompt,
            PromptContent::Text(toml.to_owned()),
            "what somebody says is not guessed"
        );
        assert_eq!(
            piped("\u{feff}Be kind.\n", None).unwrap().draft.prompt,
            PromptContent::Text("Be kind.\n".to_owned())
        );
    }

    #[test]
    fn a_file_named_after_a_version_has_its_semver() {
        let folder = tempfile::tempdir().unwrap();
        let semver = |name: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, "Be kind.").unwrap();
            let written = WrittenVersion::open(&file, None).unwrap();
            written.draft.semver.map(|semver| semver.to_string())
        };
        assert_eq!(semver("1.2.0.txt").as_deref(), Some("1.2.0"));
        assert_eq!(semver("notes.md"), None);
    }

    #[test]
    fn mistakes_are_told_with_their_places() {
        let wrong = |text, format| piped(text, Some(format)).unwrap_err();
        assert_eq!(
            wrong("prompt = \"a\"\nauthor = 3\n", Format::Toml),
            "input:2: author: expected text, found 3"
        );
        assert!(
            wrong("{\n\"prompt\": }", Format::Json).starts_with("input:2: not valid JSON"),
            "where it is broken"
        );
        let odd = Path::new("prompt.docx");
        let told = WrittenVersion::open(odd, None).unwrap_err().to_string();
        assert!(
            told.starts_with("prompt.docx: ends in none of .toml, .json, .md"),
            "{told}"
        );
        let known = piped("prompt = \"a\"\nauthor = \"b\"\n", None).unwrap();
        let told = known.mistake(Problem::new("author", "is unknown here"));
        assert_eq!(told.to_string(), "input:2: author: is unknown here");
    }
}
