//! Figures that moved, each version against itself in the window before.

use super::{
    Input, Recommendation, Severity, VersionPerformance,
    words::{self, number, p_value, percent, points, size},
};
use crate::{
    domain::metric::{EFFECT_WORTH_FINDING, Goal},
    report::{
        Figure,
        performance::{Direction, Estimate},
    },
};

/// A figure as it is called.
struct Named<'a> {
    name: &'static str,
    unit: &'static str,
    rate: bool,
    goal: Goal,
    estimate: &'a Estimate,
}

/// One sentence for each figure that moved by more than would matter. Of the latency only the first that did, because
/// the others move along with it.
pub(super) fn of_version(input: &Input<'_>, version: &VersionPerformance) -> Vec<Recommendation> {
    let rate = |name, goal, estimate| Named {
        name,
        unit: "",
        rate: true,
        goal,
        estimate,
    };
    let mean = |name, unit, goal, estimate| Named {
        name,
        unit,
        rate: false,
        goal,
        estimate,
    };
    let success = &version.success_rate;
    // Where it is the rest of the error rate, that one says it.
    let success = (success.of == "success").then(|| rate("success rate", Goal::Increase, &success.rate));
    let latency = &version.latency_ms;
    let latency = [
        ("p95 latency", &latency.p95),
        ("mean latency", &latency.mean),
        ("median latency", &latency.p50),
        ("p99 latency", &latency.p99),
    ]
    .map(|(name, estimate)| mean(name, " ms", Goal::Decrease, estimate))
    .into_iter()
    .find(moved);
    let others = [
        rate("error rate", Goal::Decrease, &version.error_rate),
        rate("fallback rate", Goal::Decrease, &version.fallback_rate),
        rate("escalation rate", Goal::Decrease, &version.escalation_rate),
        rate(
            "manual correction rate",
            Goal::Decrease,
            &version.manual_correction_rate,
        ),
        mean("mean quality", "", Goal::Increase, &version.quality.mean),
        mean(
            "cost per request",
            " USD",
            Goal::Decrease,
            &version.cost_usd.per_request,
        ),
    ];
    let figures = success.into_iter().chain(others).filter(moved).chain(latency);
    figures
        .filter_map(|figure| sentence(input, version, &figure))
        .collect()
}

/// Whether it moved, and by a share worth speaking of. Of a rate that is a share of its rarer side: 98 % of successes
/// that become 96 % are twice as many failures.
fn moved(figure: &Named<'_>) -> bool {
    let trend = &figure.estimate.trend;
    let (Direction::Rising | Direction::Falling, Figure::Known(change), Figure::Known(previous)) =
        (trend.direction, &trend.change, &trend.previous)
    else {
        return false;
    };
    let base = if figure.rate {
        previous.min(1.0 - previous)
    } else {
        previous.abs()
    };
    change.abs() >= EFFECT_WORTH_FINDING * base
}

fn sentence(input: &Input<'_>, version: &VersionPerformance, figure: &Named<'_>) -> Option<Recommendation> {
    let trend = &figure.estimate.trend;
    let (now, previous) = (figure.estimate.value.known()?, trend.previous.known()?);
    let (change, ci, p) = (
        trend.change.known()?,
        trend.ci.known()?,
        trend.p_adjusted.known()?,
    );
    let rose = trend.direction == Direction::Rising;
    let better = rose == (figure.goal == Goal::Increase);
    let verb = if rose { "rose" } else { "fell" };
    let name = words::version(input.prompt, version.version);
    let (figure_name, window) = (figure.name, input.window);
    let (by, shown): (String, fn(f64) -> String) = match (figure.rate, trend.relative.known()) {
        (true, _) => {
            let (size, _) = size(*change, *ci, points);
            (format!("{size} points to {}", percent(*now)), percent)
        }
        (false, Some(relative)) => (percent(relative.abs()), number),
        (false, None) => (format!("{}{}", number(change.abs()), figure.unit), number),
    };
    let (_, interval) = size(*change, *ci, if figure.rate { points } else { number });
    let unit = if figure.rate { " points" } else { figure.unit };
    let hint = if better {
        ""
    } else {
        ": see what else changed since then"
    };
    let severity = if better { Severity::Info } else { Severity::Warning };
    Some(
        Recommendation::new(
            severity,
            format!("{figure_name} of {name} {verb} by {by} since the previous {window}{hint}"),
            format!(
                "{before}{of} before, {now}{of} now; it {verb} by {interval}{unit}, {p} corrected for all trends",
                before = shown(*previous),
                now = shown(*now),
                of = figure.unit,
                p = p_value(*p),
            ),
        )
        .of_version(Some(version.version)),
    )
}
