//! What the demo plays: its prompts, its two experiments, and how its users really fare.

use crate::settings::Settings;
use anyhow::{Context as _, Result};
use std::{fs, path::Path};

/// One experiment of the demo and the truth behind it, which the server has to find out.
#[derive(Debug)]
pub(super) struct Play {
    /// The prompt the gateway asks for.
    pub(super) prompt: &'static str,
    /// The experiment on it.
    pub(super) experiment: &'static str,
    /// The metric that differs.
    pub(super) metric: &'static str,
    /// The first arm.
    pub(super) control: Arm,
    /// The other arm.
    pub(super) candidate: Arm,
}

/// An arm and its true rate.
#[derive(Debug)]
pub(super) struct Arm {
    /// Its name.
    pub(super) name: &'static str,
    /// The chance that a request has the metric.
    pub(super) rate: f64,
}

/// A healthy A/B test: the friendlier reply resolves more.
pub(super) const TEST: Play = Play {
    prompt: "support_reply",
    experiment: "support_reply_tone",
    metric: "resolved",
    control: Arm {
        name: "control",
        rate: 0.62,
    },
    candidate: Arm {
        name: "friendly",
        rate: 0.74,
    },
};

/// A bad canary: the candidate falls back four times as often.
pub(super) const CANARY: Play = Play {
    prompt: "ticket_summary",
    experiment: "ticket_summary_canary",
    metric: "fallback",
    control: Arm {
        name: "current",
        rate: 0.04,
    },
    candidate: Arm {
        name: "candidate",
        rate: 0.16,
    },
};

/// How often either arm of the healthy test falls back: its guardrail must stay calm.
pub(super) const CALM_FALLBACK_RATE: f64 = 0.03;

/// The candidate's share of the canary.
pub(super) const CANARY_SHARE: f64 = 0.1;

const TEST_FILE: &str = r#"# Does a friendlier reply resolve more questions?
prompt = "support_reply"
kind = "experiment"
status = "running"
owner = "demo"
hypothesis = "a friendlier reply resolves more questions"
unit = "user"

[[variants]]
name = "control"
version = "1.0.0"
weight = 50

[[variants]]
name = "friendly"
version = "1.1.0"
weight = 50

[[metrics]]
name = "resolved"
kind = "rate"
goal = "increase"
primary = true

[[guardrails]]
metric = "fallback"
max_ratio = 1.25
on_breach = "freeze"
settle = "0s"
"#;

/// The canary's file up to its stages, which are written behind it.
const CANARY_FILE: &str = r#"prompt = "ticket_summary"
kind = "canary"
status = "running"
owner = "demo"
hypothesis = "shorter instructions do no harm"
unit = "user"

[[variants]]
name = "current"
version = "1.0.0"
weight = 50

[[variants]]
name = "candidate"
version = "1.1.0"
weight = 50

[[guardrails]]
metric = "fallback"
max_ratio = 1.25
on_breach = "freeze"
settle = "0s"

[rollout]
on_complete = "hold"
"#;

/// Name, version and text of every prompt version.
const PROMPTS: [(&str, &str, &str); 4] = [
    (
        TEST.prompt,
        "1.0.0",
        "Answer the customer's question: {{question}}",
    ),
    (
        TEST.prompt,
        "1.1.0",
        "Thank the customer, answer first and explain after: {{question}}",
    ),
    (
        CANARY.prompt,
        "1.0.0",
        "Summarise the ticket in five sentences: {{ticket}}",
    ),
    (CANARY.prompt, "1.1.0", "Summarise in one line: {{ticket}}"),
];

/// Writes settings, prompts and experiments into a folder and reads the settings back. Both listeners take free
/// ports of loopback, so that a demo next to a running server disturbs nobody.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(folder: &Path) -> Result<Settings> {
    for (name, version, text) in PROMPTS {
        let dir = folder.join("prompts").join(name);
        let content = format!("type = \"text\"\nprompt = {}\nauthor = \"demo\"\n", quoted(text)?);
        save(&dir, &format!("{version}.toml"), &content)?;
    }
    let experiments = folder.join("experiments");
    save(&experiments, &format!("{}.toml", TEST.experiment), TEST_FILE)?;
    let stage = format!("stages = [{{ share = {CANARY_SHARE}, for = \"1h\" }}]\n");
    let canary = format!("# A candidate that nobody has tried yet.\n{CANARY_FILE}{stage}");
    save(&experiments, &format!("{}.toml", CANARY.experiment), &canary)?;

    let path = |name: &str| quoted(&folder.join(name).display().to_string());
    let settings = format!(
        "[data_plane]\nlisten = \"127.0.0.1:0\"\n[control_plane]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {}\n[prompts]\ndir = {}\n[experiments]\ndir = {}\nwatch = false\n",
        path("serin.db")?,
        path("prompts")?,
        path("experiments")?,
    );
    save(folder, "serin.toml", &settings)?;
    Ok(Settings::load(&folder.join("serin.toml"))?)
}

fn save(dir: &Path, name: &str, content: &str) -> Result<()> {
    let path = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, content))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// JSON's way to quote a string is one of TOML's.
fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definitions::load;

    #[test]
    fn the_files_are_valid_and_match_the_play() {
        let folder = tempfile::tempdir().unwrap();
        let settings = write(folder.path()).unwrap();
        let definitions = load::load(&settings.definitions, &settings.environment).unwrap();
        assert_eq!(definitions.prompts.len(), PROMPTS.len());
        assert_eq!(definitions.experiments.len(), 2);
        for play in [&TEST, &CANARY] {
            let found = definitions
                .experiments
                .iter()
                .find(|file| file.spec.id.as_str() == play.experiment);
            let spec = &found.unwrap().spec;
            assert_eq!(spec.prompt.as_str(), play.prompt);
            let names: Vec<&str> = spec
                .variants
                .iter()
                .map(|variant| variant.name.as_str())
                .collect();
            assert_eq!(names, [play.control.name, play.candidate.name]);
        }
        let canary = definitions.experiments.last().unwrap();
        let weights = canary.spec.weights(0);
        assert!((weights[1] - CANARY_SHARE).abs() < 1e-12, "{weights:?}");
    }
}
