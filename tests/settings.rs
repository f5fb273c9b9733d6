//! The settings file: its defaults, its bounds, and every mistake in one go.

use serin::{
    domain::{continuous_aa::ContinuousAa, id::PromptName},
    settings::Settings,
};
use std::{path::Path, time::Duration};

/// Expects exactly these mistakes, each given by its beginning, in order of lines.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let told = match Settings::parse(text, Path::new("s.toml")) {
        Ok(_) => String::new(),
        Err(mistakes) => mistakes.to_string(),
    };
    let lines: Vec<&str> = told.lines().collect();
    let all = lines.len() == expected.len() && lines.iter().zip(expected).all(|(l, e)| l.starts_with(e));
    assert!(all, "expected {expected:#?}, told\n{told}");
}

#[test]
fn the_sample_file_is_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/serin.toml");
    let sample = Settings::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(sample, Settings::parse("", Path::new("defaults")).unwrap());
    assert_eq!(sample.environment.as_str(), "production");
    assert_eq!(sample.data_plane.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(sample.data_plane.max_body_bytes, 1_048_576);
    assert_eq!(sample.data_plane.max_connections, 10_000);
    assert_eq!(sample.data_plane.header_timeout, Duration::from_secs(5));
    assert_eq!(sample.data_plane.request_timeout, Duration::from_secs(10));
    assert_eq!(sample.data_plane.idle_timeout, Duration::from_secs(60));
    assert_eq!(sample.control_plane.listen.to_string(), "127.0.0.1:8788");
    assert_eq!(sample.store.path, Path::new("data/serin.db"));
    assert_eq!(sample.definitions.prompts, Path::new("config/prompts"));
    assert_eq!(sample.definitions.experiments, Path::new("config/experiments"));
    assert!(sample.watch && sample.holdout.is_none());
    assert_eq!(sample.continuous_aa, ContinuousAa::All);
    assert_eq!(sample.outcomes.receipt_lifetime, Duration::from_secs(7 * 86_400));
    assert_eq!(sample.outcomes.checkpoint_every, Duration::from_secs(10));
    assert_eq!(sample.outcomes.timeseries_days, 90);
}

#[test]
fn what_is_written_counts() {
    let settings = Settings::parse(
        "environment = 'staging'\n[data_plane]\nlisten = '0.0.0.0:0'\nidle_timeout = '10ms'\nmax_connections = 1\n\
         [control_plane]\nlisten = '[::1]:0'\n[store]\npath = '/var/lib/s.db'\n[experiments]\ndir = 'e'\nwatch = false\n\
         [outcomes]\nreceipt_lifetime = '1d'\ntimeseries_days = 3650\n[holdout]\nname = 'h'\nshare = 0.05\n",
        Path::new("s.toml"),
    )
    .unwrap();
    assert_eq!(settings.environment.as_str(), "staging");
    assert!(settings.data_plane.listen.ip().is_unspecified());
    assert_eq!(settings.data_plane.idle_timeout, Duration::from_millis(10));
    assert_eq!(settings.definitions.experiments, Path::new("e"));
    assert!(!settings.watch);
    assert_eq!(settings.outcomes.receipt_lifetime, Duration::from_secs(86_400));
    assert_eq!(settings.outcomes.timeseries_days, 3_650);
    assert_eq!(settings.holdout.unwrap().share, 0.05);
}

#[test]
fn a_continuous_aa_test_is_for_all_prompts_none_or_some() {
    let covers = |written: &str, prompt: &str| {
        let text = format!("[prompts]\ncontinuous_aa = {written}\n");
        let settings = Settings::parse(&text, Path::new("s.toml")).unwrap_or_else(|told| panic!("{told}"));
        settings.continuous_aa.covers(&PromptName::new(prompt).unwrap())
    };
    assert!(covers("'all'", "a"));
    assert!(covers("['a', 'team/b c']", "team/b c"));
    assert!(!covers("['a']", "b") && !covers("'none'", "none") && !covers("[]", "a"));
    for written in ["'some'", "true", "{}"] {
        check(
            &format!("[prompts]\ncontinuous_aa = {written}\n"),
            &["s.toml:2: prompts.continuous_aa: expected \"all\", \"none\" or a list of prompts such as"],
        );
    }
    check(
        "[prompts]\ncontinuous_aa = ['a', '', 3]\n",
        &[
            "s.toml:2: prompts.continuous_aa[1]: prompt `` is not a valid name",
            "s.toml:2: prompts.continuous_aa[2]: expected text, found",
        ],
    );
}

