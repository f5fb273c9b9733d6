//! What a model sees: a text or a list of messages, and the settings that go with it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

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

    /// Every text a model would see, with its place: `prompt`, or `prompt[2].content` in a chat.
    ///
    /// ```
    /// use serin::domain::prompt::PromptContent;
    /// let content: PromptContent =
    ///     serde_json::from_str(r#"[{"type": "chatmessage", "role": "system", "content": "Be kind."}]"#).unwrap();
    /// let texts: Vec<_> = content.texts().collect();
    /// assert_eq!(texts, [("prompt[0].content".to_owned(), "Be kind.")]);
    /// ```
    pub fn texts(&self) -> impl Iterator<Item = (String, &str)> {
        let (text, messages) = match self {
            Self::Text(text) => (Some(("prompt".to_owned(), text.as_str())), &[][..]),
            Self::Chat(messages) => (None, messages.as_slice()),
        };
        let written = messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| match message {
                ChatMessage::ChatMessage { content, .. } => {
                    Some((format!("prompt[{index}].content"), content.as_str()))
                }
                ChatMessage::Placeholder { .. } => None,
            });
        text.into_iter().chain(written)
    }

    /// The same content with every text replaced; roles and placeholders stay.
    ///
    /// # Errors
    /// The first that `replace` gives.
    pub fn try_map_texts<E>(&self, mut replace: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Text(text) => Self::Text(replace(text)?),
            Self::Chat(messages) => {
                let replaced = messages.iter().map(|message| {
                    Ok(match message {
                        ChatMessage::ChatMessage { role, content } => ChatMessage::ChatMessage {
                            role: role.clone(),
                            content: replace(content)?,
                        },
                        placeholder @ ChatMessage::Placeholder { .. } => placeholder.clone(),
                    })
                });
                Self::Chat(replaced.collect::<Result<_, E>>()?)
            }
        })
    }

    /// The names of a chat's placeholders, in order; a text has none.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        let messages = match self {
            Self::Text(_) => &[][..],
            Self::Chat(messages) => messages.as_slice(),
        };
        messages.iter().filter_map(|message| match message {
            ChatMessage::Placeholder { name } => Some(name.as_str()),
            ChatMessage::ChatMessage { .. } => None,
        })
    }

    /// Bytes of UTF-8 in all texts together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.texts().map(|(_, text)| text.len()).sum()
    }
}

/// SHA-256 over a content and its config, as 64 lower-case hex digits.
///
/// ```
/// use serin::domain::prompt::{Config, PromptContent, content_digest};
/// let digest = content_digest(&PromptContent::Text("hi".into()), &Config::new());
/// assert_eq!(digest.len(), 64);
/// assert_ne!(digest, content_digest(&PromptContent::Text("hi ".into()), &Config::new()));
/// ```
#[must_use]
pub fn content_digest(prompt: &PromptContent, config: &Config) -> String {
    // serde_json's maps are sorted by key, so equal content gives equal bytes.
    let bytes = serde_json::to_vec(&(prompt, config)).unwrap_or_default();
    Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
