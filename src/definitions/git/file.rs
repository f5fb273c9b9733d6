//! Which files of a folder are prompts, and what one of them says.

use super::braces;
use crate::{
    definitions::{
        document::{Document, LARGEST_FILE, Lines},
        mistake::Mistake,
        prompt,
    },
    domain::{
        check,
        id::PromptName,
        problem::Problem,
        prompt::{PromptContent, PromptDraft},
    },
};
use serde_json::Value;
use std::path::Path;

/// What a file of Git Large File Storage holds in a repository instead of its content.
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\n";

/// How a prompt is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The file is the text.
    Text,
    /// The keys of a version's file.
    Toml,
    /// The same keys.
    Json,
}

/// What a path says of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: PromptName,
    /// Where the file is named after one.
    pub(super) semver: Option<semver::Version>,
    format: Format,
}

impl Place {
    /// Reads a path below the prompts' folder: `<name…>/<semver>` or `<name…>`, ending in `.toml`, `.json`, `.md`, `.txt`
    /// or `.prompt`. None for files that are no prompts: other endings, hidden files and folders, and `README`.
    ///
    /// # Errors
    /// What is wrong with the name of a file that looks like a prompt.
    pub(super) fn of(path: &str) -> Option<Result<Self, String>> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, ending) = file.rsplit_once('.')?;
        let format = match ending {
            "md" | "txt" | "prompt" => Format::Text,
            "toml" => Format::Toml,
            "json" => Format::Json,
            _ => return None,
        };
        let readme = format == Format::Text && stem.eq_ignore_ascii_case("readme");
        if readme || path.split('/').any(|part| part.starts_with('.')) {
            return None;
        }
        let semver = semver::Version::parse(stem).ok();
        let name = match (&semver, folder) {
            (Some(_), "") => {
                return Some(Err(
                    "a version lies in a folder with the prompt's name, as in support_reply/1.0.0.toml"
                        .into(),
                ));
            }
            (Some(_), folder) => folder,
            (None, _) => &path[..path.len() - ending.len() - 1],
        };
        let name = PromptName::new(name).map_err(|problem| problem.to_string());
        Some(name.map(|name| Self { name, semver, format }))
    }

    /// The version that the bytes of the file are; `shown` is the name that mistakes carry. `convert_braces` makes
    /// `{{name}}` of `{name}`.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub(super) fn draft(
        &self,
        bytes: &[u8],
        shown: &Path,
        convert_braces: bool,
    ) -> Result<PromptDraft, Vec<Mistake>> {
        let text = text(bytes).map_err(|(line, problem)| {
            vec![Mistake {
                line,
                ..Mistake::of_file(shown, problem)
            }]
        })?;
        let located = |lines: &Lines, problems: Vec<Problem>| {
            let located = |problem| Mistake::located(shown, lines, problem);
            problems.into_iter().map(located).collect::<Vec<_>>()
        };
        let read = |document: &Document| {
            // The reader of files wants a version; which one the file has is known already.
            let stand_in = semver::Version::new(0, 0, 0);
            prompt::read(document, &stand_in).map_err(|problems| located(&document.lines, problems))
        };
        let mut draft = match self.format {
            Format::Text => plain(text),
            // Whom a file asks to be deployed to is not followed: an import moves no environment.
            Format::Toml => read(&Document::toml(text, shown)?)?.0,
            Format::Json => read(&json(text, shown)?)?.0,
        };
        draft.semver.clone_from(&self.semver);
        if convert_braces {
            braces::convert(&mut draft.prompt);
        }
        // Converted text is longer, and text of its own was not judged yet.
        let problems = check::draft_problems(&draft);
        if problems.is_empty() {
            Ok(draft)
        } else {
            Err(located(&Lines::default(), problems))
        }
    }
}

