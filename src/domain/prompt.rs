//! Prompt versions: immutable, numbered, identified by the digest of what a model would see.

use super::{
    Timestamp,
    id::{Environment, PromptKey, PromptName, VersionNumber},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Free JSON object: model family, temperature, tool schema version, retrieval settings.
pub type Config = serde_json::Map<String, serde_json::Value>;

/// What a prompt consists of; fixed per prompt name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptType {
    /// One string.
    Text,
    /// A list of messages.
    Chat,
}

impl fmt::Display for PromptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Chat => "chat",
        })
    }
}

/// One entry of a chat prompt, in the shape Langfuse's clients read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChatMessage {
    /// A message with its role.
    ChatMessage {
        /// system, user, assistant, …
        role: String,
        /// The text.
        content: String,
    },
    /// A place where the caller inserts messages.
    Placeholder {
        /// The placeholder's name.
        name: String,
    },
}

/// The prompt itself: a string or a list of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PromptContent {
    /// A text prompt.
    Text(String),
    /// A chat prompt.
    Chat(Vec<ChatMessage>),
}

impl PromptContent {
    /// Text or chat.
    #[must_use]
    pub fn prompt_type(&self) -> PromptType {
        match self {
            Self::Text(_) => PromptType::Text,
            Self::Chat(_) => PromptType::Chat,
        }
    }
}

/// A version as somebody wants to register it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptDraft {
    /// Unique per prompt when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<semver::Version>,
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
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Tags of the prompt; they belong to the name and replace the earlier ones.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl PromptDraft {
    /// SHA-256 over the content and the config, as lower-case hex: what deployments and experiments are pinned to.
    #[must_use]
    pub fn digest(&self) -> String {
        // serde_json's maps are sorted by key, so equal content gives equal bytes.
        let bytes = serde_json::to_vec(&(&self.prompt, &self.config)).unwrap_or_default();
        Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
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
    /// [`PromptDraft::digest`].
    pub digest: String,
    /// When it was registered.
    pub created_at: Timestamp,
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

/// A prompt: its versions, and which one each environment serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Its name.
    pub name: PromptName,
    /// What stands for it in counters.
    pub key: PromptKey,
    /// In order of their numbers; number n is at n − 1.
    pub versions: Vec<Arc<PromptVersion>>,
    /// Tags of the name.
    pub tags: Vec<String>,
    /// The deployed version of each environment.
    pub deployed: BTreeMap<Environment, VersionNumber>,
    /// What the files last asked to be deployed: a wish is followed once, so that it does not undo a later promotion.
    pub wished: BTreeMap<Environment, VersionNumber>,
}

impl Prompt {
    /// The version with this number or semver.
    #[must_use]
    pub fn version(&self, reference: &VersionRef) -> Option<&Arc<PromptVersion>> {
        match reference {
            VersionRef::Number(number) => self.numbered(*number),
            VersionRef::Semver(semver) => self
                .versions
                .iter()
                .find(|version| version.draft.semver.as_ref() == Some(semver)),
        }
    }

    /// The version with this number.
    #[must_use]
    pub fn numbered(&self, number: VersionNumber) -> Option<&Arc<PromptVersion>> {
        let index = usize::try_from(number.0).ok()?.checked_sub(1)?;
        self.versions.get(index)
    }
}
