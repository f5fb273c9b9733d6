//! What commands on prompts are asked with: a prompt, one of its versions, and the call that follows.

use super::refusal::{self, Subject};
use crate::{
    cli::{
        Global,
        client::{self, Answer, ClientError, Connection, segment},
        experiment::{Address, control_plane},
    },
    domain::prompt::VersionRef,
};
use anyhow::Result;
use serde_json::Value;

/// A prompt, and whom to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The prompt's name
    pub(super) name: String,
    #[command(flatten)]
    at: Address,
}

impl Named {
    /// An address below the prompt's own.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/api/v1/prompts/{}{rest}", segment(&self.name))
    }

    /// Makes a connection and calls over it; a refusal is told with what to do next.
    ///
    /// # Errors
    /// [`Told`](crate::cli::output::Told) after a refusal, otherwise that the server cannot be asked.
    pub(super) fn call<T>(
        &self,
        global: &Global,
        subject: &Subject<'_>,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, ClientError>,
    ) -> Result<T> {
        let server = control_plane(global, &self.at)?;
        let done = client::run(async {
            let mut connection = server.connect().await?;
            Ok(work(&mut connection).await)
        })?;
        done.map_err(|error| refusal::told(error, global.json, subject))
    }

    /// Asks below the prompt's address.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) fn get(&self, global: &Global, subject: &Subject<'_>, rest: &str) -> Result<Answer> {
        let path = self.path(rest);
        self.call(global, subject, async |connection| connection.get(&path).await)
    }

    /// Sends JSON below the prompt's address.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) fn post(
        &self,
        global: &Global,
        subject: &Subject<'_>,
        rest: &str,
        body: &Value,
    ) -> Result<Answer> {
        let path = self.path(rest);
        self.call(global, subject, async |connection| {
            connection.post(&path, body).await
        })
    }
}

/// One version, in its place or by `--version`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct OneVersion {
    /// The version: its semver or its number
    #[arg(value_name = "VERSION")]
    placed: Option<VersionRef>,
    /// The same
    #[arg(long = "version", value_name = "VERSION")]
    flagged: Option<VersionRef>,
}

impl OneVersion {
    /// As it is written.
    pub(super) fn text(&self) -> String {
        let version = self.placed.as_ref().or(self.flagged.as_ref());
        // Usage has made sure that there is one.
        version.map(VersionRef::to_string).unwrap_or_default()
    }

    /// As a body has it.
    pub(super) fn json(&self) -> Value {
        serde_json::json!(self.placed.as_ref().or(self.flagged.as_ref()))
    }

    /// The address of what belongs to the version.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/versions/{}/{rest}", segment(&self.text()))
    }
}

/// A version, or the one that a label names, or the newest.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Selected {
    /// The version: its semver or its number [default: the newest]
    #[arg(value_name = "VERSION")]
    placed: Option<VersionRef>,
    /// The same
    #[arg(long = "version", value_name = "VERSION")]
    flagged: Option<VersionRef>,
    /// The version that this label or environment names
    #[arg(long)]
    label: Option<String>,
}

impl Selected {
    /// As a query; empty for the newest.
    pub(super) fn query(&self) -> String {
        match (self.version(), &self.label) {
            (Some(version), _) => format!("?version={}", segment(&version.to_string())),
            (None, Some(label)) => format!("?label={}", segment(label)),
            (None, None) => String::new(),
        }
    }

    /// Adds the choice to a body.
    pub(super) fn add_to(&self, body: &mut Value) {
        if let Some(version) = self.version() {
            body["version"] = serde_json::json!(version);
        } else if let Some(label) = &self.label {
            body["label"] = serde_json::json!(label);
        }
    }

    fn version(&self) -> Option<&VersionRef> {
        self.placed.as_ref().or(self.flagged.as_ref())
    }
}
