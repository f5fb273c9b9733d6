//! `serin prompt history`: what was deployed where, when, by whom and why.

use super::{
    named::Named,
    refusal::Subject,
    words::{short, version},
};
use crate::{
    cli::{
        Global,
        client::segment,
        figures::{list, moment_of, text},
        table::{Table, plain},
    },
    domain::Timestamp,
};
use anyhow::Result;
use serde_json::Value;

/// What was deployed where, when, by whom and why, newest first; with --at, what was running then
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct History {
    #[command(flatten)]
    of: Named,
    /// Where [default: the server's own environment]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// A moment, such as 2026-12-01T10:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Tells it.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &History, global: &Global) -> Result<()> {
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.get(global, &subject, &asked.path())?;
    answer.print(global.json, |answer| shown(answer, asked.at))
}

impl History {
    fn path(&self) -> String {
        let environment = self
            .environment
            .as_ref()
            .map(|name| ("environment", name.clone()));
        let at = self.at.map(|at| ("at", at.to_string()));
        let mut path = "/deployments".to_owned();
        for (key, value) in environment.into_iter().chain(at) {
            let separator = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{separator}{key}={}", segment(&value)));
        }
        path
    }
}

fn shown(answer: &Value, at: Option<Timestamp>) -> String {
    if let Some(at) = at {
        return running(answer, at);
    }
    let mut table = Table::new(&[
        "deployed",
        "environment",
        "version",
        "before",
        "by",
        "reason",
        "note",
        ">revision",
    ]);
    for deployment in list(&answer["deployments"]) {
        table.row([
            moment_of(&deployment["at"]),
            text(deployment, "environment").to_owned(),
            short(deployment),
            short(&deployment["previous"]),
            text(deployment, "actor").to_owned(),
            text(deployment, "reason").to_owned(),
            note(deployment),
            deployment["revision"].to_string(),
        ]);
    }
    if table.is_empty() {
        "nothing was deployed\n".to_owned()
    } else {
        table.to_string()
    }
}

fn note(deployment: &Value) -> String {
    let experiment = deployment["experiment"].as_str();
    let accepted = list(&deployment["accepted"]).len();
    let notes = [
        (deployment["rollback"] == true).then(|| "rollback".to_owned()),
        experiment.map(|experiment| format!("promoted by {experiment}")),
        (accepted > 0).then(|| format!("{accepted} accepted")),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn running(answer: &Value, at: Timestamp) -> String {
    let found = &answer["running"];
    let (name, at) = (
        plain(text(answer, "name")),
        moment_of(&Value::String(at.to_string())),
    );
    if found.is_null() {
        return format!("nothing of {name} was deployed on {at}\n");
    }
    format!(
        "on {at} {} served {name} {}\n  deployed on {} by {}: {} (revision {})\n",
        plain(text(found, "environment")),
        version(found),
        moment_of(&found["at"]),
        plain(text(found, "actor")),
        plain(text(found, "reason")),
        found["revision"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_history_and_what_ran_at_a_time() {
        let back = json!({"environment": "production", "version": 1, "semver": "1.0.0", "previous": 2,
            "at": "2026-12-01T10:00:00Z", "actor": "ann", "reason": "odd answers", "accepted": [], "experiment": null,
            "rollback": true, "revision": 9});
        let answer = json!({"name": "a", "deployments": [back], "running": back});
        assert_eq!(
            shown(&answer, None),
            "deployed                 environment  version  before  by   reason       note      revision\n\
             2026-12-01 10:00:00 UTC  production   1.0.0    2       ann  odd answers  rollback         9\n"
        );
        let at = "2026-12-02T00:00:00Z".parse().ok();
        assert_eq!(
            shown(&answer, at),
            "on 2026-12-02 00:00:00 UTC production served a 1.0.0 (version 1)\n  \
             deployed on 2026-12-01 10:00:00 UTC by ann: odd answers (revision 9)\n"
        );
        let none = json!({"name": "a", "deployments": [], "running": null});
        assert_eq!(shown(&none, None), "nothing was deployed\n");
        assert_eq!(
            shown(&none, at),
            "nothing of a was deployed on 2026-12-02 00:00:00 UTC\n"
        );
    }
}