#[test]
fn every_mistake_is_told_in_one_go() {
    check(
        "enviroment = 'x'\nenvironment = 'latest'\n[data_plane]\nlisten = 'localhost'\nmax_body_bytes = 1000\n\
         max_connections = 0\nheader_timeout = '1ms'\nrequest_timeout = '2h'\nidle_timeout = 60\n[prompts]\ndir = ''\n\
         [experiments]\nwatch = 'yes'\n[outcomes]\ncheckpoint_every = '1s 1'\ntimeseries_days = 0\n[holdout]\nshare = 1\n[colours]\n",
        &[
            "s.toml:1: enviroment: unknown key, did you mean `environment`?",
            "s.toml:2: environment: environment `latest` is not a valid name: 1 to 36 of",
            "s.toml:4: data_plane.listen: expected an IP address and a port such as",
            "s.toml:5: data_plane.max_body_bytes: expected a whole number from 1024 to 67108864, found 1000",
            "s.toml:6: data_plane.max_connections: expected a whole number from 1 to 1000000, found 0",
            "s.toml:7: data_plane.header_timeout: must be from 10ms to 1h, found 1ms",
            "s.toml:8: data_plane.request_timeout: must be from 10ms to 1h, found 2h",
            "s.toml:9: data_plane.idle_timeout: expected a duration in quotes, such as \"250ms\"",
            "s.toml:11: prompts.dir: expected a path, found text \"\"",
            "s.toml:13: experiments.watch: expected true or false, found text \"yes\"",
            "s.toml:15: outcomes.checkpoint_every: `1s 1` is not a duration",
            "s.toml:16: outcomes.timeseries_days: expected a whole number from 1 to 3650, found 0",
            "s.toml:17: holdout.name: is required: the holdout's name",
            "s.toml:18: holdout.share: expected a number from 0 to less than 1, found 1",
            "s.toml:19: colours: unknown key, allowed here: environment, data_plane, auth, control_plane, store,",
        ],
    );
    check("a = [\n", &["s.toml:1: not valid TOML: "]);
}

#[test]
fn without_tokens_the_control_plane_stays_on_this_machine() {
    for listen in ["0.0.0.0:8788", "192.168.1.2:8788", "[::]:8788"] {
        check(
            &format!("[control_plane]\nlisten = '{listen}'\n"),
            &["s.toml:2: control_plane.listen: must be a loopback address such as 127.0.0.1:8788, found "],
        );
    }
    for listen in ["127.0.0.2:1", "[::1]:8788", "[::ffff:127.0.0.1]:8788"] {
        check(&format!("[control_plane]\nlisten = '{listen}'\n"), &[]);
    }
    check(
        "[control_plane]\nlisten = '127.0.0.1:8787'\n",
        &["s.toml:2: control_plane.listen: 127.0.0.1:8787 is `data_plane.listen` already"],
    );
}

