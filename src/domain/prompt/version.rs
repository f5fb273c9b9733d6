//! Versions: as somebody wants to register one, as registered, and how one is named.

use super::{
    composition::Reference,
    content::{Config, PromptContent, content_digest},
};
use crate::domain::{Timestamp, id::VersionNumber};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which part of the newest semver a registration counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// 1.4.2 → 2.0.0.
    Major,
    /// 1.4.2 → 1.5.0.
    Minor,
    /// 1.4.2 → 1.4.3.
    Patch,
}

impl Bump {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 3] = [
        ("major", Self::Major),
        ("minor", Self::Minor),
        ("patch", Self::Patch),
    ];

    /// The semver after a release; none when the part is at its end (2⁶⁴ − 1).
    ///
    /// ```
    /// use serin::domain::prompt::Bump;
    /// assert_eq!(Bump::Minor.after(&semver::Version::new(1, 4, 2)), Some(semver::Version::new(1, 5, 0)));
    /// ```
    #[must_use]
    pub fn after(self, release: &semver::Version) -> Option<semver::Version> {
        Some(match self {
            Self::Major => semver::Version::new(release.major.checked_add(1)?, 0, 0),
            Self::Minor => semver::Version::new(release.major, release.minor.checked_add(1)?, 0),
            Self::Patch => semver::Version::new(release.major, release.minor, release.patch.checked_add(1)?),
        })
    }
}

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// A definition file.
    File {
        /// Its path as the server knows it.
        path: String,
    },
    /// The HTTP API.
    Api,
    /// A commit of a git repository.
    Git {
        /// The full commit id.
        commit: String,
        /// The file's path in the repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// When it was committed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
}

/// A version as somebody wants to register it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptDraft {
    /// Unique per prompt when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<semver::Version>,
    /// Instead of `semver`: the one after the highest release of the prompt. A registered version has a semver and no
    /// bump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bump: Option<Bump>,
    /// What the model sees.
    pub prompt: PromptContent,
    /// Model settings that belong to the version.
    #[serde(default)]
    pub config: Config,
    /// Known limitations, free text.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub limitations: serde_json::Value,
    /// What changed and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_message: Option<String>,
    /// Who wrote it. The author reviews nothing of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What kind of prompt it is, such as `support`, for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Tags of the prompt; they belong to the name and replace the earlier ones.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

impl PromptDraft {
    /// A draft of a content and nothing else.
    #[must_use]
    pub fn of(prompt: PromptContent) -> Self {
        Self {
            semver: None,
            bump: None,
            prompt,
            config: Config::new(),
            limitations: serde_json::Value::Null,
            commit_message: None,
            author: None,
            category: None,
            tags: Vec::new(),
            source: None,
        }
    }

    /// [`content_digest`] of what was written, with its inclusions as they stand: by this the same content again is
    /// recognised.
    #[must_use]
    pub fn digest(&self) -> String {
        content_digest(&self.prompt, &self.config)
    }
}

/// A registered version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptVersion {
    /// 1, 2, 3 … per prompt.
    pub number: VersionNumber,
    /// What was registered.
    #[serde(flatten)]
    pub draft: PromptDraft,
    /// [`PromptDraft::digest`]. What a model sees has a digest of its own where other prompts are included:
    /// [`super::ResolvedVersion::digest`].
    pub digest: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The prompts it includes, in the order of their first mention. Empty in logs from before inclusion existed, whose
    /// content is served as it is written, whatever it looks like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<Reference>,
}

impl PromptVersion {
    /// How people name it: its semver, else its number.
    #[must_use]
    pub fn name(&self) -> String {
        let semver = self.draft.semver.as_ref();
        semver.map_or_else(|| self.number.to_string(), ToString::to_string)
    }
}

/// Names a version: by semver or by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VersionRef {
    /// 1, 2, 3 …
    Number(VersionNumber),
    /// Such as 1.1.0.
    Semver(semver::Version),
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Semver(semver) => semver.fmt(f),
        }
    }
}

impl std::str::FromStr for VersionRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(VersionNumber(number)));
        }
        semver::Version::parse(text)
            .map(Self::Semver)
            .map_err(|_| format!("`{text}` is neither a semver such as 1.1.0 nor a version number such as 2"))
    }
}
