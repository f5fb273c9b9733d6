//! The list of prompts, a page at a time, in order of their names.

use super::{
    refusal::{Refusal, shortened},
    version::in_milliseconds,
    written,
};
use crate::{
    domain::{
        Timestamp,
        id::{PromptName, VersionNumber},
        prompt::{Config, PromptType},
    },
    routing::{archive::PromptArchive, table::RoutingTable},
};
use serde::Serialize;

/// Prompts on a page, unless another number is asked for.
const USUAL_LIMIT: usize = 50;
/// The most prompts on a page.
const HIGHEST_LIMIT: usize = 100;

/// Which prompts are asked for, and which page of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// From 1.
    page: usize,
    limit: usize,
    name: Option<String>,
    label: Option<String>,
    tag: Option<String>,
    /// The first moment of the last change that counts.
    from: Option<Timestamp>,
    /// The first that no longer does.
    to: Option<Timestamp>,
}

impl Asked {
    /// From the query. A parameter without a value counts as absent and unknown ones do not matter.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let mut asked = Self {
            page: 1,
            limit: USUAL_LIMIT,
            name: None,
            label: None,
            tag: None,
            from: None,
            to: None,
        };
        let pairs = form_urlencoded::parse(query.as_bytes());
        for (parameter, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match parameter.as_ref() {
                "page" => asked.page = number("page", &value, usize::MAX)?,
                "limit" => asked.limit = number("limit", &value, HIGHEST_LIMIT)?,
                "name" => asked.name = Some(value.into_owned()),
                "label" => asked.label = Some(value.into_owned()),
                "tag" => asked.tag = Some(value.into_owned()),
                "fromUpdatedAt" => asked.from = Some(moment("fromUpdatedAt", &value)?),
                "toUpdatedAt" => asked.to = Some(moment("toUpdatedAt", &value)?),
                _ => {}
            }
        }
        Ok(asked)
    }

    fn takes(&self, archive: &PromptArchive) -> bool {
        let named = |name: &String| archive.name.as_str() == name;
        let labelled = |label: &String| archive.label(label).is_some();
        self.name.as_ref().is_none_or(named)
            && self.label.as_ref().is_none_or(labelled)
            && self.tag.as_ref().is_none_or(|tag| archive.tags.contains(tag))
            && self.from.is_none_or(|from| archive.changed_at >= from)
            && self.to.is_none_or(|to| archive.changed_at < to)
    }
}

fn number(parameter: &str, text: &str, highest: usize) -> Result<usize, Refusal> {
    let number = text.parse().ok().filter(|number| (1..=highest).contains(number));
    number.ok_or_else(|| {
        let most = if highest == usize::MAX {
            String::new()
        } else {
            format!(" to {highest}")
        };
        let text = shortened(text);
        Refusal::BadRequest(format!(
            "`{parameter}` must be a whole number from 1{most}, not `{text}`"
        ))
    })
}

fn moment(parameter: &str, text: &str) -> Result<Timestamp, Refusal> {
    text.parse().map_err(|_| {
        let text = shortened(text);
        Refusal::BadRequest(format!(
            "`{parameter}` must be a time such as 2026-12-01T00:00:00Z, not `{text}`"
        ))
    })
}

/// A page of prompts as Langfuse's clients read it.
#[derive(Serialize)]
struct Page<'a> {
    data: Vec<Listed<'a>>,
    meta: Meta,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    page: usize,
    limit: usize,
    total_items: usize,
    total_pages: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a PromptName,
    r#type: Option<PromptType>,
    versions: Vec<VersionNumber>,
    labels: Vec<&'a str>,
    tags: &'a [String],
    #[serde(serialize_with = "in_milliseconds")]
    last_updated_at: Timestamp,
    /// Of the newest version; where a label is asked for, of the one that has it.
    last_config: Option<&'a Config>,
}

impl<'a> Listed<'a> {
    fn of(archive: &'a PromptArchive, label: Option<&str>) -> Self {
        let labelled = label.and_then(|label| archive.numbered(archive.label(label)?));
        let last = labelled.or_else(|| archive.versions().last());
        Self {
            name: &archive.name,
            r#type: archive.prompt_type,
            versions: archive
                .versions()
                .iter()
                .map(|archived| archived.version.number)
                .collect(),
            labels: archive.labels().map(|(label, _)| label).collect(),
            tags: &archive.tags,
            last_updated_at: archive.changed_at,
            last_config: last.map(|archived| &archived.version.draft.config),
        }
    }
}

/// The page as JSON.
pub(super) fn listed(table: &RoutingTable, asked: &Asked) -> Vec<u8> {
    let mut found: Vec<&PromptArchive> = match &asked.name {
        Some(name) => table.archive(name).into_iter().collect(),
        None => table.archives().collect(),
    };
    found.retain(|archive| asked.takes(archive));
    let total = found.len();
    let from = asked
        .page
        .saturating_sub(1)
        .saturating_mul(asked.limit)
        .min(total);
    let to = (from + asked.limit).min(total);
    let page = page_of(&mut found, from, to);
    let body = Page {
        data: page
            .iter()
            .map(|archive| Listed::of(archive, asked.label.as_deref()))
            .collect(),
        meta: Meta {
            page: asked.page,
            limit: asked.limit,
            total_items: total,
            total_pages: total.div_ceil(asked.limit),
        },
    };
    written(&body)
}

/// What stands at these places once all are in order of their names. The others are not put in order: a page of a
/// hundred must not cost the sorting of ten thousand.
fn page_of<'s, 'a>(all: &'s mut [&'a PromptArchive], from: usize, to: usize) -> &'s [&'a PromptArchive] {
    fn name<'a>(archive: &&'a PromptArchive) -> &'a str {
        archive.name.as_str()
    }
    let by_name = |a: &&PromptArchive, b: &&PromptArchive| name(a).cmp(name(b));
    if from == to {
        return &[];
    }
    let rest = match from.checked_sub(1) {
        Some(before) => all.select_nth_unstable_by(before, by_name).2,
        None => all,
    };
    let length = to - from;
    if length < rest.len() {
        rest.select_nth_unstable_by(length, by_name);
    }
    let page = &mut rest[..length];
    page.sort_unstable_by(by_name);
    page
}
