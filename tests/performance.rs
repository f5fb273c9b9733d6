//! How the versions of a prompt did: over HTTP with a clock that is moved by hand, and from counts made by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;
mod support;
#[path = "support/town.rs"]
mod town;

use process::Client;
use serde_json::{Value as Json, json};
use serin::{
    collector::{
        arm_counts::ArmCounts,
        cells::Cell,
        series::{Series, SeriesPoint, SeriesRow, SeriesWindow},
    },
    domain::{
        command::Command,
        experiment::{Experiment, FreezeCause},
        guardrail::{ArmCounts as BadCounts, Breach, Limit, OnBreach, Verdict},
        id::{ArmIndex, Epoch, MetricName, PromptName, Revision, VariantName},
        prompt::Prompt,
    },
    report::{
        CandidateStatus, ControlStatus, Figure, GuardrailStatus,
        performance::{Direction, Input, Performance, Recommendation, Severity, Source, Span, performance},
        report,
    },
    routing::hash::mix,
};
use std::{sync::Arc, time::Duration};
use support::{World, draft, environment, id, now, spec};
use town::Town;

const PROMPT: &str = "support/first reply";
const PATH: &str = "/api/v1/prompts/support%2Ffirst%20reply/performance";

fn design() -> Json {
    json!({
        "id": "tone", "prompt": PROMPT, "environment": "production", "kind": "experiment", "status": "running",
        "unit": "user", "traffic": 1.0,
        "variants": [
            {"name": "control", "version": "1.0.0", "weight": 50},
            {"name": "friendly", "version": "1.1.0", "weight": 50},
        ],
        "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase", "primary": true}],
    })
}

// ---- over HTTP

fn town() -> Town {
    let register = |name: &str, semver: &str| Command::RegisterPrompt {
        name: PromptName::new(name).unwrap(),
        draft: Box::new(draft(semver, &format!("{name} {semver}"))),
        environments: vec![environment()],
    };
    Town::with([
        register(PROMPT, "1.0.0"),
        register(PROMPT, "1.1.0"),
        register("quiet", "1.0.0"),
        Command::PutExperiment(Box::new(spec(&design()))),
    ])
}

/// Decides for users and reports what `metrics` makes of each version and user; how many got each version.
fn traffic(town: &Town, users: std::ops::Range<u32>, metrics: impl Fn(u64, u32) -> Json) -> [u64; 2] {
    let mut client = Client::connect(town.data);
    let mut served = [0, 0];
    let outcomes: Json = users
        .map(|user| {
            let context = json!({"user": format!("u-{user}")});
            let decision = client.ok("/v1/decide", &json!({"prompt": PROMPT, "context": context}));
            let version = decision["version"].as_u64().unwrap();
            served[usize::try_from(version - 1).unwrap()] += 1;
            json!({"receipt": decision["receipt"], "metrics": metrics(version, user)})
        })
        .collect();
    let accepted = client.outcomes(&outcomes);
    assert_eq!(accepted["rejected"], json!([]), "{accepted}");
    served
}

fn of_version(answer: &Json, version: u64) -> &Json {
    let versions = answer["versions"].as_array().unwrap();
    let found = versions.iter().find(|found| found["version"] == version);
    found.unwrap_or_else(|| panic!("no version {version} in {answer}"))
}

