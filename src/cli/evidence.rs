//! A freeze in sentences: which guardrail, what both arms did, how strong the evidence is, and what happens now.

use super::{
    figures::{self, count, moment, moment_of, percent, shortened, text},
    table::plain,
};
use crate::domain::{
    experiment::FreezeCause,
    guardrail::{ArmCounts, Breach, Limit},
};
use serde_json::Value;

/// Everything the server says about an experiment's freeze, one sentence or two per line.
///
/// `freeze` is the experiment's `freeze` member; `control` the name of the arm whose version everyone gets.
pub(super) fn sentences(experiment: &str, freeze: &Value, control: &str) -> Vec<String> {
    let (at, revision) = (moment_of(&freeze["at"]), &freeze["revision"]);
    let (actor, reason) = (plain(text(freeze, "actor")), plain(text(freeze, "reason")));
    let mut out = match serde_json::from_value(freeze["cause"].clone()) {
        Ok(FreezeCause::Guardrail(breach)) => {
            let name = plain(&breach.guardrail);
            let mut lines = vec![format!(
                "Frozen on {at} by its guardrail `{name}` (revision {revision})."
            )];
            lines.extend(breach_sentences(&breach));
            lines
        }
        Ok(FreezeCause::Manual) => vec![format!(
            "Frozen on {at} by hand ({actor}, revision {revision}): {reason}."
        )],
        Ok(FreezeCause::RolledBack { version }) => vec![format!(
            "Frozen on {at} because its prompt was rolled back to version {version} ({actor}, revision {revision}): {reason}."
        )],
        Ok(FreezeCause::Blind { variant, since }) => vec![
            format!("Frozen on {at} for want of outcomes (revision {revision})."),
            format!(
                "`{}` was served since {} and nothing was reported of it: {reason}.",
                plain(variant.as_str()),
                moment(since)
            ),
        ],
        Ok(FreezeCause::Deadline {
            stage,
            since,
            waited_for,
        }) => vec![
            format!(
                "Frozen on {at} at the deadline of stage {} (revision {revision}).",
                stage + 1
            ),
            format!(
                "It began on {} and {}: {reason}.",
                moment(since),
                waited_for.map_or_else(
                    || "was still running".to_owned(),
                    |cause| format!("waited for `{cause}` at last")
                )
            ),
        ],
        // A newer server may know causes that this command line does not: show them as they come.
        Err(_) => vec![
            format!("Frozen on {at} by {actor} (revision {revision}): {reason}."),
            format!("Cause: {}.", freeze["cause"]),
        ],
    };
    let (experiment, control) = (plain(experiment), plain(control));
    out.push(format!(
        "Now every unit gets the version of `{control}`. No timer, restart or edited file lifts this."
    ));
    out.push(format!(
        "To go on: serin experiment resume {experiment} --reason \"…\" (a new epoch, the split as before); \
         to end it: serin experiment stop {experiment}."
    ));
    out
}

/// What a guardrail saw, against its limit.
pub(super) fn breach_sentences(breach: &Breach) -> Vec<String> {
    let mut lines = vec![format!("Harm starts {}.", limit(&breach.limit))];
    lines.push(format!(
        "{}; {}{}.",
        arm(&breach.candidate),
        arm(&breach.control),
        ratio(breach)
    ));
    lines.push(format!(
        "Evidence: e-value {} against {}, which equal arms would ever reach with a chance below {}; `{}` had {} of \
         the units of the two arms.",
        power(breach.log_e),
        power(breach.log_threshold),
        percent((-breach.log_threshold).exp()),
        plain(breach.candidate.variant.as_str()),
        percent(breach.share),
    ));
    lines.push(format!(
        "Gathered since {} and crossed on {}, in epoch {}, found by {}.",
        moment(breach.evidence_since),
        moment(breach.crossed_at),
        breach.epoch.0,
        plain(&breach.replica),
    ));
    lines
}

/// A limit as the end of a sentence.
pub(super) fn limit(limit: &Limit) -> String {
    match limit {
        Limit::MaxRatio(ratio) => format!(
            "at {} times control's rate at the same time",
            shortened(*ratio, 4)
        ),
        Limit::MaxRate(rate) => format!("at a rate of {}", percent(*rate)),
        Limit::MaxExcess(excess) => format!("{} above control's rate", percent(*excess)),
    }
}

