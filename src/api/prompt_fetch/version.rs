//! One version of a prompt: by its number, or whatever a label names.

use super::{
    PROJECT,
    refusal::{Refusal, shortened},
    written,
};
use crate::{
    domain::{
        Timestamp,
        id::{PromptName, VersionNumber},
        prompt::{
            Config, PromptContent, PromptType, PromptVersion, ResolvedVersion,
            composition::{CompositionError, Node},
        },
    },
    routing::{archive::PromptArchive, table::RoutingTable},
};
use serde::{Serialize, Serializer};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// The label of whoever asks for none, whatever environment decisions are made for: that is what clients expect.
const USUAL_LABEL: &str = "production";
/// Who registered a version of which nobody says who wrote it.
const UNNAMED_AUTHOR: &str = "API";

/// Which version is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    target: Target<'a>,
    /// Whether what the version includes takes the place of its tags.
    resolve: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Version(u64),
    Label(Cow<'a, str>),
}

impl<'a> Asked<'a> {
    /// From the query. A parameter without a value counts as absent and unknown ones do not matter: clients of several
    /// languages send both.
    pub(super) fn read(query: &'a str) -> Result<Self, Refusal> {
        let (mut version, mut label, mut resolve) = (None, None, true);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (name.as_ref(), value.as_ref()) {
                (_, "") => {}
                ("version", text) => {
                    let number = text.parse().map_err(|_| {
                        let text = shortened(text);
                        Refusal::BadRequest(format!("`version` must be a whole number from 1, not `{text}`"))
                    })?;
                    version = Some(number);
                }
                ("label", _) => label = Some(value),
                ("resolve", "true") => resolve = true,
                ("resolve", "false") => resolve = false,
                ("resolve", text) => {
                    let text = shortened(text);
                    return Err(Refusal::BadRequest(format!(
                        "`resolve` must be true or false, not `{text}`"
                    )));
                }
                _ => {}
            }
        }
        let target = match (version, label) {
            (Some(_), Some(_)) => {
                let detail = "give `version` or `label`, not both";
                return Err(Refusal::BadRequest(detail.to_owned()));
            }
            (Some(version), None) => Target::Version(version),
            (None, label) => Target::Label(label.unwrap_or(Cow::Borrowed(USUAL_LABEL))),
        };
        Ok(Self { target, resolve })
    }
}

/// The version as JSON.
pub(super) fn fetched(table: &RoutingTable, name: &str, asked: &Asked<'_>) -> Result<Vec<u8>, Refusal> {
    let archive = table.archive(name);
    let found = match &asked.target {
        Target::Version(number) => archive.and_then(|archive| {
            let archived = archive.numbered(VersionNumber(u32::try_from(*number).ok()?))?;
            Some((archive, &archived.version, archived.resolved.as_ref()))
        }),
        Target::Label(label) => archive.and_then(|archive| {
            let (version, resolved) = archive.labelled(label)?;
            Some((archive, version, resolved))
        }),
    };
    let (archive, version, resolved) = found.ok_or_else(|| {
        let which = match &asked.target {
            Target::Version(number) => format!(" with version {number}"),
            Target::Label(label) => format!(" with label '{}'", shortened(label)),
        };
        Refusal::not_found(name, &which)
    })?;
    let fetched = Fetched::new(archive, version, asked.resolve.then_some(resolved))?;
    Ok(written(&fetched))
}

/// A version as Langfuse's clients read it. They ignore what they do not know, so `semver` and `digest` are there too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fetched<'a> {
    id: String,
    project_id: &'static str,
    name: &'a PromptName,
    version: VersionNumber,
    r#type: PromptType,
    prompt: &'a PromptContent,
    config: &'a Config,
    labels: Vec<&'a str>,
    tags: &'a [String],
    commit_message: Option<&'a str>,
    resolution_graph: Option<Graph<'a>>,
    is_active: bool,
    #[serde(serialize_with = "in_milliseconds")]
    created_at: Timestamp,
    #[serde(serialize_with = "in_milliseconds")]
    updated_at: Timestamp,
    created_by: &'a str,
    semver: Option<&'a semver::Version>,
    /// Of content and config as they are here.
    digest: &'a str,
}

