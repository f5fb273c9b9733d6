//! Answers written as JSON ahead of time: a request copies bytes and adds the receipt.

use crate::domain::{
    experiment::State,
    id::{ArmIndex, ExperimentId, PromptName},
    prompt::{Config, PromptContent, PromptType, PromptVersion, ResolvedVersion},
};
use serde::Serialize;
use std::sync::Arc;

/// OpenFeature's reason for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No experiment: the deployed version.
    Static,
    /// Enrolled and drawn.
    Split,
    /// Forced by an override.
    TargetingMatch,
    /// Kept from an earlier answer after a freeze, by its receipt.
    Cached,
    /// An experiment runs, but not for this unit.
    Default,
}

impl Reason {
    /// OpenFeature's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Split => "SPLIT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Cached => "CACHED",
            Self::Default => "DEFAULT",
        }
    }
}

/// Why an experiment did not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Not in the audience.
    Audience,
    /// Not enrolled.
    Traffic,
    /// Outside the layer's slots.
    Layer,
    /// Held out of every experiment.
    Holdout,
    /// No usable unit id in the context.
    NoUnit,
    /// Frozen: control's version for everyone.
    Frozen,
    /// Scheduled for later.
    NotStarted,
}

impl Cause {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Traffic => "traffic",
            Self::Layer => "layer",
            Self::Holdout => "holdout",
            Self::NoUnit => "no_unit",
            Self::Frozen => "frozen",
            Self::NotStarted => "not_started",
        }
    }
}

/// Pieces of an answer after its reason.
const CAUSE: &[u8] = b"\",\"cause\":\"";
const RECEIPT: &[u8] = b"\",\"receipt\":\"";
const NO_RECEIPT: &[u8] = b"\",\"receipt\":null,\"revision\":";
const REVISION: &[u8] = b"\",\"revision\":";

/// The variant's name where no experiment decides.
pub const DEPLOYED: &str = "deployed";

/// Everything of an answer that does not change from request to request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The version that is served.
    pub version: Arc<PromptVersion>,
    /// The arm's name, or [`DEPLOYED`].
    pub variant: Box<str>,
    /// The arm; none for the deployed version.
    pub arm: Option<ArmIndex>,
    head: Box<str>,
    content: Arc<str>,
}

#[derive(Serialize)]
struct Head<'a> {
    prompt: &'a str,
    version: u32,
    semver: Option<&'a semver::Version>,
    variant: &'a str,
    experiment: Option<&'a str>,
    state: Option<&'static str>,
}

impl Answer {
    /// Serialises what is known ahead. `content` comes from [`content_of`] and is shared between the answers that
    /// serve the same version.
    #[must_use]
    pub fn new(
        prompt: &PromptName,
        version: Arc<PromptVersion>,
        content: Arc<str>,
        arm: Option<(ArmIndex, &str)>,
        experiment: Option<(&ExperimentId, State)>,
    ) -> Self {
        let variant = arm.map_or(DEPLOYED, |(_, name)| name);
        let head = Head {
            prompt: prompt.as_str(),
            version: version.number.0,
            semver: version.draft.semver.as_ref(),
            variant,
            experiment: experiment.map(|(id, _)| id.as_str()),
            state: experiment.map(|(_, state)| state.as_str()),
        };
        // Strings, numbers and nulls always have a JSON form.
        let mut head = serde_json::to_string(&head).unwrap_or_default();
        head.pop();
        head.push_str(",\"reason\":\"");
        Self {
            variant: variant.into(),
            arm: arm.map(|(arm, _)| arm),
            head: head.into(),
            content,
            version,
        }
    }

    /// Appends the answer as JSON, without the closing brace, so that a caller can add members.
    pub fn write_open(
        &self,
        body: &mut Vec<u8>,
        reason: Reason,
        cause: Option<Cause>,
        receipt: Option<&[u8]>,
        revision: &[u8],
    ) {
        body.extend_from_slice(self.head.as_bytes());
        body.extend_from_slice(reason.as_str().as_bytes());
        if let Some(cause) = cause {
            body.extend_from_slice(CAUSE);
            body.extend_from_slice(cause.as_str().as_bytes());
        }
        match receipt {
            Some(receipt) => {
                body.extend_from_slice(RECEIPT);
                body.extend_from_slice(receipt);
                body.extend_from_slice(REVISION);
            }
            None => body.extend_from_slice(NO_RECEIPT),
        }
        body.extend_from_slice(revision);
    }

    /// The version's type, prompt and config as a JSON object.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Bytes that [`Self::write_open`] writes, exactly: a body of this capacity is sent without another copy.
    #[must_use]
    pub fn length(
        &self,
        reason: Reason,
        cause: Option<Cause>,
        receipt: Option<&[u8]>,
        revision: &[u8],
    ) -> usize {
        let cause = cause.map_or(0, |cause| CAUSE.len() + cause.as_str().len());
        let receipt = receipt.map_or(NO_RECEIPT.len(), |receipt| {
            RECEIPT.len() + receipt.len() + REVISION.len()
        });
        self.head.len() + reason.as_str().len() + cause + receipt + revision.len()
    }
}

/// A version's content as an answer carries it: `{"type":…,"prompt":…,"config":…}`.
#[must_use]
pub fn content_of(version: &ResolvedVersion) -> Arc<str> {
    #[derive(Serialize)]
    struct Content<'a> {
        r#type: PromptType,
        prompt: &'a PromptContent,
        config: &'a Config,
    }
    let content = Content {
        r#type: version.content().prompt_type(),
        prompt: version.content(),
        config: &version.version.draft.config,
    };
    // Prompts and configs always have a JSON form.
    serde_json::to_string(&content).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_exact() {
        let version: PromptVersion = serde_json::from_value(serde_json::json!({
            "number": 2, "semver": "1.1.0", "prompt": "text", "digest": "", "created_at": "2026-12-01T00:00:00Z",
        }))
        .unwrap();
        let (prompt, id) = (
            PromptName::new("a \"quoted\" é").unwrap(),
            ExperimentId::new("e").unwrap(),
        );
        let version = Arc::new(version);
        let context = Some((&id, State::Running));
        let answer = Answer::new(
            &prompt,
            Arc::clone(&version),
            content_of(&ResolvedVersion::verbatim(Arc::clone(&version))),
            Some((ArmIndex(1), "b")),
            context,
        );
        for reason in [
            Reason::Static,
            Reason::Split,
            Reason::TargetingMatch,
            Reason::Cached,
            Reason::Default,
        ] {
            for cause in [None, Some(Cause::NotStarted), Some(Cause::Frozen)] {
                for receipt in [None, Some(b"abc".as_slice())] {
                    let mut body = Vec::new();
                    answer.write_open(&mut body, reason, cause, receipt, b"17");
                    assert_eq!(body.len(), answer.length(reason, cause, receipt, b"17"));
                    body.push(b'}');
                    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    assert_eq!(json["revision"], 17);
                    assert_eq!(json["prompt"], prompt.as_str());
                }
            }
        }
    }
}
