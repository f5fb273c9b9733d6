//! The calls of an import: what is asked of a server, and what is sent to it.

use crate::{
    cli::client::{ClientError, Connection, segment},
    definitions::git::plan::{Action, Plan, Registered, Step},
    domain::id::PromptName,
};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Where versions are registered.
pub(super) trait Registry {
    /// The versions of a prompt; none of one that is not known.
    async fn versions(&mut self, name: &PromptName) -> Result<Vec<Registered>>;
    /// Registers a prompt by its first version.
    async fn create(&mut self, body: &Value) -> Result<Value>;
    /// Registers the next version of a prompt.
    async fn add(&mut self, name: &PromptName, body: &Value) -> Result<Value>;
    /// Moves a label to a version that is there.
    async fn label(&mut self, name: &PromptName, label: &str, version: u32) -> Result<Value>;
}

impl Registry for Connection {
    async fn versions(&mut self, name: &PromptName) -> Result<Vec<Registered>> {
        let answer = match self.get(&address(name)).await {
            Ok(answer) => answer.json,
            Err(ClientError::Refused { code, .. }) if code == "PROMPT_NOT_FOUND" => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        serde_json::from_value(answer["versions"].clone())
            .with_context(|| format!("the server's list of the versions of `{name}`"))
    }

    async fn create(&mut self, body: &Value) -> Result<Value> {
        Ok(self.post("/api/v1/prompts", body).await?.json)
    }

    async fn add(&mut self, name: &PromptName, body: &Value) -> Result<Value> {
        Ok(self.put(&address(name), body).await?.json)
    }

    async fn label(&mut self, name: &PromptName, label: &str, version: u32) -> Result<Value> {
        let body = json!({"label": label, "version": version, "reason": "the head of a branch in git"});
        Ok(self.post(&format!("{}/labels", address(name)), &body).await?.json)
    }
}

fn address(name: &PromptName) -> String {
    format!("/api/v1/prompts/{}", segment(name.as_str()))
}

/// How far an import came.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// What the server said to each step that it took.
    pub(super) answers: Vec<Value>,
    /// Why it did not take the next one.
    pub(super) stopped: Option<anyhow::Error>,
}

/// Takes the steps of a plan in their order, and none after one that is refused: later versions of a prompt must not get the
/// numbers of earlier ones.
pub(super) async fn send(plan: &Plan<'_>, registry: &mut impl Registry) -> Sent {
    let mut sent = Sent::default();
    for step in &plan.steps {
        let name = &step.version.name;
        let answer = match step.action {
            Action::First => registry.create(&body(step)).await,
            Action::Next => registry.add(name, &body(step)).await,
            Action::Label(version) => {
                let mut answer = Ok(Value::Null);
                for label in &step.labels {
                    if answer.is_ok() {
                        answer = registry.label(name, label, version).await;
                    }
                }
                answer
            }
        };
        match answer {
            Ok(answer) => sent.answers.push(answer),
            Err(problem) => {
                sent.stopped = Some(problem);
                break;
            }
        }
    }
    sent
}

/// The body of a registration.
fn body(step: &Step<'_>) -> Value {
    let version = step.version;
    let mut body = json!(version.draft);
    body["type"] = json!(version.draft.prompt.prompt_type());
    body["labels"] = json!(step.labels);
    body["source"] = json!({"git_commit": version.commit, "path": version.path, "at": version.at});
    if step.action == Action::First {
        body["name"] = json!(version.name);
    }
    if let Some(body) = body.as_object_mut() {
        match &step.semver {
            Some(semver) => body.insert("semver".to_owned(), json!(semver)),
            None => body.remove("semver"),
        };
        // Tags replace those of the name, so a file that can have none must not take them away.
        if version.draft.tags.is_empty() {
            body.remove("tags");
        }
    }
    body
}
