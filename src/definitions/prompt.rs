//! Prompt versions as written, one immutable version per file, turned into drafts.
//!
//! Owns the keys of `config/prompts/<name>/<semver>.toml`. The name and the semver come from the path, which is
//! [`super::load`]'s business. That the type is the same for all versions of a name is checked there too.

use super::{
    document::{Content, Document},
    reader::{Field, Report, Table},
};
use crate::domain::{
    check,
    id::{Environment, NameError},
    problem::Problem,
    prompt::{ChatMessage, Config, PromptContent, PromptDraft, PromptType},
};
use serde_json::Value;

const TYPES: [(&str, PromptType); 2] = [("text", PromptType::Text), ("chat", PromptType::Chat)];

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Message,
    Placeholder,
}

const ENTRIES: [(&str, Entry); 2] = [
    ("chatmessage", Entry::Message),
    ("placeholder", Entry::Placeholder),
];

/// Reads and checks one version; its labels are the environments it asks to serve.
pub(super) fn read(
    document: &Document,
    semver: &semver::Version,
) -> Result<(PromptDraft, Vec<Environment>), Vec<Problem>> {
    let report = Report::default();
    let read = Table::root(&document.root, &report).map(|mut root| {
        let mut draft = draft(&mut root);
        draft.semver = Some(semver.clone());
        let labels = names(&mut root, "labels", Environment::new);
        root.finish();
        (draft, labels)
    });
    let mut all = report.into_problems();
    let Some((draft, labels)) = read else {
        return Err(all);
    };
    add_broken_rules(&mut all, &draft);
    if all.is_empty() {
        Ok((draft, labels))
    } else {
        Err(all)
    }
}

/// Adds the rules that a draft breaks to what could not be read of it.
pub(super) fn add_broken_rules(unreadable: &mut Vec<Problem>, draft: &PromptDraft) {
    // An unreadable part is empty in the draft, and empty parts of a prompt break no rule of their own.
    let told = |problem: &Problem| unreadable.iter().any(|known| known.field == problem.field);
    let broken: Vec<_> = check::draft_problems(draft)
        .into_iter()
        .filter(|problem| !told(problem))
        .collect();
    unreadable.extend(broken);
}

/// The keys of a version that files and bodies share, without those that say how it is called.
pub(super) fn draft(root: &mut Table<'_>) -> PromptDraft {
    let written_type = root.optional("type");
    let prompt = root
        .required("prompt", "text, or for a chat a list of messages")
        .and_then(|field| content(&field));
    if let (Some(field), Some(prompt)) = (written_type, &prompt)
        && let Some(written) = field.choice(&TYPES)
        && written != prompt.prompt_type()
    {
        let shape = match prompt {
            PromptContent::Text(_) => "text",
            PromptContent::Chat(_) => "a list of messages",
        };
        field.wrong(format_args!(
            "is \"{written}\", but `prompt` is {shape}; write \"{}\" or change `prompt`",
            prompt.prompt_type()
        ));
    }
    let text = |field: Option<Field<'_>>| field.and_then(|field| field.text()).map(str::to_owned);
    PromptDraft {
        semver: None,
        bump: None,
        prompt: prompt.unwrap_or_else(|| PromptContent::Text(String::new())),
        commit_message: text(root.optional("commit_message")),
        author: text(root.optional("author")),
        category: text(root.optional("category")),
        tags: tags(root),
        config: root
            .optional("config")
            .and_then(|field| config(&field))
            .unwrap_or_default(),
        limitations: root
            .optional("limitations")
            .map_or(Value::Null, |field| match field.content() {
                Content::Text(text) => Value::String(text.clone()),
                Content::Table(_) => config_value(&field),
                _ => field.expected("text or a table").unwrap_or_default(),
            }),
        source: None,
    }
}

/// The words of `tags`; none when it is absent.
pub(crate) fn tags(root: &mut Table<'_>) -> Vec<String> {
    let tags = root.optional("tags").and_then(|field| field.list());
    let tags = tags.unwrap_or_default();
    tags.iter()
        .filter_map(|tag| tag.text())
        .map(str::to_owned)
        .collect()
}

/// A list of names, each once.
pub(super) fn names<T: PartialEq>(
    root: &mut Table<'_>,
    key: &'static str,
    make: fn(&str) -> Result<T, NameError>,
) -> Vec<T> {
    let written = root.optional(key).and_then(|field| field.list());
    let mut names = Vec::new();
    for field in written.unwrap_or_default() {
        if let Some(name) = field.name(make)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn content(field: &Field<'_>) -> Option<PromptContent> {
    match field.content() {
        Content::Text(text) => Some(PromptContent::Text(text.clone())),
        Content::List(_) => Some(PromptContent::Chat(field.list()?.iter().map(message).collect())),
        _ => field.expected("text, or for a chat a list of messages"),
    }
}

/// A message or a placeholder.
pub(crate) fn message(field: &Field<'_>) -> ChatMessage {
    let unheard = Report::default();
    let mut table = field.table().unwrap_or_else(|| Table::empty(&unheard));
    let entry = table
        .optional("type")
        .and_then(|field| field.choice(&ENTRIES))
        .unwrap_or(Entry::Message);
    let mut text = |key, meaning| {
        let field = table.required(key, meaning);
        field
            .and_then(|field| field.text())
            .unwrap_or_default()
            .to_owned()
    };
    let message = match entry {
        Entry::Message => ChatMessage::ChatMessage {
            role: text("role", "the message's role, such as \"system\" or \"user\""),
            content: text("content", "the message's text"),
        },
        Entry::Placeholder => ChatMessage::Placeholder {
            name: text("name", "the placeholder's name"),
        },
    };
    table.finish();
    message
}

fn config(field: &Field<'_>) -> Option<Config> {
    match config_value(field) {
        Value::Object(map) => Some(map),
        _ => field.expected("a table"),
    }
}

/// Free settings as JSON: dates and times become text, and what JSON cannot hold is refused.
fn config_value(field: &Field<'_>) -> Value {
    let refused = |problem: &str| {
        field.wrong(problem);
        Value::Null
    };
    match field.content() {
        Content::Null => Value::Null,
        Content::Bool(value) => Value::Bool(*value),
        Content::Whole(number) => i64::try_from(*number)
            .map(Value::from)
            .or_else(|_| u64::try_from(*number).map(Value::from))
            .unwrap_or_else(|_| refused("whole numbers must fit into 64 bits")),
        Content::Number(number) => serde_json::Number::from_f64(*number).map_or_else(
            || refused("must be a finite number: JSON has no infinity and no NaN"),
            Value::Number,
        ),
        Content::Text(text) | Content::Time(text) => Value::String(text.clone()),
        Content::List(_) => {
            let items = field.list().unwrap_or_default();
            Value::Array(items.iter().map(config_value).collect())
        }
        Content::Table(_) => {
            let Some(table) = field.table() else {
                return Value::Null;
            };
            let entry = |(key, field): (&str, Field<'_>)| (key.to_owned(), config_value(&field));
            Value::Object(table.fields().map(entry).collect())
        }
    }
}
