//! What the demo has shown, in words and as JSON, and what is missing.

use super::{
    gateway::Tally,
    look::{Freeze, Lookout, Winner},
    script::{CANARY, CANARY_SHARE, TEST},
};
use crate::{
    cli::{
        evidence,
        figures::{count, figure, interval, p_value, percent, points, rate, seconds, text},
        table::{indented, plain},
    },
    domain::Timestamp,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Everything worth telling when the demo is over.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The freeze, when it came.
    pub(super) freeze: Option<Frozen>,
    /// The healthy test's winner, when it is clear.
    pub(super) winner: Option<Winner>,
    /// Seconds the demo had.
    pub(super) seconds: f64,
}

/// The freeze and what it cost.
#[derive(Debug)]
pub(super) struct Frozen {
    freeze: Freeze,
    /// From the candidate's first user to the freeze, in seconds.
    from_first_candidate: Option<f64>,
    /// From the outcome that crossed the limit to the new routing table, in seconds.
    from_crossing: f64,
    exposed_units: u64,
    /// Decisions of tables with the freeze: those that gave control, and those that did not.
    since: (u64, u64),
    /// The entry of the control log.
    entry: Value,
}

impl Frozen {
    /// Gathers what is known of a freeze.
    pub(super) async fn gather(freeze: Freeze, tally: &Tally, lookout: &Lookout) -> anyhow::Result<Self> {
        let at: Option<Timestamp> = text(&freeze.record, "at").parse().ok();
        let crossed = at.map_or(0.0, |at| between(freeze.breach.crossed_at, at));
        let measured = lookout.time_to_freeze().await?;
        let revision = freeze.revision();
        Ok(Self {
            from_first_candidate: at
                .zip(tally.first_candidate)
                .map(|(at, first)| between(first, at)),
            from_crossing: measured.unwrap_or(crossed),
            exposed_units: tally.exposed.len() as u64,
            since: tally.canary_since(revision),
            entry: lookout.entry(revision).await?.unwrap_or_default(),
            freeze,
        })
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64()
}

impl Ending {
    /// What should have been seen and was not; empty when the demo did what it is for.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let waited = seconds(self.seconds);
        match &self.freeze {
            None => missing.push(format!("{} did not freeze within {waited}", CANARY.experiment)),
            Some(frozen) => {
                if frozen.since.1 > 0 {
                    missing.push(format!(
                        "{} decisions after the freeze did not give `{}`",
                        count(frozen.since.1),
                        CANARY.control.name
                    ));
                }
                if frozen.since.0 == 0 {
                    missing.push("no decision was made after the freeze".to_owned());
                }
            }
        }
        if self.winner.is_none() {
            missing.push(format!("{} has no clear winner after {waited}", TEST.experiment));
        }
        missing
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let mut out = String::new();
        if let Some(frozen) = &self.freeze {
            let _ = write!(
                out,
                "\nThe bad canary froze by itself.\n{}",
                indented(&frozen.words())
            );
            let _ = write!(out, "\nThe freeze in the control log:\n{:#}\n", frozen.entry);
        }
        if let Some(winner) = &self.winner {
            let _ = write!(out, "\nThe A/B test has a winner.\n{}", indented(&won(winner)));
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let canary = self.freeze.as_ref().map(|frozen| {
            json!({
                "experiment": CANARY.experiment,
                "seconds_from_first_candidate": frozen.from_first_candidate,
                "seconds_from_crossing_outcome": frozen.from_crossing,
                "bad_units": frozen.freeze.breach.candidate.bad_units,
                "exposed_units": frozen.exposed_units,
                "decisions_since": {"control": frozen.since.0, "other": frozen.since.1},
                "entry": frozen.entry,
            })
        });
        let winner = self.winner.as_ref().map(|winner| {
            json!({"experiment": TEST.experiment, "control": winner.control, "winner": winner.variant})
        });
        json!({"seconds": self.seconds, "freeze": canary, "winner": winner, "missing": self.missing()})
    }
}

impl Frozen {
    fn words(&self) -> String {
        let breach = &self.freeze.breach;
        let first = self.from_first_candidate.map_or_else(String::new, |length| {
            format!("{} after the first user met the candidate, ", seconds(length))
        });
        let mut lines = vec![
            format!(
                "{} gave {} of the users a candidate with four times control's fallback rate.",
                CANARY.experiment,
                percent(CANARY_SHARE)
            ),
            format!(
                "Frozen {first}{} after the outcome that crossed the limit.",
                seconds(self.from_crossing)
            ),
            format!(
                "Hurt: {} users met a fallback of the candidate, of {} who were given it at all.",
                count(breach.candidate.bad_units),
                count(self.exposed_units)
            ),
            if self.since.1 == 0 {
                format!(
                    "Since then: {} decisions, all of them `{}`.",
                    count(self.since.0),
                    CANARY.control.name
                )
            } else {
                format!(
                    "Since then: {} decisions for `{}` and {} for other arms, which must not be.",
                    count(self.since.0),
                    CANARY.control.name,
                    count(self.since.1)
                )
            },
        ];
        lines.extend(evidence::breach_sentences(breach));
        lines.join("\n")
    }
}

fn won(winner: &Winner) -> String {
    let versus = &winner.variant["vs_control"];
    let mean = |estimate: &Value| figure(&estimate["mean"], rate);
    let mut line = format!(
        "{} resolves {} against {} of {}: {} points {}",
        plain(text(&winner.variant, "variant")),
        mean(&winner.variant),
        mean(&winner.control),
        plain(text(&winner.control, "variant")),
        figure(&versus["difference"], points),
        interval(&versus["ci"], points),
    );
    if versus["always_valid"]["p"].is_number() {
        let _ = write!(
            line,
            "; p {} however often one looks",
            figure(&versus["always_valid"]["p"], p_value)
        );
    } else if versus["p"].is_number() {
        let _ = write!(line, "; p {}", figure(&versus["p"], p_value));
    }
    if let Some(verdict) = versus["verdict"].as_str() {
        let _ = write!(line, "; verdict: {}", plain(&verdict.replace('_', " ")));
    }
    line.push('.');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let ending = Ending {
            seconds: 45.0,
            ..Ending::default()
        };
        assert_eq!(
            ending.missing(),
            [
                "ticket_summary_canary did not freeze within 45.0 s",
                "support_reply_tone has no clear winner after 45.0 s"
            ]
        );
        assert_eq!(ending.words(), "");
        assert_eq!(ending.json()["freeze"], Value::Null);
    }

    #[test]
    fn the_winner_is_told_with_its_figures() {
        let winner = Winner {
            control: json!({"variant": "control", "mean": 0.62}),
            variant: json!({"variant": "friendly", "mean": 0.74, "vs_control": {"difference": 0.12,
                "ci": [0.08, 0.16], "p": 0.0001, "always_valid": {"p": 0.002}, "verdict": "better"}}),
        };
        assert_eq!(
            won(&winner),
            "friendly resolves 74.0 % against 62.0 % of control: +12.00 points [+8.00, +16.00]; p 0.0020 however often \
             one looks; verdict: better."
        );
    }
}
