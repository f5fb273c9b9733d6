//! What operators are given: alert rules, dashboards and scripts agree with what Serin exports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Every series that `/metrics` has, with its labels.
const EXPORTED: &[(&str, &[&str])] = &[
    ("serin_aa_evidence_ratio", &["experiment", "guardrail"]),
    ("serin_aa_false_freeze", &["experiment", "guardrail"]),
    ("serin_audience_errors_total", &["experiment"]),
    ("serin_auth_last_reload_successful", &[]),
    ("serin_auth_refusals_total", &["reason"]),
    ("serin_auth_reloads_total", &["result"]),
    ("serin_build_info", &["version"]),
    ("serin_config_last_reload_successful", &[]),
    ("serin_config_reloads_total", &["result"]),
    ("serin_connections", &[]),
    ("serin_connections_cut_total", &["limit"]),
    ("serin_connections_limit", &[]),
    ("serin_connections_refused_total", &[]),
    ("serin_decision_duration_seconds", &["le"]),
    (
        "serin_decisions_total",
        &["prompt", "experiment", "variant", "reason"],
    ),
    ("serin_experiment_epoch", &["experiment"]),
    ("serin_experiment_hold", &["experiment", "cause"]),
    ("serin_experiment_hold_since_timestamp_seconds", &["experiment"]),
    ("serin_experiment_share", &["experiment", "variant"]),
    ("serin_experiment_stage", &["experiment"]),
    (
        "serin_experiment_stage_deadline_timestamp_seconds",
        &["experiment"],
    ),
    ("serin_experiment_stage_since_timestamp_seconds", &["experiment"]),
    ("serin_experiment_stages", &["experiment"]),
    ("serin_experiment_state", &["experiment", "state"]),
    ("serin_experiment_unroutable", &["experiment"]),
    ("serin_exposures_dropped_total", &[]),
    ("serin_freezes_total", &["experiment", "reason"]),
    ("serin_freezes_unrecorded", &[]),
    ("serin_guardrail_evidence_ratio", &["experiment", "guardrail"]),
    ("serin_guardrail_limit", &["experiment", "guardrail", "kind"]),
    (
        "serin_guardrail_observed_rate",
        &["experiment", "guardrail", "variant"],
    ),
    ("serin_handler_panics_total", &[]),
    ("serin_http_requests_total", &["code"]),
    ("serin_journal_backlog_entries", &[]),
    (
        "serin_metric_observations_total",
        &["experiment", "variant", "metric"],
    ),
    ("serin_metric_sum", &["experiment", "variant", "metric"]),
    ("serin_notification_last_success_timestamp_seconds", &["endpoint"]),
    ("serin_notifications_pending", &["endpoint"]),
    ("serin_notifications_total", &["endpoint", "result"]),
    ("serin_outcome_delay_p99_seconds", &["experiment", "variant"]),
    ("serin_outcome_missing_evidence_ratio", &["experiment", "variant"]),
    ("serin_outcome_missing_share", &["experiment", "variant"]),
    ("serin_outcomes_total", &["experiment", "variant", "result"]),
    ("serin_routing_table_age_seconds", &[]),
    ("serin_routing_table_revision", &[]),
    ("serin_srm_evidence_ratio", &["experiment"]),
    ("serin_store_commit_duration_seconds", &["le"]),
    ("serin_store_up", &[]),
    ("serin_time_to_freeze_seconds", &["le"]),
];

/// Labels that Prometheus adds when it scrapes.
const ADDED: &[&str] = &["job", "instance"];
/// Labels that would tell about people, or make a series per request.
const FORBIDDEN: &[&str] = &[
    "unit",
    "user",
    "tenant",
    "session",
    "receipt",
    "request",
    "request_id",
    "id",
];
const DASHBOARDS: &[&str] = &["grafana/experiments.json", "grafana/traffic.json"];
/// The last version of this format of dashboards.
const DASHBOARD_SCHEMA: u64 = 42;