fn arm(counts: &ArmCounts) -> String {
    let units = |number: u64| format!("{} bad unit{}", count(number), if number == 1 { "" } else { "s" });
    let rate = counts.rate.map_or_else(
        || "no rate".to_owned(),
        |rate| {
            format!(
                "{} of {} outcomes bad",
                figures::rate(rate),
                count(counts.observations)
            )
        },
    );
    format!(
        "`{}`: {rate}, {}",
        plain(counts.variant.as_str()),
        units(counts.bad_units)
    )
}

fn ratio(breach: &Breach) -> String {
    match (breach.candidate.rate, breach.control.rate) {
        (Some(candidate), Some(control)) if control > 0.0 => {
            format!("; {} times control's rate", shortened(candidate / control, 2))
        }
        _ => String::new(),
    }
}

/// e to the power of `log`, however large.
fn power(log: f64) -> String {
    if log < 13.0 {
        return shortened(log.exp(), if log < 4.6 { 1 } else { 0 });
    }
    let tens = log / std::f64::consts::LN_10;
    format!("{:.1} × 10^{}", 10f64.powf(tens.fract()), tens.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frozen_by_guardrail() -> Value {
        json!({"revision": 31, "at": "2026-12-01T10:00:05.2Z", "actor": "guardrail:fallback", "reason": "breach",
            "cause": {"guardrail": {
                "guardrail": "fallback", "limit": {"max_ratio": 1.25}, "action": "freeze",
                "control": {"variant": "current", "bad_units": 52, "observations": 1300, "rate": 0.04},
                "candidate": {"variant": "candidate", "bad_units": 23, "observations": 144, "rate": 0.16},
                "share": 0.1, "log_e": 5.9, "log_threshold": 5.298_317_366_548_036, "alpha": 0.01, "epoch": 2,
                "evidence_since": "2026-12-01T10:00:00Z", "crossed_at": "2026-12-01T10:00:05.1Z",
                "replica": "host:1"}}})
    }

    #[test]
    fn a_breach_is_told_with_all_its_evidence() {
        assert_eq!(
            sentences("summary", &frozen_by_guardrail(), "current"),
            [
                "Frozen on 2026-12-01 10:00:05 UTC by its guardrail `fallback` (revision 31).",
                "Harm starts at 1.25 times control's rate at the same time.",
                "`candidate`: 16.0 % of 144 outcomes bad, 23 bad units; `current`: 4.00 % of 1,300 outcomes bad, \
                 52 bad units; 4 times control's rate.",
                "Evidence: e-value 365 against 200, which equal arms would ever reach with a chance below 0.5 %; \
                 `candidate` had 10 % of the units of the two arms.",
                "Gathered since 2026-12-01 10:00:00 UTC and crossed on 2026-12-01 10:00:05 UTC, in epoch 2, found \
                 by host:1.",
                "Now every unit gets the version of `current`. No timer, restart or edited file lifts this.",
                "To go on: serin experiment resume summary --reason \"…\" (a new epoch, the split as before); to \
                 end it: serin experiment stop summary.",
            ]
        );
    }

    #[test]
    fn control_without_a_bad_outcome_has_no_ratio() {
        let mut freeze = frozen_by_guardrail();
        freeze["cause"]["guardrail"]["control"] =
            json!({"variant": "current", "bad_units": 0, "observations": 0});
        freeze["cause"]["guardrail"]["limit"] = json!({"max_rate": 0.05});
        freeze["cause"]["guardrail"]["log_e"] = json!(800.0);
        let told = sentences("summary", &freeze, "current").join("\n");
        assert!(told.contains("Harm starts at a rate of 5 %."), "{told}");
        assert!(told.contains("`current`: no rate, 0 bad units."), "{told}");
        assert!(told.contains("e-value 2.7 × 10^347 against 200"), "{told}");
    }

    #[test]
    fn other_causes_are_told_too() {
        let manual = json!({"revision": 4, "at": "2026-12-01T10:00:05Z", "actor": "api", "reason": "odd answers",
            "cause": "manual"});
        let told = sentences("tone", &manual, "control");
        assert_eq!(
            told[0],
            "Frozen on 2026-12-01 10:00:05 UTC by hand (api, revision 4): odd answers."
        );
        let newer = json!({"revision": 4, "at": "x", "actor": "fleet", "reason": "r", "cause": {"odd": 600}});
        let told = sentences("tone", &newer, "control").join("\n");
        assert!(
            told.contains("by fleet (revision 4): r.\nCause: {\"odd\":600}."),
            "{told}"
        );
    }
}
