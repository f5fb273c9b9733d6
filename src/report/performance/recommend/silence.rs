//! What is missing: outcomes that nobody sends say nothing, and that has to be said.

use super::{
    Input, Recommendation, Severity, VersionPerformance,
    words::{self, several},
};

/// Nothing at all in the window, or requests of a version of which nobody tells the outcome.
pub(super) fn silence(
    input: &Input<'_>,
    versions: &[VersionPerformance],
    before: Option<u64>,
) -> Vec<Recommendation> {
    let requests: u64 = versions.iter().map(|version| version.requests.value).sum();
    let outcomes: u64 = versions.iter().map(|version| version.outcomes.value).sum();
    let window = input.window;
    if outcomes == 0 {
        let since = before.map_or_else(String::new, |before| {
            format!("; {} in the {window} before", several(before, "outcome"))
        });
        let expected = requests > 0 || before.is_some_and(|before| before > 0) || !input.reports.is_empty();
        let severity = if expected {
            Severity::Warning
        } else {
            Severity::Info
        };
        return vec![Recommendation::new(
            severity,
            "no outcomes were reported in this window: gateways may not be sending them".to_owned(),
            format!(
                "{} and no outcome in the last {window}{since}",
                several(requests, "request")
            ),
        )];
    }
    let silent = versions.iter().filter(|version| version.outcomes.value == 0);
    silent
        .map(|silent| {
            let name = words::version(input.prompt, silent.version);
            Recommendation::new(
                Severity::Warning,
                format!("no outcomes were reported for {name}, though it was served: its gateways may not be sending them"),
                format!(
                    "{} of {name} and no outcome in the last {window}, {} of other versions",
                    several(silent.requests.value, "request"),
                    several(outcomes, "outcome"),
                ),
            )
            .of_version(Some(silent.version))
        })
        .collect()
}