const RULE: &str = "      - alert: ";
const GROUP: &str = "  - name: ";
const TEST: &str = "  - name: ";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn promtool(arguments: &[&str], directory: &Path) -> Output {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output();
    match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("promtool is missing; install the Debian package `prometheus`")
        }
        Err(error) => panic!("promtool: {error}"),
    }
}

#[track_caller]
fn check_accepted(arguments: &[&str], directory: &Path) {
    let output = promtool(arguments, directory);
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

// ---- what is read from queries

/// A series that a query asks for.
#[derive(Debug)]
struct Selector {
    name: String,
    /// Label, operator and value.
    matchers: Vec<(String, String, String)>,
    /// What stands between the brackets behind it.
    range: Option<String>,
    /// The function or aggregation it is directly in.
    inside: String,
}

impl Selector {
    fn matches(&self, label: &str, operator: &str, value: &str) -> bool {
        self.matchers
            .iter()
            .any(|matcher| (&*matcher.0, &*matcher.1, &*matcher.2) == (label, operator, value))
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Everything in a text that is named like a series of Serin.
fn selectors(text: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("serin_") {
        if text[..at].ends_with(is_word) {
            continue;
        }
        let (name, mut rest) = split_where(&text[at..], |character| !is_word(character));
        let mut matchers = Vec::new();
        if let Some(list) = rest.strip_prefix('{') {
            (matchers, rest) = read_matchers(list);
        }
        let range = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let before = text[..at].trim_end_matches('(');
        let word = before.len() - before.chars().rev().take_while(|&one| is_word(one)).count();
        found.push(Selector {
            name: name.to_owned(),
            matchers,
            range: range.map(|(range, _)| range.to_owned()),
            inside: before[word..].to_owned(),
        });
    }
    found
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

type Matchers = Vec<(String, String, String)>;

/// Reads `label="value", …}` and gives what follows.
fn read_matchers(mut rest: &str) -> (Matchers, &str) {
    let mut matchers = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return (matchers, after);
        }
        let (label, after) = split_where(rest, |character| !is_word(character));
        let (operator, after) = after.split_once('"').expect("a quoted value");
        let (value, after) = after.split_once('"').expect("the end of a value");
        matchers.push((label.to_owned(), operator.to_owned(), value.to_owned()));
        rest = after;
    }
}

/// The exported name and its labels; histograms have their suffixes taken off.
fn exported(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|base| {
            EXPORTED
                .iter()
                .any(|(name, labels)| name == base && *labels == ["le"])
        });
    let base = histogram.unwrap_or(name);
    EXPORTED.iter().copied().find(|(name, _)| *name == base)
}

#[track_caller]
fn check_exported(selector: &Selector, place: &str) {
    let name = &selector.name;
    let (_, labels) = exported(name).unwrap_or_else(|| panic!("{place}: {name} is not exported"));
    for (label, ..) in &selector.matchers {
        assert!(
            labels.contains(&label.as_str()) || ADDED.contains(&label.as_str()),
            "{place}: {name} has no label {label}"
        );
    }
}

/// The labels named by `by (…)`, `on (…)` and their kin.
fn grouping(query: &str) -> Vec<&str> {
    let words = [
        "by (",
        "without (",
        "on (",
        "ignoring (",
        "group_left (",
        "group_right (",
    ];
    words
        .iter()
        .flat_map(|word| query.match_indices(word).map(|(at, _)| &query[at + word.len()..]))
        .filter_map(|rest| rest.split_once(')'))
        .flat_map(|(list, _)| list.split(','))
        .map(str::trim)
        .collect()
}

#[track_caller]
fn check_grouping(query: &str, place: &str) {
    let known: BTreeSet<&str> = EXPORTED
        .iter()
        .flat_map(|(_, labels)| *labels)
        .chain(ADDED)
        .copied()
        .collect();
    for label in grouping(query) {
        assert!(known.contains(label), "{place}: no series has the label {label}");
    }
}

// ---- alert rules

/// One alert as it stands in the file.
struct Rule {
    name: String,
    text: String,
}

impl Rule {
    /// The value of a key: what stands on its line, or indented below it.
    fn field(&self, key: &str) -> Option<String> {
        let mut lines = self.text.lines();
        let start = format!("{key}: ");
        let first = lines.find(|line| line.trim_start().starts_with(&start))?;
        let depth = first.len() - first.trim_start().len();
        let value = first.trim_start()[start.len()..].trim();
        if !matches!(value, "|" | ">-") {
            return Some(value.trim_matches('"').to_owned());
        }
        let below = lines.take_while(|line| line.len() - line.trim_start().len() > depth);
        Some(below.map(str::trim).collect::<Vec<_>>().join(" "))
    }

    /// The file that has this rule alone.
    fn alone(&self) -> String {
        format!("groups:\n{GROUP}alone\n    rules:\n{}", self.text)
    }
}

fn rules() -> Vec<Rule> {
    let file = read("config/alerts.yml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut open = false;
    for line in file.lines() {
        if let Some(name) = line.strip_prefix(RULE) {
            rules.push(Rule {
                name: name.to_owned(),
                text: String::new(),
            });
            open = true;
        } else if line.starts_with(GROUP) {
            open = false;
        }
        if open && let Some(rule) = rules.last_mut() {
            writeln!(rule.text, "{line}").unwrap();
        }
    }
    rules
}

/// The cases of the test file that are about one alert.
fn tests_of(alert: &str) -> String {
    let file = read("config/alerts_test.yml");
    let start = format!("\n{TEST}");
    let mut parts = file.split(&start);
    let mut text = parts.next().unwrap().to_owned();
    for case in parts.filter(|case| case.contains(&format!("alertname: {alert}\n"))) {
        write!(text, "\n{TEST}{case}").unwrap();
    }
    text + "\n"
}

/// The rule with one thing wrong at a time, and what that is.
fn mutants(rule: &Rule) -> Vec<(String, String)> {
    let whole = rule.alone();
    let mut mutants = vec![(
        "removed".to_owned(),
        format!("groups:\n{GROUP}alone\n    rules: []\n"),
    )];
    let wait = rule
        .text
        .lines()
        .find(|line| line.trim_start().starts_with("for: "));
    if let Some(wait) = wait {
        mutants.push((
            "without its wait".to_owned(),
            whole.replace(&format!("{wait}\n"), ""),
        ));
    }
    let expression = whole.find("expr:").unwrap()..whole.find("labels:").unwrap();
    for (operator, inverse) in [
        (" > ", " <= "),
        (" >= ", " < "),
        (" < ", " >= "),
        (" == ", " != "),
    ] {
        for (at, _) in whole[expression.clone()].match_indices(operator) {
            let at = expression.start + at;
            let mut text = whole.clone();
            text.replace_range(at..at + operator.len(), inverse);
            mutants.push((
                format!("with{operator}inverted at {}", at - expression.start),
                text,
            ));
        }
    }
    mutants
}

#[test]
fn prometheus_takes_the_files() {
    let root = path("");
    check_accepted(&["check", "rules", "config/alerts.yml"], &root);
    check_accepted(&["check", "config", "config/prometheus.yml"], &root);
}

#[test]
fn alerts_fire_when_they_should() {
    check_accepted(&["test", "rules", "config/alerts_test.yml"], &path(""));
}

#[test]
fn a_changed_alert_fails_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    let run = |rules: &str, tests: &str| {
        fs::write(folder.path().join("alerts.yml"), rules).unwrap();
        fs::write(folder.path().join("alerts_test.yml"), tests).unwrap();
        promtool(&["test", "rules", "alerts_test.yml"], folder.path())
            .status
            .success()
    };
    for rule in rules() {
        let tests = tests_of(&rule.name);
        assert!(
            run(&rule.alone(), &tests),
            "{} by itself fails its tests",
            rule.name
        );
        for (what, text) in mutants(&rule) {
            assert!(!run(&text, &tests), "{} {what} passes its tests", rule.name);
        }
    }
}

#[test]
fn alerts_say_what_to_do() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert!(rules.len() > 10, "found {names:?} only");
    assert_eq!(names.len(), rules.len(), "two alerts share a name");
    for rule in &rules {
        let name = &rule.name;
        let field = |key| rule.field(key).unwrap_or_else(|| panic!("{name} has no {key}"));
        assert!(matches!(field("severity").as_str(), "page" | "ticket"), "{name}");
        assert!(!field("summary").is_empty(), "{name}");
        let description = field("description");
        assert!(
            description.contains("{{ $value"),
            "{name} does not tell the value"
        );
        assert!(
            !description.contains("://"),
            "{name} has an address that may not exist"
        );
        let (_, last) = description.rsplit_once(". ").unwrap();
        assert!(
            last.starts_with("Runbook: ") && last.ends_with('.'),
            "{name} ends with {last:?}"
        );
        let expression = field("expr");
        let per_experiment = grouping(&expression).contains(&"experiment");
        assert!(
            !per_experiment || description.contains("$labels.experiment"),
            "{name} does not tell the experiment"
        );
    }
}

