//! What a person should know before a start, in sentences.

use super::{Preflight, StageForecast, long, percent, words};
use crate::domain::experiment::{ExperimentKind, ExperimentSpec};

/// Where a design will not see what it is to see, and where it cannot end.
pub(super) fn of(spec: &ExperimentSpec, found: &Preflight) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.kind == ExperimentKind::Canary && spec.guardrails.is_empty() {
        warnings.push(format!(
            "canary `{}` has no guardrail: nothing can freeze it",
            spec.id
        ));
    }
    for stage in &found.stages {
        blind(found, stage, &mut warnings);
        if !stage.open {
            late(stage, &mut warnings);
        }
    }
    warnings
}

fn blind(found: &Preflight, stage: &StageForecast, warnings: &mut Vec<String>) {
    for guardrail in &stage.guardrails {
        let (stage_words, metric) = (words(stage), &guardrail.metric);
        if stage.candidate_share >= 1.0 && guardrail.limit == "max_ratio" {
            warnings.push(format!(
                "{stage_words} is blind for `{metric}`: nobody is left on control to compare with"
            ));
        } else if guardrail.blind {
            let rps = found.traffic.map_or(0.0, |traffic| traffic.requests_per_second);
            let worst = if guardrail.limit == "max_ratio" {
                let times = 16f64.min(1.0 / guardrail.base_rate);
                format!(
                    "{} times control's rate of {}",
                    figure(times),
                    percent(guardrail.base_rate)
                )
            } else {
                "a rate of 100 %".to_owned()
            };
            let needed = guardrail.needs_rps.map_or_else(String::new, |needed| {
                format!("; it takes {} requests/s", figure(needed))
            });
            warnings.push(format!(
                "{stage_words} is blind for `{metric}`: at {} requests/s not even {worst} would be found with {} power{needed}",
                figure(rps),
                percent(found.power),
            ));
        }
    }
}

fn late(stage: &StageForecast, warnings: &mut Vec<String>) {
    let deadline = long(stage.deadline_s);
    let ends = |what: String, after: Option<f64>| match after {
        Some(after) => format!(
            "{what} only after {}, beyond its deadline of {deadline}",
            long(after)
        ),
        None => format!("{what} never, whatever its deadline of {deadline}"),
    };
    if stage.waits_for.as_deref() == Some("min_outcomes")
        && stage
            .min_outcomes_after_s
            .is_none_or(|after| after > stage.deadline_s)
    {
        warnings.push(ends(
            format!("{} has its least outcomes on both arms", words(stage)),
            stage.min_outcomes_after_s,
        ));
    }
    for guardrail in &stage.guardrails {
        // Without control there is nothing to compare, which is said already.
        let compares = guardrail.limit == "max_rate" || stage.candidate_share < 1.0;
        if stage.candidate_requests.is_some()
            && compares
            && guardrail
                .ruled_out_after_s
                .is_none_or(|after| after > stage.deadline_s)
        {
            let what = format!("{} rules harm in `{}` out", words(stage), guardrail.metric);
            warnings.push(format!(
                "{}: a candidate as good as control would freeze there",
                ends(what, guardrail.ruled_out_after_s)
            ));
        }
    }
}

/// A number with about two digits that count.
fn figure(value: f64) -> String {
    let decimals = match value {
        value if value >= 10.0 => 0,
        value if value >= 1.0 => 1,
        value if value >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