#[test]
fn receivers_are_read_with_their_defaults() {
    let read =
        |text: &str| Settings::parse(text, Path::new("s.toml")).unwrap_or_else(|told| panic!("{told}"));
    let told = read("").notifications;
    assert!(told.webhooks.is_empty() && told.alertmanagers.is_empty());
    let seconds = Duration::from_secs;
    assert_eq!(
        (told.retry_min, told.retry_max, told.repeat),
        (seconds(1), seconds(300), seconds(60))
    );
    let told = read(
        "[notifications]\nretry_min = '10ms'\nretry_max = '10ms'\nrepeat = '100ms'\n[[notifications.webhooks]]\n\
         name = 'on-call'\nurl = 'https://example.org/T0/x?y'\nsecret = 'sixteen bytes !!'\n\
         [[notifications.webhooks]]\nname = 'chat'\nurl = 'http://[::1]:1/'\nsecret_file = ['a', 'b']\n\
         events = ['frozen', 'deployed']\ntimeout = '1m'\n[[notifications.alertmanager]]\nname = 'am'\n\
         url = 'http://am:9093'\n",
    )
    .notifications;
    let [on_call, chat] = told.webhooks.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((on_call.name.as_str(), on_call.timeout), ("on-call", seconds(5)));
    let all = [
        "scheduled",
        "started",
        "advanced",
        "held",
        "cleared",
        "frozen",
        "resumed",
        "stopped",
        "promoted",
        "alerted",
    ];
    assert_eq!(on_call.events, all);
    assert_eq!(
        (chat.events.as_slice(), chat.timeout),
        (&["frozen", "deployed"][..], seconds(60))
    );
    assert_eq!(told.alertmanagers[0].timeout, seconds(5));
    let shown = format!("{told:?}");
    assert!(
        !shown.contains("sixteen") && !shown.contains("T0"),
        "a secret is shown: {shown}"
    );
}

#[test]
fn every_mistake_of_receivers_is_told() {
    check(
        "[notifications]\nretry_min = '2s'\nretry_max = '1s'\nrepeat = '6m'\n[[notifications.webhooks]]\nurl = 'example.org'\n\
         secret = 'short'\nevents = ['froze']\ntimeout = '2m'\n[[notifications.webhooks]]\nname = 'a b'\n\
         url = 'ftp://h/'\nsecret = ['sixteen bytes !!', 'short']\nsecret_file = 'x'\nevents = []\n\
         [[notifications.webhooks]]\nname = 'a'\nurl = 'http://u:p@h/'\nsecret = ['sixteen bytes !!', 'short']\n\
         [[notifications.webhooks]]\nname = 'b'\nurl = 'http://h/'\nsecret = []\n[[notifications.webhooks]]\n\
         name = 'b'\nurl = 'http://h/'\n[[notifications.alertmanager]]\nname = 'a'\nurl = 'http://h/?a=b'\nsecret = 'x'\n",
        &[
            "s.toml:3: notifications.retry_max: must be at least `retry_min`, which is 2s",
            "s.toml:4: notifications.repeat: must be from 100ms to 5m, found 6m",
            "s.toml:5: notifications.webhooks[0].name: is required: what metrics and log lines call it",
            "s.toml:6: notifications.webhooks[0].url: must begin with http:// or https://",
            "s.toml:7: notifications.webhooks[0].secret: must have 16 to 256 bytes, found 5",
            "s.toml:8: notifications.webhooks[0].events[0]: expected one of \"scheduled\", \"started\",",
            "s.toml:9: notifications.webhooks[0].timeout: must be from 100ms to 1m, found 2m",
            "s.toml:11: notifications.webhooks[1].name: expected 1 to 64 letters, digits, dots, hyphens and",
            "s.toml:12: notifications.webhooks[1].url: must begin with http:// or https://",
            "s.toml:14: notifications.webhooks[1].secret_file: either `secret` or `secret_file`, not both",
            "s.toml:15: notifications.webhooks[1].events: expected at least one transition; leave it out for all",
            "s.toml:18: notifications.webhooks[2].url: must have no name or password in it",
            "s.toml:19: notifications.webhooks[2].secret[1]: must have 16 to 256 bytes, found 5",
            "s.toml:23: notifications.webhooks[3].secret: must have 1 to 2 entries, found 0",
            "s.toml:24: notifications.webhooks[4].secret: is required: at least 16 bytes that its messages are",
            "s.toml:25: notifications.webhooks[4].name: `b` is the name of another receiver already",
            "s.toml:28: notifications.alertmanager[0].name: `a` is the name of another receiver already",
            "s.toml:29: notifications.alertmanager[0].url: must have no `?` in it",
            "s.toml:30: notifications.alertmanager[0].secret: unknown key, allowed here: name, url, timeout",
        ],
    );
}