#[test]
fn alerts_ask_for_what_is_exported() {
    for file in ["config/alerts.yml", "config/alerts_test.yml"] {
        let found = selectors(&read(file));
        assert!(!found.is_empty());
        for selector in &found {
            check_exported(selector, file);
        }
    }
    for rule in rules() {
        check_grouping(&rule.field("expr").unwrap(), &rule.name);
    }
}

#[test]
fn the_list_of_series_is_complete() {
    let mut written = BTreeSet::new();
    let sources = fs::read_dir(path("src/api/metrics")).expect("the module that names all series");
    for entry in sources {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        let strings = source.split('"').skip(1).step_by(2);
        written.extend(
            strings
                .filter(|text| text.starts_with("serin_"))
                .map(str::to_owned),
        );
    }
    let listed: BTreeSet<String> = EXPORTED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(written, listed);
}

#[test]
fn no_series_tells_about_people() {
    for (name, labels) in EXPORTED {
        for label in *labels {
            assert!(!FORBIDDEN.contains(label), "{name} has {label}");
        }
    }
}

// ---- dashboards

fn dashboard(file: &str) -> Value {
    serde_json::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("{pointer} is no list in {value}"))
}

/// The panels that show something; headings of rows do not.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = list(dashboard, "/panels").iter();
    let nested = all
        .clone()
        .filter_map(|panel| panel["panels"].as_array())
        .flatten();
    all.chain(nested).filter(|panel| panel["type"] != "row")
}

