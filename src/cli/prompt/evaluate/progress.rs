//! How far an evaluation program is, by the lines it writes to standard error.

use crate::cli::{output, table::plain};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// So much is done of so much.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    done: u64,
    total: u64,
    message: String,
}

/// A bar on standard error, where that is a terminal, and the lines above it.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: bool,
}

impl Progress {
    /// A bar that shows once the program has said how far it is.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        // The template is fixed and right; a bar of the default looks is no reason to fail.
        let bar = match ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, started: false }
    }

    /// Moves the bar, or passes the line on.
    pub(super) fn hear(&mut self, line: &str) {
        let Some(step) = step(line) else {
            if self.started {
                self.bar.suspend(|| output::complain(line));
            } else {
                output::complain(line);
            }
            return;
        };
        self.started = true;
        self.bar.set_length(step.total);
        self.bar.set_position(step.done);
        self.bar.set_message(step.message);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// What a line says of how far it is: `progress 3/10`, `3/10`, both with words behind, what tqdm draws, or JSON with `done`
/// and `total`, which may be inside `progress`.
fn step(line: &str) -> Option<Step> {
    let line = line.trim();
    if line.starts_with('{') {
        let json: Value = serde_json::from_str(line).ok()?;
        let inner = if json["progress"].is_object() {
            &json["progress"]
        } else {
            &json
        };
        return of(
            inner["done"].as_u64()?,
            inner["total"].as_u64()?,
            inner["message"].as_str().unwrap_or_default(),
        );
    }
    // tqdm: ` 30%|███       | 3/10 [00:01<00:02, 2.5it/s]`.
    let rest = match line.rsplit_once('|') {
        Some((bar, rest)) if bar.contains("%|") => rest.trim_start(),
        _ => line.strip_prefix("progress").map_or(line, str::trim_start),
    };
    let (count, message) = rest.split_once(' ').unwrap_or((rest, ""));
    let (done, total) = count.split_once('/')?;
    of(done.parse().ok()?, total.parse().ok()?, message)
}

fn of(done: u64, total: u64, message: &str) -> Option<Step> {
    (done <= total && total > 0).then(|| Step {
        done,
        total,
        message: plain(message).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_bar_and_what_is_passed_on() {
        let heard = |line: &str| step(line).map(|step| (step.done, step.total, step.message));
        let moved = |done, total, message: &str| Some((done, total, message.to_owned()));
        assert_eq!(heard("progress 3/10"), moved(3, 10, ""));
        assert_eq!(heard(" 3/10 case a\u{1b} "), moved(3, 10, "case a"));
        assert_eq!(
            heard(" 30%|███       | 3/10 [00:01<00:02, 2.5it/s]"),
            moved(3, 10, "[00:01<00:02, 2.5it/s]")
        );
        assert_eq!(
            heard(r#"{"done": 3, "total": 10, "message": "x"}"#),
            moved(3, 10, "x")
        );
        assert_eq!(heard(r#"{"progress": {"done": 0, "total": 1}}"#), moved(0, 1, ""));
        for passed in [
            "warning: 3/10 cases are old",
            "11/10",
            "0/0",
            "progress",
            "{\"done\": 3}",
            "{broken",
            "2026/11/29 starting",
            "",
        ] {
            assert_eq!(heard(passed), None, "{passed}");
        }
    }
}