#[test]
fn what_this_release_cannot_do_is_said() {
    check(
        "[store]\nredis = 'redis://127.0.0.1:6379'\n",
        &["s.toml:2: store.redis: a shared store is not supported by this release"],
    );
}

#[test]
fn tokens_are_kept_as_hashes_only() {
    let hash = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let (one, two) = (hash("1"), hash("2"));
    check(
        &format!(
            "[control_plane]\nlisten = '0.0.0.0:8788'\n[auth]\ntokens = [\n\
             {{ name = 'ci', role = 'experimenter', hash = '{one}' }},\n\
             {{ name = 'ops', role = 'operator', hash = '{two}', expires = 2027-01-01T00:00:00Z }},\n]\n"
        ),
        &[],
    );
    check("[auth]\ntokens = []\nopen_metrics = false\n", &[]);
    check(
        &format!(
            "[auth]\ntokens = [\n\
             {{ name = 'a b', role = 'boss', hash = 'serin_secret' }},\n\
             {{ name = 'ci' }},\n\
             {{ name = 'x', role = 'viewer', hash = '{one}' }},\n\
             {{ name = 'x', role = 'viewer', hash = '{two}' }},\n\
             {{ name = 'y', role = 'viewer', hash = '{one}', expires = 'soon', token = 'z' }},\n]\n\
             open_metrics = 1\n"
        ),
        &[
            "s.toml:3: auth.tokens[0].name: ",
            "s.toml:3: auth.tokens[0].role: ",
            "s.toml:3: auth.tokens[0].hash: must be the hash of a token and not a token; this one is written down now",
            "s.toml:4: auth.tokens[1].role: is required: viewer, experimenter, operator or admin",
            "s.toml:4: auth.tokens[1].hash: is required: what `serin token` prints, never the token itself",
            "s.toml:6: auth.tokens[3]: there is a token `x` already",
            "s.toml:7: auth.tokens[4].expires: ",
            "s.toml:7: auth.tokens[4].token: unknown key, allowed here: name, role, hash, expires",
            "s.toml:9: auth.open_metrics: ",
        ],
    );
}

#[test]
fn a_missing_file_is_named() {
    let mistakes = Settings::load(Path::new("no/such.toml")).unwrap_err();
    assert!(
        mistakes.to_string().starts_with("no/such.toml: cannot be read: "),
        "{mistakes}"
    );
}

#[test]
fn environments_ask_for_evidence() {
    let text = "[environments.production]\nmin_score = 0.9\nsegment_floors = { de = 0.85 }\nmax_cost_increase = 0.1\n\
                max_latency_increase = 2\nreviews = ['technical', 'product']\n[environments.qa]\n";
    let gates = Settings::parse(text, Path::new("s.toml")).unwrap().gates;
    assert_eq!(gates.len(), 2);
    assert!(gates["qa"].is_open());
    let gate = &gates["production"];
    assert_eq!(
        (gate.min_score, gate.max_cost_increase, gate.max_latency_increase),
        (Some(0.9), Some(0.1), Some(2.0))
    );
    assert_eq!(gate.segment_floors["de"], 0.85);
    assert_eq!(gate.reviews.len(), 2);
    check(
        "[environments.production]\nmin_score = 90\nsegment_floors = { de = -1 }\nreviews = ['legal']\nmax_cost_increase = 'x'\n\
         min_scores = 1\n[environments.latest]\n",
        &[
            "s.toml:2: environments.production.min_score: expected a score from 0 to 1",
            "s.toml:3: environments.production.segment_floors.de: expected a score from 0 to 1",
            "s.toml:4: environments.production.reviews[0]: expected one of \"product\", \"technical\"",
            "s.toml:5: environments.production.max_cost_increase: expected a number",
            "s.toml:6: environments.production.min_scores: unknown key, did you mean `min_score`?",
            "s.toml:7: environments.latest: environment `latest` is not a valid name",
        ],
    );
}
