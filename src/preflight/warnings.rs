//! What a person should know before a start, in sentences.

use super::{GuardrailForecast, Preflight, StageForecast, long, percent, words};
use crate::domain::{
    experiment::{ExperimentKind, ExperimentSpec},
    guardrail::{GuardrailSpec, Limit, MISSING_LEAST_REQUESTS, OnBreach},
    rollout::LEAST_UNREPORTED,
};

/// Where a design will not see what it is to see, and where it cannot end.
pub(super) fn of(spec: &ExperimentSpec, found: &Preflight) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.kind == ExperimentKind::Canary && spec.guardrails.is_empty() {
        warnings.push(format!(
            "canary `{}` has no guardrail: nothing can freeze it",
            spec.id
        ));
    }
    exceeded(spec, found, &mut warnings);
    for stage in &found.stages {
        blind(found, stage, &mut warnings);
        deaf(spec, found, stage, &mut warnings);
        if !stage.open {
            late(spec, stage, &mut warnings);
        }
    }
    warnings
}

fn blind(found: &Preflight, stage: &StageForecast, warnings: &mut Vec<String>) {
    // Whoever knows that a metric goes unreported says so once, and not for every stage.
    for guardrail in stage.guardrails.iter().filter(|guardrail| !guardrail.unreported) {
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

/// Where a candidate that dies before it reports would not be noticed.
fn deaf(spec: &ExperimentSpec, found: &Preflight, stage: &StageForecast, warnings: &mut Vec<String>) {
    let (Some(silence), Some(requests), Some(control)) =
        (&stage.silence, stage.candidate_requests, stage.control_requests)
    else {
        return;
    };
    if spec.guardrails.is_empty() || stage.candidate_share >= 1.0 {
        return;
    }
    let (stage_words, candidate) = (words(stage), &found.candidate);
    if requests < f64::from(LEAST_UNREPORTED) {
        let after = silence.nothing_freezes_after_s.map_or_else(
            || "never freezes".to_owned(),
            |after| format!("freezes only after {}", long(after)),
        );
        warnings.push(format!(
            "{stage_words} gives `{candidate}` {} of the {LEAST_UNREPORTED} requests from which silence means \
             something: one that reports nothing {after}",
            figure(requests)
        ));
    } else if silence.finds_missing.is_none() {
        warnings.push(format!(
            "{stage_words} does not find that outcomes of `{candidate}` go missing: it takes {MISSING_LEAST_REQUESTS} \
             requests of each arm that are two minutes old, of enough units, and there are {} and {} in all",
            figure(requests),
            figure(control)
        ));
    }
}

fn late(spec: &ExperimentSpec, stage: &StageForecast, warnings: &mut Vec<String>) {
    let deadline = long(stage.deadline_s);
    let when = |after: Option<f64>| match after {
        Some(after) => format!("only after {}, beyond its deadline of {deadline}", long(after)),
        None => format!("never, whatever its deadline of {deadline}"),
    };
    let too_late = |after: Option<f64>| {
        stage.candidate_requests.is_some() && after.is_none_or(|after| after > stage.deadline_s)
    };
    if too_late(stage.min_outcomes_after_s) {
        warnings.push(format!(
            "{} has the outcomes it asks for on both arms {}: it would freeze there",
            words(stage),
            when(stage.min_outcomes_after_s)
        ));
    }
    // Without control there is nothing to compare, which is said already.
    let compared = forecasts(spec, stage).filter(|_| stage.candidate_share < 1.0);
    let waited_for = compared.filter(|(guardrail, _)| guardrail.on_breach != Some(OnBreach::Alert));
    let waited_for = waited_for.map(|(_, forecast)| forecast);
    for guardrail in waited_for.filter(|guardrail| too_late(guardrail.ruled_out_after_s)) {
        warnings.push(format!(
            "{} has ruled harm in `{}` out {}: a candidate as good as control would freeze there",
            words(stage),
            guardrail.metric,
            when(guardrail.ruled_out_after_s)
        ));
    }
}

/// Control's own rate against absolute limits.
fn exceeded(spec: &ExperimentSpec, found: &Preflight, warnings: &mut Vec<String>) {
    let Some(stage) = found.stages.first() else { return };
    for (guardrail, forecast) in forecasts(spec, stage) {
        if let Limit::MaxRate(limit) = guardrail.limit
            && forecast.base_rate >= limit
        {
            warnings.push(format!(
                "control's bad rate of {} is not below the limit of {} of `{}`: expect a breach",
                percent(forecast.base_rate),
                percent(limit),
                forecast.metric
            ));
        }
    }
}

/// The guardrails of the design, each with its forecast; silence has one of its own.
fn forecasts<'a>(
    spec: &'a ExperimentSpec,
    stage: &'a StageForecast,
) -> impl Iterator<Item = (&'a GuardrailSpec, &'a GuardrailForecast)> {
    let foreseen = |guardrail: &&GuardrailSpec| !matches!(guardrail.limit, Limit::MaxExcess(_));
    spec.guardrails.iter().filter(foreseen).zip(&stage.guardrails)
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
