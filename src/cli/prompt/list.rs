//! `serin prompt list`: every prompt, with its newest version and what is deployed.

use super::words::{deployed, drifted, joined, short};
use crate::cli::{
    Global, client,
    client::segment,
    experiment::{Address, control_plane},
    figures::{counted, list, moment_of, text},
    table::Table,
};
use anyhow::Result;
use serde_json::Value;

/// All prompts: newest version, what is deployed where, labels and tags
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only those of this category
    #[arg(long)]
    category: Option<String>,
    /// Only those with a version of this label
    #[arg(long)]
    label: Option<String>,
    #[command(flatten)]
    at: Address,
}

/// Lists them.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &List, global: &Global) -> Result<()> {
    let server = control_plane(global, &asked.at)?;
    let path = asked.path();
    let answer = client::run(async { Ok(server.get(&path).await?) })?;
    answer.print(global.json, shown)
}

impl List {
    fn path(&self) -> String {
        let wanted = [
            ("tag", &self.tag),
            ("category", &self.category),
            ("label", &self.label),
        ];
        let mut path = "/api/v1/prompts".to_owned();
        for (key, value) in wanted {
            if let Some(value) = value {
                let separator = if path.contains('?') { '&' } else { '?' };
                path.push_str(&format!("{separator}{key}={}", segment(value)));
            }
        }
        path
    }
}

fn shown(answer: &Value) -> String {
    let mut table = Table::new(&[
        "prompt",
        "type",
        "category",
        "newest",
        ">versions",
        "deployed",
        "labels",
        "tags",
        "changed",
        "note",
    ]);
    for prompt in list(&answer["prompts"]) {
        table.row([
            text(prompt, "name").to_owned(),
            text(prompt, "type").to_owned(),
            text(prompt, "category").to_owned(),
            short(&prompt["latest"]),
            counted(&prompt["versions"]),
            deployed(&prompt["deployed"]),
            deployed(&prompt["labels"]),
            joined(&prompt["tags"]),
            moment_of(&prompt["changed_at"]),
            note(prompt),
        ]);
    }
    if table.is_empty() {
        "no prompts\n".to_owned()
    } else {
        table.to_string()
    }
}

fn note(prompt: &Value) -> String {
    let drifted = drifted(&prompt["drifted"]);
    if drifted.is_empty() {
        drifted
    } else {
        format!("drifted: {drifted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_are_a_table() {
        let prompt = json!({"name": "a/b", "type": "text", "category": null, "tags": ["x", "y"],
            "latest": {"version": 2, "semver": "1.1.0"}, "versions": 2, "labels": {"friendly": 2},
            "deployed": {"production": {"version": 1, "semver": null}}, "drifted": [{"environment": "production", "version": 1,
                "moved": [{"prompt": "shop", "label": "stable", "then": 1, "now": 2}]}],
            "changed_at": "2026-12-01T10:00:00Z"});
        let shown_of = |prompts: Value| shown(&json!({"revision": 3, "prompts": prompts}));
        assert_eq!(
            shown_of(json!([prompt])),
            "prompt  type  category  newest  versions  deployed      labels      tags  changed                  note\n\
             a/b     text            1.1.0          2  production 1  friendly 2  x, y  2026-12-01 10:00:00 UTC  drifted: production, shop stable 1 → 2\n"
        );
        assert_eq!(shown_of(json!([])), "no prompts\n");
    }
}