/// Every query of a dashboard with the place it stands in.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in list(panel, "/targets") {
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for note in list(dashboard, "/annotations/list") {
        queries.push((text(&note["name"]), text(&note["expr"])));
    }
    queries
}

#[track_caller]
fn check_datasource(value: &Value, place: &str) {
    assert_eq!(value["datasource"]["uid"], "${datasource}", "{place}");
    assert_eq!(value["datasource"]["type"], "prometheus", "{place}");
}

#[test]
fn dashboards_keep_the_rules_of_the_house() {
    let mut uids = BTreeSet::new();
    for file in DASHBOARDS {
        let dashboard = dashboard(file);
        assert_eq!(dashboard["editable"], false, "{file}");
        assert_eq!(dashboard["schemaVersion"], DASHBOARD_SCHEMA, "{file}");
        assert!(!dashboard["title"].as_str().unwrap().is_empty(), "{file}");
        assert!(
            uids.insert(dashboard["uid"].as_str().unwrap().to_owned()),
            "{file}"
        );
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard, "/panels") {
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{file}: an id is used twice"
            );
        }
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            let place = format!("{file}, panel {title:?}");
            assert!(!title.is_empty(), "{place}");
            for text in ["/description", "/fieldConfig/defaults/unit"] {
                let text = panel.pointer(text).and_then(Value::as_str);
                assert!(text.is_some_and(|text| !text.is_empty()), "{place}");
            }
            check_datasource(panel, &place);
            assert!(!list(panel, "/targets").is_empty(), "{place} asks for nothing");
            for target in list(panel, "/targets") {
                check_datasource(target, &place);
            }
        }
        for note in list(&dashboard, "/annotations/list") {
            check_datasource(note, file);
        }
    }
}