#[track_caller]
fn close(value: &Json, expected: f64) {
    let found = value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not {expected}"));
    assert!(
        (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

#[test]
fn every_version_has_its_figures_wherever_it_was_served() {
    let town = town();
    // Every fifth user fails; latency is 100 ms and 200 ms in turn; a request of 1.1.0 costs a cent.
    let metrics = |version: u64, user: u32| {
        json!({"error": user.is_multiple_of(5), "latency_ms": if version == 1 { 100 } else { 200 + user % 2 },
            "cost_usd": if version == 1 { 0.005 } else { 0.01 }, "resolved": true})
    };
    let (mut served, mut failed, mut odd) = ([0, 0], 0_u32, 0_u32);
    for minute in 0..3 {
        let users = minute * 40..(minute + 1) * 40;
        let seen = std::cell::Cell::new((0, 0));
        let now = traffic(&town, users, |version, user| {
            if version == 2 {
                let (bad, uneven) = seen.get();
                seen.set((bad + u32::from(user.is_multiple_of(5)), uneven + user % 2));
            }
            metrics(version, user)
        });
        served = [served[0] + now[0], served[1] + now[1]];
        (failed, odd) = (failed + seen.get().0, odd + seen.get().1);
        town.minutes(1);
    }
    // Three more of 1.0.0 outside the experiment, two of them successes.
    let outside: Json = (0..3)
        .map(|n| json!({"prompt": PROMPT, "version": "1.0.0", "id": format!("o-{n}"), "metrics": {"success": n > 0}}))
        .collect();
    assert_eq!(Client::connect(town.data).outcomes(&outside)["accepted"], 3);

    let answer = town.get(PATH);
    assert_eq!(
        (&answer["prompt"], &answer["window"]),
        (&json!(PROMPT), &json!("24h"))
    );
    assert_eq!(answer["block"], "30m");
    assert_eq!(
        (&answer["to"], &answer["from"]),
        (&json!("2026-12-01T00:04:00Z"), &json!("2026-11-30T00:04:00Z"))
    );
    let one = of_version(&answer, 1);
    assert_eq!(one["semver"], "1.0.0");
    assert_eq!(
        (&one["deployed"], &one["experiments"]),
        (&json!(["production"]), &json!(["tone"]))
    );
    assert_eq!(one["outside_experiments"], true);
    assert_eq!(one["requests"]["value"], served[0] + 3);
    assert_eq!(one["outcomes"]["value"], served[0] + 3);
    assert_eq!(
        (&one["success_rate"]["of"], &one["success_rate"]["n"]),
        (&json!("success"), &json!(3))
    );
    close(&one["success_rate"]["value"], 2.0 / 3.0);
    assert_eq!(one["error_rate"]["n"], served[0]);
    let two = of_version(&answer, 2);
    assert_eq!(
        (&two["deployed"], &two["outside_experiments"]),
        (&json!([]), &json!(false))
    );
    let n = served[1] as f64;
    assert_eq!(two["requests"]["value"], served[1]);
    close(&two["error_rate"]["value"], f64::from(failed) / n);
    assert_eq!(two["success_rate"]["of"], "error");
    close(&two["success_rate"]["value"], 1.0 - f64::from(failed) / n);
    close(&two["latency_ms"]["mean"]["value"], 200.0 + f64::from(odd) / n);
    let median = two["latency_ms"]["p50"]["value"].as_f64().unwrap();
    assert!((median - 200.0).abs() <= 3.0, "{median}");
    close(&two["cost_usd"]["total"]["value"], 0.01 * n);
    close(&two["cost_usd"]["per_request"]["value"], 0.01);
    assert_eq!(two["error_rate"]["basis"], "blocks of time");
    // All of it is in one block of half an hour, so nothing is known of the error.
    assert_eq!(
        two["error_rate"]["se"]["undefined"],
        "not enough data: 1 blocks of time, at least 2 needed"
    );
    assert_eq!(
        two["fallback_rate"]["value"]["undefined"],
        "nothing was reported in this window"
    );
    assert_eq!(two["error_rate"]["trend"]["direction"], "unknown");

    // Blocks of a minute: three of them, and the standard error of the ratio.
    let short = town.get(&format!("{PATH}?window=15m"));
    let two = of_version(&short, 2);
    assert_eq!(short["block"], "1m");
    assert!(
        two["error_rate"]["se"].is_number() && two["error_rate"]["ci"].is_array(),
        "{two}"
    );

    // Slashes may be written as they are.
    let plainly = town.get("/api/v1/prompts/support/first%20reply/performance");
    assert_eq!(plainly, answer);
    // Of an environment only what is known to be of it.
    let production = town.get(&format!("{PATH}?environment=production"));
    assert_eq!(of_version(&production, 1)["requests"]["value"], served[0]);
    assert_eq!(
        production["left_out"],
        "outcomes outside experiments, which name no environment"
    );
}

#[test]
fn a_trend_is_told_and_a_steady_figure_is_not() {
    let town = town();
    let noise = |user: u32| (mix(u64::from(user) + 1) % 200) as f64;
    town.minutes(2);
    for step in 0..80_u32 {
        // From the middle on 1.1.0 takes half as long again.
        let slower = if step < 40 { 1.0 } else { 1.5 };
        traffic(&town, step * 12..(step + 1) * 12, |version, user| {
            let latency = 400.0 + noise(user);
            let failed = mix(u64::from(user) + 77).is_multiple_of(10);
            json!({"latency_ms": if version == 2 { slower * latency } else { latency }, "error": failed})
        });
        if step < 79 {
            town.minutes(3);
        }
    }
    let answer = town.get(&format!("{PATH}?window=2h"));
    assert_eq!(
        (&answer["from"], &answer["to"]),
        (&json!("2026-12-01T02:00:00Z"), &json!("2026-12-01T04:00:00Z"))
    );
    assert_eq!(answer["previous_from"], "2026-12-01T00:00:00Z");
    assert_eq!(
        answer["percentile_hours"],
        json!(["2026-12-01T02:00:00Z", "2026-12-01T04:00:00Z"])
    );
    let latency = |version| &of_version(&answer, version)["latency_ms"];
    for figure in ["mean", "p50", "p95"] {
        let trend = &latency(2)[figure]["trend"];
        assert_eq!(trend["direction"], "rising", "{figure} {trend}");
        let relative = trend["relative"].as_f64().unwrap();
        assert!((relative - 0.5).abs() < 0.08, "{figure} {trend}");
        let steady = &latency(1)[figure]["trend"];
        assert_ne!(steady["direction"], "rising", "{figure} {steady}");
        assert_ne!(steady["direction"], "falling", "{figure} {steady}");
    }
    assert_eq!(latency(1)["mean"]["trend"]["direction"], "steady");
    let texts: Vec<&str> = answer["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["text"].as_str().unwrap())
        .collect();
    let [text] = texts
        .iter()
        .filter(|text| text.contains("latency of"))
        .collect::<Vec<_>>()[..]
    else {
        panic!("{texts:?}");
    };
    assert!(text.starts_with("p95 latency of 1.1.0 rose by "), "{text}");
    assert!(
        text.ends_with(" % since the previous 2h: see what else changed since then"),
        "{text}"
    );

    // Five hours later nothing has come for longer than a window.
    town.minutes(300);
    let silent = town.get(&format!("{PATH}?window=2h"));
    assert_eq!(silent["versions"], json!([]));
    let found = &silent["recommendations"][0];
    assert_eq!(
        (&found["severity"], &found["text"]),
        (
            &json!("warning"),
            &json!("no outcomes were reported in this window: gateways may not be sending them")
        )
    );
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let town = town();
    let control = || Client::connect(town.control);
    for path in [
        "/api/v1/prompts/nobody/performance",
        "/api/v1/prompts/a//b/performance",
    ] {
        control().get(path).check_problem(404, "PROMPT_NOT_FOUND");
    }
    control()
        .get("/api/v1/prompts/%ff/performance")
        .check_problem(400, "BAD_ADDRESS");
    // What is no call after a name is a part of one.
    for path in [
        "/api/v1/prompts/quiet/nothing",
        "/api/v1/prompts/quiet%2Fperformance",
    ] {
        control().get(path).check_problem(404, "PROMPT_NOT_FOUND");
    }
    let wrong = control().post(PATH, &json!({}));
    wrong.check_problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.headers["allow"], "GET,HEAD");
    for (query, field) in [
        ("window=5s", "window"),
        ("window=91d", "window"),
        ("window=24", "window"),
        ("environment=nowhere", "environment"),
        ("windows=1h", ""),
    ] {
        let problem = control()
            .get(&format!("{PATH}?{query}"))
            .check_problem(400, "BAD_QUERY");
        assert_eq!(problem["problems"][0]["field"], field, "{problem}");
    }
    let both = control()
        .get(&format!("{PATH}?window=0m&environment=x"))
        .check_problem(400, "BAD_QUERY");
    assert_eq!(both["problems"].as_array().unwrap().len(), 2);
    // The longest window is kept, the one before it is not.
    let longest = town.get(&format!("{PATH}?window=90d"));
    assert_eq!(longest["previous_from"], Json::Null);
    assert!(town.get(&format!("{PATH}?window=45d"))["previous_from"].is_string());
    // A prompt without data and without experiments is no cause for alarm.
    let quiet = town.get("/api/v1/prompts/quiet/performance?window=7d");
    assert_eq!(quiet["versions"], json!([]));
    assert_eq!(quiet["recommendations"][0]["severity"], "info");
    assert_eq!(quiet["recommendations"].as_array().unwrap().len(), 1);
}

// ---- from counts made by hand

const SPAN: Span = Span {
    from: 100_800,
    to: 102_240,
    block: 30,
    kept_from: 0,
};

/// An experiment in its first epoch, what was counted for it, and what its guardrails found.
struct Case {
    world: World,
    arms: [ArmCounts; 2],
    guardrails: Vec<GuardrailStatus>,
}

impl Case {
    fn new() -> Self {
        let mut design = design();
        design["prompt"] = json!("p");
        design["min_units"] = json!(100);
        design["guardrails"] = json!([{"metric": "fallback", "max_ratio": 1.25}]);
        Self {
            world: World::with(&[design]),
            arms: [ArmCounts::default(), ArmCounts::default()],
            guardrails: Vec::new(),
        }
    }

    fn experiment(&self) -> Arc<Experiment> {
        Arc::clone(&self.world.plane.view().catalog.experiments["tone"])
    }

    fn prompt(&self) -> Arc<Prompt> {
        Arc::clone(&self.world.plane.view().catalog.prompts["p"])
    }

    /// So many of `n` units resolved, on control and on the candidate.
    fn resolved(mut self, resolved: [usize; 2], n: usize) -> Self {
        let key = self.experiment().measure("resolved").unwrap().key;
        for (arm, resolved) in self.arms.iter_mut().zip(resolved) {
            let mut cell = Cell::default();
            for unit in 0..n {
                let event = unit * resolved / n != (unit + 1) * resolved / n;
                cell.add(unit as u64, f64::from(u8::from(event)), None);
            }
            arm.cells.push((key, cell));
            arm.accepted += n as u64;
        }
        self
    }

    /// The number of distinct units that were assigned to each arm.
    fn units(mut self, units: [u64; 2]) -> Self {
        let mut next = 0;
        for (arm, units) in self.arms.iter_mut().zip(units) {
            for _ in 0..units {
                next += 1;
                arm.exposures.add(mix(next));
            }
        }
        self
    }

    fn guardrail(mut self, state: Verdict, evidence: f64) -> Self {
        self.guardrails.push(GuardrailStatus {
            metric: MetricName::new("fallback").unwrap(),
            limit: Limit::MaxRatio(1.25),
            above: None,
            state,
            evidence: Figure::Known(evidence),
            control: ControlStatus {
                bad_units: 3,
                rate: Figure::Known(0.01),
            },
            candidate: CandidateStatus {
                variant: VariantName::new("friendly").unwrap(),
                bad_units: 14,
                rate: Figure::Known(0.05),
            },
            name: "fallback".to_owned(),
            on_breach: OnBreach::Alert,
            ratio_ci: None,
        });
        self
    }

    fn rows(&self, rows: &[(u8, Series, u64)]) -> SeriesWindow {
        let epoch = self.experiment().counting_epoch().unwrap().epoch;
        let row = |&(arm, series, n): &(u8, Series, u64)| SeriesRow {
            epoch,
            arm: ArmIndex(arm),
            series,
            points: vec![SeriesPoint {
                minute: SPAN.from,
                n,
                sum: 0.0,
            }],
            sketch: None,
        };
        SeriesWindow {
            rows: rows.iter().map(row).collect(),
            partial_hours: Vec::new(),
        }
    }

    fn answer(&self, rows: &[(u8, Series, u64)]) -> Performance {
        let experiment = self.experiment();
        let epoch = experiment.counting_epoch().unwrap().epoch;
        let counts: Vec<_> = (0..)
            .zip(&self.arms)
            .map(|(arm, counts)| ((epoch, ArmIndex(arm)), Arc::new(counts.clone())))
            .collect();
        let report = report(
            &experiment,
            &counts,
            self.guardrails.clone(),
            Revision(3),
            self.world.clock.now(),
        );
        let (current, none) = (self.rows(rows), SeriesWindow::default());
        performance(&Input {
            prompt: &self.prompt(),
            environment: None,
            window: "24h",
            span: SPAN,
            sources: &[Source {
                experiment: Some(&experiment),
                current: &current,
                whole_hours_before: &none,
                rest_before: &none,
            }],
            reports: &[(&experiment, report)],
            revision: Revision(3),
        })
    }

    /// What follows when outcomes come in as usual.
    fn recommendations(&self) -> Vec<Recommendation> {
        let both = [(0, Series::Outcomes, 500), (1, Series::Outcomes, 500)];
        self.answer(&both).recommendations
    }

    /// The only one that follows.
    #[track_caller]
    fn only(&self) -> Recommendation {
        let found = self.recommendations();
        let [only] = &found[..] else {
            panic!("{found:#?}");
        };
        only.clone()
    }
}

#[test]
fn a_winner_is_to_be_promoted() {
    let case = Case::new().resolved([4_000, 6_000], 10_000);
    let found = case.only();
    assert!(
        found
            .text
            .starts_with("`resolved` is 20.0 points higher with 1.1.0 than with 1.0.0 ["),
        "{}",
        found.text
    );
    assert!(found.text.ends_with("] in tone: promote it"), "{}", found.text);
    assert_eq!(found.severity, Severity::Info);
    assert!(
        found
            .because
            .starts_with("p < 0.0001, valid at any look and corrected; 10,000 values"),
        "{}",
        found.because
    );
    assert_eq!(
        (found.experiment.unwrap().as_str(), found.version.unwrap().0),
        ("tone", 2)
    );
    // Not without a second look where a guardrail objects.
    let case = case.guardrail(Verdict::Breach, 1.0);
    let found = case.recommendations();
    assert_eq!(found[0].severity, Severity::Critical);
    assert_eq!(
        found[0].text,
        "1.1.0 breaches the guardrail `fallback` of tone: take it back"
    );
    assert_eq!(
        found[0].because,
        "5.0 % and 14 units bad for 1.1.0, 1.0 % and 3 units for 1.0.0; harm starts at 1.25 times the rate of 1.0.0"
    );
    assert!(
        found[1]
            .text
            .ends_with("weigh that against the breached guardrail `fallback`"),
        "{}",
        found[1].text
    );
}

#[test]
fn a_loser_is_not_to_be_kept() {
    let found = Case::new().resolved([6_000, 4_000], 10_000).only();
    assert!(
        found
            .text
            .starts_with("`resolved` is 20.0 points lower with 1.1.0 than with 1.0.0 ["),
        "{}",
        found.text
    );
    assert!(
        found
            .text
            .ends_with("] in tone: keep 1.0.0 and end the experiment"),
        "{}",
        found.text
    );
    assert_eq!(found.severity, Severity::Warning);
    let watched = Case::new()
        .resolved([500, 500], 1_000)
        .guardrail(Verdict::Inconclusive, 0.62)
        .recommendations();
    assert_eq!(
        watched[0].text,
        "1.1.0 is 62 % of the way to a breach of the guardrail `fallback` of tone: watch it"
    );
}

#[test]
fn nothing_is_believed_of_a_wrong_split() {
    let case = Case::new().resolved([4_000, 6_000], 10_000).units([500, 900]);
    let found = case.only();
    assert_eq!(found.severity, Severity::Critical);
    assert_eq!(
        found.text,
        "units of tone are not split as designed: believe no comparison in it until the cause is found"
    );
    assert!(
        found.because.starts_with(
            "`control` has 500 units of 700 expected, `friendly` has 900 units of 700 expected; p < 0.0001"
        ),
        "{}",
        found.because
    );
}

#[test]
fn a_frozen_canary_says_so_first() {
    let case = Case::new().resolved([4_000, 6_000], 10_000);
    let arm = |name: &str, rate, observations| BadCounts {
        variant: VariantName::new(name).unwrap(),
        bad_units: 8,
        observations,
        rate: Some(rate),
    };
    let breach = Breach {
        guardrail: "fallback".to_owned(),
        limit: Limit::MaxRatio(1.25),
        action: OnBreach::Freeze,
        control: arm("control", 0.02, 5_000),
        candidate: arm("friendly", 0.12, 300),
        share: 0.5,
        log_e: 6.0,
        log_threshold: 5.3,
        alpha: 0.01,
        epoch: Epoch(1),
        evidence_since: now(),
        crossed_at: now(),
        replica: "r".to_owned(),
    };
    let freeze = Command::FreezeExperiment {
        id: id("tone"),
        cause: FreezeCause::Guardrail(Box::new(breach)),
    };
    case.world.submit(freeze).unwrap();
    let found = case.only();
    assert_eq!(found.severity, Severity::Critical);
    assert_eq!(
        found.text,
        "tone is frozen: 1.1.0 breached the guardrail `fallback`, and everyone who was split gets 1.0.0; mend it and resume, or stop the experiment"
    );
    assert_eq!(
        found.because,
        "12 % of 300 outcomes of 1.1.0 bad, 2.0 % of 5,000 outcomes of 1.0.0 bad"
    );
    // What still comes in of the epoch before is counted for the version that it was.
    let answer = case.answer(&[(1, Series::Outcomes, 500)]);
    assert_eq!(answer.versions[0].version.0, 2);
    assert_eq!(
        (
            answer.versions[0].requests.value,
            answer.versions[0].outcomes.value
        ),
        (500, 500)
    );
}

#[test]
fn too_little_and_too_early_are_told_apart() {
    let few = Case::new().resolved([6, 6], 12).units([500, 500]).only();
    assert_eq!(
        few.text,
        "too few outcomes to compare 1.1.0 with 1.0.0 in tone: 12 of at least 100 units"
    );
    // Outcomes come in, but not the metric that decides.
    let mut other = Case::new();
    other.arms[0].accepted = 40;
    let found = other.only();
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(
        found.text,
        "no outcome of tone reports `resolved`, by which it is decided: gateways may not be sending it"
    );
    let early = Case::new().resolved([500, 510], 1_000);
    early.world.clock.advance(Duration::from_secs(86_400));
    let found = early.only();
    assert_eq!(
        found.text,
        "tone cannot tell 1.1.0 from 1.0.0 yet: in 12 days more at this traffic it would find a difference of 5 % in `resolved` with a chance of 80 %"
    );
    assert!(
        found
            .because
            .ends_with("1,000 values of `friendly` against 1,000 values of `control`"),
        "{}",
        found.because
    );
}

#[test]
fn silence_is_told_by_version_and_as_a_whole() {
    let case = Case::new();
    let whole = case.answer(&[(0, Series::Requests, 300), (1, Series::Requests, 280)]);
    assert_eq!(whole.versions[0].requests.value, 300);
    let found = &whole.recommendations[0];
    assert_eq!(
        found.text,
        "no outcomes were reported in this window: gateways may not be sending them"
    );
    assert_eq!(
        found.because,
        "580 requests and no outcome in the last 24h; 0 outcomes in the 24h before"
    );
    assert_eq!(found.severity, Severity::Warning);
    let one = case.answer(&[
        (0, Series::Requests, 300),
        (0, Series::Outcomes, 290),
        (1, Series::Requests, 280),
    ]);
    assert_eq!(
        one.recommendations[0].text,
        "no outcomes were reported for 1.1.0, though it was served: its gateways may not be sending them"
    );
    assert_eq!(one.recommendations[0].version.unwrap().0, 2);
    assert_eq!(
        one.versions[0].requests.value, 300,
        "outcomes are no further requests"
    );
    // Outcomes without decisions of this server stand for requests.
    let alone = case.answer(&[(0, Series::Outcomes, 290)]);
    assert_eq!(alone.versions.len(), 1);
    assert_eq!(alone.versions[0].requests.value, 290);
    assert_eq!(alone.versions[0].requests.trend.direction, Direction::Unknown);
    assert_eq!(case.answer(&[]).versions, []);
}

// ---- on the command line

#[test]
fn the_command_shows_tables_and_sentences() {
    let house = process::House::with("tone", process::TONE);
    let server = house.start();
    let decision = server.decide("u-1");
    let outcome = json!([{"receipt": decision["receipt"], "metrics": {"error": true, "latency_ms": 812, "resolved": false}}]);
    assert_eq!(server.data().outcomes(&outcome)["accepted"], 1);
    let run = |more: &[&str]| {
        let url = format!("http://{}", server.control);
        let arguments = [
            &["prompt", "performance", "greeting", "--url", url.as_str()],
            more,
        ]
        .concat();
        let output = house.command(&arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, errors) = run(&["--window", "15m"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let number = decision["version"].as_u64().unwrap();
    for part in [
        "greeting: the last 15m to ",
        &format!("(version {number})"),
        "; served in tone\n",
        "  error rate ",
        "100.0 %  – (not enough data: 1 blocks of time",
        "recommendations\n  info: too few outcomes to compare 1.1.0 with 1.0.0 in tone: ",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    let (code, out, _) = run(&["--json"]);
    let answer: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["window"]), (Some(0), &json!("24h")));
    assert_eq!(of_version(&answer, number)["outcomes"]["value"], 1);
    let (code, _, errors) = run(&["--window", "3s"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("window: must be from 1m to 90d in whole minutes"),
        "{errors}"
    );
}