/// The text of a file, without a byte order mark; otherwise the line and what is wrong.
fn text(bytes: &[u8]) -> Result<&str, (Option<usize>, String)> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        (Some(line), "not valid UTF-8".to_owned())
    })?;
    if text.starts_with(LFS_POINTER) {
        let problem = "is a pointer of Git LFS and not the prompt itself, which is not in the repository";
        return Err((None, problem.to_owned()));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn plain(text: &str) -> PromptDraft {
    PromptDraft::of(PromptContent::Text(text.to_owned()))
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

/// That a file of this many bytes is not read.
pub(super) fn too_large(bytes: u64) -> Option<String> {
    (bytes > LARGEST_FILE).then(|| format!("may have at most {LARGEST_FILE} bytes, found {bytes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        Place::of(path).unwrap().unwrap()
    }

    #[test]
    fn paths_say_name_and_version() {
        for (path, name, semver) in [
            ("support/reply/1.2.0.toml", "support/reply", "1.2.0"),
            ("a/1.0.0-rc.1.md", "a", "1.0.0-rc.1"),
            ("a/2.0.0.json", "a", "2.0.0"),
            ("support/first reply.md", "support/first reply", ""),
            ("a.v2.txt", "a.v2", ""),
            ("a/1.0.prompt", "a/1.0", ""),
            ("a.toml", "a", ""),
        ] {
            let place = place(path);
            let written = place
                .semver
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            assert_eq!((place.name.as_str(), written.as_str()), (name, semver), "{path}");
        }
    }

    #[test]
    fn other_files_are_none_of_ours() {
        for path in [
            "a.py",
            "a",
            ".hidden.md",
            ".git/a.md",
            "x/README.md",
            "readme.txt",
            "a.toml~",
            "a.MD",
        ] {
            assert!(Place::of(path).is_none(), "{path}");
        }
        assert!(Place::of("1.0.0.toml").unwrap().unwrap_err().contains("folder"));
        assert!(Place::of("new.md").unwrap().is_err(), "a reserved name");
    }

    #[test]
    fn all_formats_say_the_same() {
        let draft = |path: &str, text: &str| {
            place(path)
                .draft(text.as_bytes(), Path::new(path), false)
                .unwrap()
        };
        let text = draft("a.md", "\u{feff}Hi {{name}}\n");
        assert_eq!(text.prompt, PromptContent::Text("Hi {{name}}\n".to_owned()));
        assert_eq!(
            draft("a.toml", "prompt = \"Hi {{name}}\\n\"").digest(),
            text.digest()
        );
        assert_eq!(
            draft("a.json", r#"{"prompt": "Hi {{name}}\n"}"#).digest(),
            text.digest()
        );
        assert_eq!(text.semver, None);
        let versioned = draft("a/1.0.0.toml", "prompt = \"x\"\nlabels = [\"production\"]");
        assert_eq!(versioned.semver, Some(semver::Version::new(1, 0, 0)));
    }

    #[test]
    fn mistakes_have_their_line() {
        let mistakes = |path: &str, bytes: &[u8]| {
            let found = place(path).draft(bytes, Path::new(path), false).unwrap_err();
            found[0].to_string()
        };
        assert_eq!(mistakes("a.md", b"one\ntwo \xff"), "a.md:2: not valid UTF-8");
        assert!(mistakes("a.toml", b"prompt = \"a\"\nx =").starts_with("a.toml:2: not valid TOML"));
        assert!(mistakes("a.json", b"{\n\"prompt\": }").starts_with("a.json:2: not valid JSON"));
        assert!(mistakes("a.json", b"{\"prompt\": 1}").contains("prompt: expected text"));
        assert!(mistakes("a.md", LFS_POINTER.as_bytes()).contains("Git LFS"));
        assert!(too_large(LARGEST_FILE).is_none() && too_large(LARGEST_FILE + 1).is_some());
    }

    #[test]
    fn braces_are_converted_on_request_only() {
        let read = |convert| {
            let draft = place("a.txt").draft(b"{name}", Path::new("a.txt"), convert);
            draft.unwrap().prompt
        };
        assert_eq!(read(false), PromptContent::Text("{name}".to_owned()));
        assert_eq!(read(true), PromptContent::Text("{{name}}".to_owned()));
    }
}