#[test]
fn dashboards_have_the_variables() {
    for file in DASHBOARDS {
        let dashboard = dashboard(file);
        let variables = list(&dashboard, "/templating/list");
        let (sources, others): (Vec<_>, Vec<_>) =
            variables.iter().partition(|one| one["type"] == "datasource");
        assert_eq!(sources.len(), 1, "{file}");
        assert_eq!(sources[0]["name"], "datasource", "{file}");
        assert_eq!(sources[0]["label"], "Data Source", "{file}");
        assert_eq!(sources[0]["query"], "prometheus", "{file}");
        for variable in &others {
            let place = format!("{file}, variable {}", variable["name"]);
            assert_eq!(variable["type"], "query", "{place}");
            assert_eq!(variable["refresh"], 2, "{place} does not follow the time range");
            check_datasource(variable, &place);
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(query, variable["definition"], "{place}");
            let label = query.rsplit_once(", ").unwrap().1.trim_end_matches(')');
            for selector in selectors(query) {
                check_exported(&selector, &place);
                let (_, labels) = exported(&selector.name).unwrap();
                assert!(
                    labels.contains(&label) || ADDED.contains(&label),
                    "{place}: {label}"
                );
            }
        }
        for (name, label) in [("job", "Job"), ("instance", "Instance")] {
            let variable = others.iter().find(|variable| variable["name"] == name);
            let variable = variable.unwrap_or_else(|| panic!("{file} has no variable {name}"));
            assert_eq!(variable["label"], label, "{file}");
            assert_eq!(variable["multi"], true, "{file}");
            assert_eq!(variable["allValue"], ".+", "{file}");
        }
    }
}

#[test]
fn dashboards_ask_for_what_is_exported() {
    for file in DASHBOARDS {
        for (title, query) in queries(&dashboard(file)) {
            let place = format!("{file}, {title:?}");
            let found = selectors(&query);
            assert!(!found.is_empty(), "{place} asks for nothing of Serin: {query}");
            check_grouping(&query, &place);
            for selector in &found {
                check_exported(selector, &place);
                assert!(selector.matches("job", "=~", "$job"), "{place}: {selector:?}");
                assert!(
                    selector.matches("instance", "=~", "$instance"),
                    "{place}: {selector:?}"
                );
                let counts = selector.name.ends_with("_total") || selector.name.ends_with("_bucket");
                assert_eq!(
                    counts,
                    matches!(selector.inside.as_str(), "rate" | "increase"),
                    "{place}: counters, and they alone, are shown as a rate or an increase: {selector:?}"
                );
                let range = selector.range.as_deref();
                assert!(
                    range.is_none_or(|range| range == "$__rate_interval"),
                    "{place}: {selector:?}"
                );
            }
        }
    }
}

/// Each query becomes a recording rule, since those are what promtool reads.
#[test]
fn dashboards_ask_in_valid_promql() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = format!("groups:\n{GROUP}dashboards\n    rules:\n");
    for (number, (_, query)) in DASHBOARDS
        .iter()
        .flat_map(|file| queries(&dashboard(file)))
        .enumerate()
    {
        let query = query.replace("$__rate_interval", "1m");
        writeln!(
            text,
            "      - record: query_{number}\n        expr: '{}'",
            query.replace('\'', "''")
        )
        .unwrap();
    }
    fs::write(folder.path().join("queries.yml"), text).unwrap();
    check_accepted(&["check", "rules", "--lint=none", "queries.yml"], folder.path());
}

// ---- scripts

#[test]
fn scripts_can_be_run() {
    for script in ["tests/run", ".ci/run"] {
        let mode = fs::metadata(path(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
        let parsed = Command::new("bash")
            .arg("-n")
            .arg(path(script))
            .output()
            .expect("bash runs");
        assert!(
            parsed.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&parsed.stderr)
        );
    }
}
