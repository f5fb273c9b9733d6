//! Prompt versions in a JSON body, as somebody registers one over HTTP.
//!
//! Owns the keys that only bodies have: how the version is called, where it came from, which labels it gets. What a
//! version is, has the keys of the files ([`super::prompt`]).

use super::{
    document::Document,
    prompt::{add_broken_rules, draft, names},
    reader::{Field, Report, Table},
};
use crate::domain::{
    id::{LabelName, PromptName},
    problem::Problem,
    prompt::{Bump, PromptDraft, Source},
};
use serde_json::Value;
use std::ops::RangeInclusive;

/// The longest reason, in characters.
pub const LONGEST_REASON: usize = 1_000;
/// The longest path of a source, in bytes.
const LONGEST_PATH: usize = 4_096;
/// The hex digits of a commit's id: from what git abbreviates it to, to a whole SHA-256.
const COMMIT_DIGITS: RangeInclusive<usize> = 7..=64;

/// A version that somebody wants to register, and the labels it is to have.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The prompt.
    pub name: PromptName,
    /// The version.
    pub draft: PromptDraft,
    /// Whether the body says nothing of tags: they belong to the name, so those it has stay.
    pub keeps_tags: bool,
    /// Each once, environments included.
    pub labels: Vec<LabelName>,
    /// The warnings that are accepted where a label deploys it.
    pub accept: Vec<String>,
    /// Why; empty when nobody says so.
    pub reason: String,
}

/// A registration from a JSON body. The name comes from the address, from the body's `name`, or from both when they
/// agree. Where it came from is the API, unless `source` says another place.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub fn registration_from_json(
    address: Option<&PromptName>,
    body: &Value,
) -> Result<Registration, Vec<Problem>> {
    let document = Document::json(body);
    let report = Report::default();
    let read = Table::root(&document.root, &report).map(|mut root| {
        let name = name(&mut root, address);
        let mut draft = draft(&mut root);
        draft.semver = root.optional("semver").and_then(|field| semver(&field));
        draft.bump = root.optional("bump").and_then(|field| field.choice(&Bump::ALL));
        let source = root.optional("source");
        draft.source = Some(source.and_then(|field| git(&field)).unwrap_or(Source::Api));
        let labels = names(&mut root, "labels", LabelName::new);
        let (accept, reason) = (accepted(&mut root), reason(&mut root));
        root.finish();
        (name, draft, labels, accept, reason)
    });
    let mut all = report.into_problems();
    let Some((name, draft, labels, accept, reason)) = read else {
        return Err(all);
    };
    add_broken_rules(&mut all, &draft);
    match name {
        Some(name) if all.is_empty() => Ok(Registration {
            name,
            draft,
            keeps_tags: body.get("tags").is_none(),
            labels,
            accept,
            reason,
        }),
        _ => Err(all),
    }
}

/// The words of `accept`: warnings that somebody takes upon themselves.
pub(crate) fn accepted(root: &mut Table<'_>) -> Vec<String> {
    let words = root.optional("accept").and_then(|field| field.list());
    let words = words.unwrap_or_default();
    words
        .iter()
        .filter_map(|word| word.text())
        .map(str::to_owned)
        .collect()
}

/// What `reason` says, without the spaces around it; empty when it is absent.
pub(crate) fn reason(root: &mut Table<'_>) -> String {
    let Some(field) = root.optional("reason") else {
        return String::new();
    };
    let reason = field.text().unwrap_or_default().trim();
    if reason.chars().count() > LONGEST_REASON {
        field.wrong(format_args!("must have at most {LONGEST_REASON} characters"));
    }
    reason.to_owned()
}

fn name(root: &mut Table<'_>, address: Option<&PromptName>) -> Option<PromptName> {
    let Some(address) = address else {
        let written = root.required("name", "the prompt's name");
        return written.and_then(|field| field.name(PromptName::new));
    };
    if let Some(field) = root.optional("name")
        && field.text().is_some_and(|written| written != address.as_str())
    {
        field.wrong(format_args!("must be `{address}`, as in the address, or absent"));
    }
    Some(address.clone())
}

fn semver(field: &Field<'_>) -> Option<semver::Version> {
    let written = field.text()?;
    let parsed = semver::Version::parse(written);
    parsed
        .map_err(|error| field.wrong(format_args!("must be a semver such as 1.1.0 ({error})")))
        .ok()
}

fn git(field: &Field<'_>) -> Option<Source> {
    let mut table = field.table()?;
    let commit = table
        .required("git_commit", "the id of the commit it is from")
        .and_then(|field| {
            let id = field.text()?;
            let is_id = COMMIT_DIGITS.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_id {
                let (least, most) = (COMMIT_DIGITS.start(), COMMIT_DIGITS.end());
                field.wrong(format_args!("must be {least} to {most} hex digits"));
            }
            is_id.then(|| id.to_ascii_lowercase())
        });
    let path = table.optional("path").and_then(|field| {
        let path = field.text()?;
        if path.len() > LONGEST_PATH {
            field.wrong(format_args!("may have at most {LONGEST_PATH} bytes"));
        }
        Some(path.to_owned())
    });
    let at = table.optional("at").and_then(|field| field.timestamp());
    table.finish();
    Some(Source::Git {
        commit: commit?,
        path,
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_of_a_body_is_told() {
        let address = PromptName::new("a").unwrap();
        let body = json!({
            "name": "b", "promt": "x", "semver": "1.0", "bump": "huge", "labels": ["a b", 1], "tags": [""],
            "source": {"git_commit": "xyz", "at": "yesterday"}, "reason": "r".repeat(1_001), "type": "text",
        });
        let problems = registration_from_json(Some(&address), &body).unwrap_err();
        let mut fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        fields.sort_unstable();
        let expected = [
            "bump",
            "labels[0]",
            "labels[1]",
            "name",
            "prompt",
            "promt",
            "reason",
            "semver",
            "source.at",
            "source.git_commit",
            "tags[0]",
        ];
        assert_eq!(fields, expected);
        let nameless = registration_from_json(None, &json!({"prompt": "x"})).unwrap_err();
        assert_eq!(nameless[0].to_string(), "name: is required: the prompt's name");
    }

    #[test]
    fn a_body_is_read_as_it_is_meant() {
        let body = json!({
            "name": "a/b c", "bump": "minor", "labels": ["friendly", "friendly"], "reason": " why ", "config": {"t": 0.2},
            "prompt": [{"role": "system", "content": "hi"}, {"type": "placeholder", "name": "past"}],
            "source": {"git_commit": "0123ABCdef", "path": "p.toml", "at": "2026-11-01T00:00:00Z"},
        });
        let read = registration_from_json(None, &body).unwrap();
        assert_eq!(
            (read.name.as_str(), read.reason.as_str(), read.labels.len()),
            ("a/b c", "why", 1)
        );
        assert!(read.keeps_tags);
        assert_eq!(read.draft.prompt.placeholders().collect::<Vec<_>>(), ["past"]);
        let source = serde_json::to_value(&read.draft.source).unwrap();
        let expected =
            json!({"kind": "git", "commit": "0123abcdef", "path": "p.toml", "at": "2026-11-01T00:00:00Z"});
        assert_eq!(source, expected);
    }
}