impl<'a> Fetched<'a> {
    fn new(
        archive: &'a PromptArchive,
        version: &'a Arc<PromptVersion>,
        resolved: Option<Result<&'a ResolvedVersion, &'a CompositionError>>,
    ) -> Result<Self, Refusal> {
        let resolved = resolved.transpose().map_err(Clone::clone)?;
        let draft = &version.draft;
        Ok(Self {
            id: id(&archive.name, version.number),
            project_id: PROJECT,
            name: &archive.name,
            version: version.number,
            r#type: draft.prompt.prompt_type(),
            prompt: resolved.map_or(&draft.prompt, ResolvedVersion::content),
            config: &draft.config,
            labels: archive.labels_of(version.number).collect(),
            tags: &archive.tags,
            commit_message: draft.commit_message.as_deref(),
            resolution_graph: resolved.and_then(|resolved| Graph::of(&archive.name, resolved)),
            is_active: true,
            created_at: version.created_at,
            updated_at: archive.changed_at,
            created_by: draft.author.as_deref().unwrap_or(UNNAMED_AUTHOR),
            semver: draft.semver.as_ref(),
            digest: resolved.map_or(version.digest.as_str(), ResolvedVersion::digest),
        })
    }
}

/// Who includes whom.
#[derive(Serialize)]
struct Graph<'a> {
    root: Included<'a>,
    /// From the id of a version to what it includes directly.
    dependencies: BTreeMap<String, Vec<Included<'a>>>,
}

#[derive(Serialize)]
struct Included<'a> {
    name: &'a PromptName,
    version: VersionNumber,
    id: String,
}

impl<'a> Graph<'a> {
    /// None of a version that includes nothing.
    fn of(name: &'a PromptName, resolved: &'a ResolvedVersion) -> Option<Self> {
        if resolved.graph().is_empty() {
            return None;
        }
        let mut dependencies: BTreeMap<String, Vec<Included<'a>>> = BTreeMap::new();
        for inclusion in resolved.graph() {
            let Node { prompt, version } = &inclusion.parent;
            let children = dependencies.entry(id(prompt, *version)).or_default();
            children.push(Included::new(&inclusion.child.prompt, inclusion.child.version));
        }
        Some(Self {
            root: Included::new(name, resolved.version.number),
            dependencies,
        })
    }
}

impl<'a> Included<'a> {
    fn new(name: &'a PromptName, version: VersionNumber) -> Self {
        Self {
            name,
            version,
            id: id(name, version),
        }
    }
}

/// The same for ever, and no other version's: versions are numbers, so the last colon parts the two.
fn id(name: &PromptName, version: VersionNumber) -> String {
    format!("{name}:{version}")
}

/// With three decimals: the clients' types have no more than six.
pub(super) fn in_milliseconds<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(Target<'_>, bool), u16> {
        let asked = Asked::read(query).map_err(|refusal| refusal.status().as_u16())?;
        Ok((asked.target, asked.resolve))
    }

    #[test]
    fn a_query_names_a_version_or_a_label() {
        let label = |label: &'static str| Target::Label(Cow::Borrowed(label));
        for (query, expected) in [
            ("", Ok((label("production"), true))),
            ("label=&version=", Ok((label("production"), true))),
            ("label=prod-a", Ok((label("prod-a"), true))),
            ("label=a%20b+c&unknown=1", Ok((label("a b c"), true))),
            ("version=3", Ok((Target::Version(3), true))),
            ("version=99999999999", Ok((Target::Version(99_999_999_999), true))),
            ("resolve=false", Ok((label("production"), false))),
            ("version=3&label=production", Err(400)),
            ("version=1.0.0", Err(400)),
            ("version=-1", Err(400)),
            ("resolve=no", Err(400)),
        ] {
            assert_eq!(asked(query), expected, "{query}");
        }
    }
}
