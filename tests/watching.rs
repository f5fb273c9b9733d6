//! Definition files that change while the server runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Server, TONE, guarded, until, within, write};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::time::Instant;

/// What "live within a second" may take; more only where the machine is shared.
const LIVE: Duration = Duration::from_secs(1);

/// `TONE` with another share for control, by which a version of the file is told.
fn weighted(control: u32) -> String {
    TONE.replacen("weight = 50", &format!("weight = {control}"), 1)
}

fn control_weight(server: &Server) -> Value {
    server.experiment("tone")["variants"][0]["weight"].clone()
}

/// Waits until a version of the file is in force and says how long it took.
fn live(server: &Server, control: u32) -> Duration {
    let began = Instant::now();
    until(&format!("weight {control}"), || {
        (control_weight(server) == f64::from(control)).then_some(())
    });
    began.elapsed()
}

fn reloads(server: &Server, result: &str) -> f64 {
    server
        .metric(&format!("serin_config_reloads_total{{result=\"{result}\"}}"))
        .unwrap()
}

/// Waits for one more rejected set; nothing has changed then.
fn rejected(server: &Server, before: f64, words: &[&str]) {
    let revision = server.metric("serin_routing_table_revision");
    until("a rejected set", || {
        (reloads(server, "rejected") > before).then_some(())
    });
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(0.0));
    server.logged(words);
    server.logged(&["nothing was changed, the last good set stays"]);
    assert_eq!(server.metric("serin_routing_table_revision"), revision);
}

#[test]
fn every_way_to_write_a_file_is_live_within_a_second() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let path = house.experiment_path("tone");
    // Meanwhile decisions go on, those of other experiments on the arm they had.
    house.experiment("calm", &TONE.replace("\"greeting\"", "\"farewell\""));
    for version in ["1.0.0", "1.1.0"] {
        house.prompt("farewell", version, "");
    }
    until("the other experiment", || {
        let found = server.control().get("/api/v1/experiments/calm");
        (found.status == 200).then_some(())
    });
    let (address, done) = (server.data, Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    let asking = thread::spawn(move || {
        let mut client = process::Client::connect(address);
        let asked = json!({"prompts": ["greeting", "farewell"], "context": {"user": "u-7"}});
        let mut farewell = None;
        let mut count = 0;
        while !ended.load(Ordering::SeqCst) {
            let answer = client.ok("/v1/decide", &asked);
            assert!(answer["decisions"][0]["variant"].is_string(), "{answer}");
            let variant = answer["decisions"][1]["variant"].clone();
            assert_eq!(&variant, farewell.get_or_insert_with(|| variant.clone()));
            count += 1;
        }
        count
    });
    let rejected_before = reloads(&server, "rejected");
    let mut slowest = Duration::ZERO;
    let mut check = |control: u32, write: &dyn Fn(&str)| {
        write(&weighted(control));
        slowest = slowest.max(live(&server, control));
    };
    for round in 0..3 {
        // In place.
        check(20 + round, &|text| fs::write(&path, text).unwrap());
        // An editor that writes beside it and renames over.
        check(30 + round, &|text| {
            let beside = path.with_extension("toml.swp");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &path).unwrap();
        });
        // Another one that moves the old one away, and a backup that stays.
        check(40 + round, &|text| {
            fs::rename(&path, path.with_extension("toml~")).unwrap();
            fs::write(&path, text).unwrap();
        });
        // Deleted and made again.
        check(60 + round, &|text| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, text).unwrap();
        });
    }
    println!("slowest edit: {slowest:?}");
    assert!(slowest < LIVE, "{slowest:?}");
    done.store(true, Ordering::SeqCst);
    println!("{} pairs of decisions meanwhile", asking.join().unwrap());
    // None of this was a deletion, and nobody was moved by anything but the weights.
    assert_eq!(server.events("experiment_stopped").len(), 0);
    assert_eq!(reloads(&server, "rejected"), rejected_before);
    assert_eq!(server.state("tone"), "running");
    server.check_healthy();
}

#[test]
fn a_half_written_or_invalid_file_changes_nothing_and_says_so() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let path = house.experiment_path("tone");
    let decisions = || {
        let mut client = server.data();
        let arms = (0..40).map(|user| client.decide(&format!("u-{user}"))["variant"].clone());
        arms.collect::<Vec<_>>()
    };
    let before = decisions();
    let whole = weighted(70);
    // Cut in the middle of a word, after a whole table, and to nothing.
    for cut in [
        whole.find("1.1.0").unwrap() + 2,
        whole.find("[[metrics]]").unwrap() - 12,
        0,
    ] {
        let count = reloads(&server, "rejected");
        fs::write(&path, &whole[..cut]).unwrap();
        rejected(&server, count, &["tone.toml"]);
        assert_eq!(decisions(), before, "cut at {cut}");
    }
    // A writer that is slow but not that slow is never seen half.
    let count = reloads(&server, "rejected");
    let mut file = File::create(&path).unwrap();
    for piece in whole.as_bytes().chunks(40) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    drop(file);
    live(&server, 70);
    assert_eq!(reloads(&server, "rejected"), count, "{:?}", server.log());
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(1.0));

    // One bad file among good ones holds back the whole set.
    let before = decisions();
    house.experiment(
        "other",
        &TONE
            .replace("user", "session")
            .replace("weight = 50", "weight = 0"),
    );
    house.experiment("tone", &weighted(10));
    rejected(&server, count, &["other.toml:8: variants[0].weight: "]);
    assert_eq!(decisions(), before);
    assert_eq!(control_weight(&server), 70.0);
    // The good edit of the bad one brings in both.
    house.experiment(
        "other",
        &TONE.replace("user", "session").replace("running", "draft"),
    );
    live(&server, 10);
    assert_eq!(server.state("other"), "draft");
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(1.0));
    server.check_healthy();
}

#[test]
fn a_deleted_file_stops_its_experiment_and_a_new_one_starts_it_again() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut client = server.data();
    let first = client.decide("u-1");
    assert_eq!(first["reason"], "SPLIT");
    let outcome = json!({"receipt": first["receipt"], "metrics": {"resolved": true}});
    assert_eq!(client.outcomes(&outcome)["accepted"], 1);
    let late = client.decide("u-1");
    fs::remove_file(house.experiment_path("tone")).unwrap();
    within(LIVE, "the stop", || {
        (server.state("tone") == "stopped").then_some(())
    });
    for user in 0..30 {
        let decision = client.decide(&format!("u-{user}"));
        assert_eq!(
            (
                &decision["variant"],
                &decision["semver"],
                &decision["reason"],
                &decision["experiment"]
            ),
            (
                &json!("deployed"),
                &json!("1.0.0"),
                &json!("STATIC"),
                &Value::Null
            )
        );
    }
    // Its history stays, and outcomes of a stopped experiment are refused by name.
    let stopped = server.events("experiment_stopped");
    assert_eq!(
        (stopped.len(), &stopped[0]["reason"]),
        (1, &json!("the file was deleted"))
    );
    assert_eq!(
        server.results("tone")["outcomes"][first["variant"].as_str().unwrap()]["accepted"],
        1
    );
    let refused = client.outcomes(&json!({"receipt": late["receipt"], "metrics": {"resolved": true}}));
    assert_eq!(refused["rejected"][0]["code"], "EXPERIMENT_NOT_LIVE");
    // The same after a restart, without another entry in the log.
    let entries = server.audit().len();
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    assert_eq!(
        (server.state("tone").as_str(), server.audit().len()),
        ("stopped", entries)
    );
    // Back again: the same units on the same arms, the counts go on, and the late one is taken.
    house.experiment("tone", TONE);
    within(LIVE, "the start", || {
        (server.state("tone") == "running").then_some(())
    });
    let mut client = server.data();
    assert_eq!(client.decide("u-1")["variant"], first["variant"]);
    let taken = client.outcomes(&json!({"receipt": late["receipt"], "metrics": {"resolved": true}}));
    assert_eq!(taken["accepted"], 1, "{taken}");
    assert_eq!(
        server.results("tone")["outcomes"][first["variant"].as_str().unwrap()]["accepted"],
        2
    );
}

#[test]
fn a_frozen_experiment_whose_file_goes_and_comes_back_is_not_running() {
    let house = House::with("tone", &guarded("metric = \"fallback\"\nmax_ratio = 1.25"));
    let server = house.start();
    let freeze = json!({"reason": "odd"});
    server.control().ok("/api/v1/experiments/tone/freeze", &freeze);
    fs::remove_file(house.experiment_path("tone")).unwrap();
    within(LIVE, "the stop", || {
        (server.state("tone") == "stopped").then_some(())
    });
    house.experiment("tone", &weighted(60));
    live(&server, 60);
    assert_ne!(server.state("tone"), "running");
    assert_eq!(server.decide("u-1")["semver"], "1.0.0");
    server
        .control()
        .ok("/api/v1/experiments/tone/resume", &json!({"reason": "mended"}));
    assert_eq!(server.decide("u-1")["reason"], "SPLIT");
}

#[test]
fn a_config_map_is_swapped_as_one() {
    let house = House::new();
    // As Kubernetes lays it out: the files link into `..data`, which links to a folder with a time in its name.
    let dir = house.path("experiments");
    let publish = |time: &str, files: &[(&str, String)]| {
        let real = dir.join(format!("..{time}"));
        fs::create_dir(&real).unwrap();
        for (name, text) in files {
            write(&real.join(name), text);
        }
        symlink(format!("..{time}"), dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    let other = |status: &str| TONE.replace("user", "session").replace("running", status);
    publish(
        "2026_01",
        &[("tone.toml", weighted(50)), ("other.toml", other("draft"))],
    );
    for name in ["tone.toml", "other.toml"] {
        symlink(format!("..data/{name}"), dir.join(name)).unwrap();
    }
    let server = house.start();
    assert_eq!(
        (server.state("tone").as_str(), server.state("other").as_str()),
        ("running", "draft")
    );
    for (time, control) in [("2026_02", 20), ("2026_03", 80)] {
        publish(
            time,
            &[("tone.toml", weighted(control)), ("other.toml", other("draft"))],
        );
        let took = live(&server, control);
        println!("swapped in {took:?}");
        assert!(took < LIVE, "{took:?}");
    }
    // The old folder goes after the swap, as the kubelet does it.
    fs::remove_dir_all(dir.join("..2026_01")).unwrap();
    fs::remove_dir_all(dir.join("..2026_02")).unwrap();
    publish(
        "2026_04",
        &[("tone.toml", weighted(33)), ("other.toml", other("running"))],
    );
    live(&server, 33);
    assert_eq!(server.state("other"), "running");
    // A link that leads nowhere is a mistake and no deletion.
    let count = reloads(&server, "rejected");
    publish("2026_05", &[("tone.toml", weighted(44))]);
    rejected(&server, count, &["other.toml"]);
    assert_eq!(server.state("other"), "running");
    fs::remove_file(dir.join("other.toml")).unwrap();
    live(&server, 44);
    assert_eq!(server.state("other"), "stopped");
}

#[test]
fn prompts_register_and_deploy_live() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let static_decision = || {
        let asked = json!({"prompt": "greeting", "context": {}, "content": true});
        server.data().ok("/v1/decide", &asked)
    };
    // A changed file of a registered version.
    let count = reloads(&server, "rejected");
    let good = fs::read_to_string(house.prompt_path("greeting", "1.1.0")).unwrap();
    write(
        &house.prompt_path("greeting", "1.1.0"),
        good.replace("hello", "goodbye"),
    );
    rejected(
        &server,
        count,
        &["greeting/1.1.0.toml:", "versions are immutable"],
    );
    write(&house.prompt_path("greeting", "1.1.0"), &good);
    until("the good set", || {
        (server.metric("serin_config_last_reload_successful") == Some(1.0)).then_some(())
    });

    // A new version is registered and serves nobody; a label deploys it, whether it came with it or later.
    house.prompt("greeting", "1.2.0", "");
    within(LIVE, "the version", || {
        (server.events("prompt_registered").len() == 3).then_some(())
    });
    assert_eq!(static_decision()["semver"], "1.0.0");
    house.prompt("greeting", "1.2.0", "labels = [\"production\"]");
    within(LIVE, "the deployment", || {
        (static_decision()["semver"] == "1.2.0").then_some(())
    });
    assert_eq!(static_decision()["content"]["prompt"], "Say hello, 1.2.0.");
    house.prompt("greeting", "1.3.0", "labels = [\"production\", \"canary\"]");
    within(LIVE, "the deployment", || {
        (static_decision()["semver"] == "1.3.0").then_some(())
    });
    let canary = json!({"prompt": "greeting", "environment": "canary"});
    assert_eq!(server.data().ok("/v1/decide", &canary)["semver"], "1.3.0");
    // A new prompt altogether.
    house.prompt("greetings/formal", "0.1.0", "");
    let formal = json!({"prompt": "greetings/formal", "environment": "staging"});
    within(LIVE, "the prompt", || {
        (server.data().post("/v1/decide", &formal).status == 200).then_some(())
    });

    // A label is a wish that is followed once: what was deployed since stays, whatever else is edited.
    let wishes = || {
        server
            .events("prompt_deployed")
            .iter()
            .filter(|entry| entry["event"]["wish"] == true)
            .count()
    };
    assert_eq!(wishes(), 3);
    let promote = json!({"reason": "it won"});
    server.control().ok("/api/v1/experiments/tone/promote", &promote);
    assert_eq!(static_decision()["semver"], "1.1.0");
    let applied = reloads(&server, "applied");
    house.prompt("greetings/formal", "0.2.0", "");
    until("the edit", || {
        (reloads(&server, "applied") > applied).then_some(())
    });
    assert_eq!(
        (static_decision()["semver"].as_str(), wishes()),
        (Some("1.1.0"), 3)
    );
    let entries = server.audit().len();
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    assert_eq!(server.decide("u-1")["semver"], "1.1.0");
    assert_eq!(
        server.audit().len(),
        entries,
        "a start with the same files changes nothing"
    );
}

#[test]
fn a_version_that_an_experiment_needs_may_not_be_missing() {
    let house = House::with("tone", TONE);
    let server = house.start();
    // The file of a registered version may go: the log has it.
    fs::remove_file(house.prompt_path("greeting", "1.1.0")).unwrap();
    let count = reloads(&server, "rejected");
    house.experiment("tone", &TONE.replace("1.1.0", "4.0.0"));
    rejected(
        &server,
        count,
        &["tone.toml:11: variants[1].version: prompt `greeting` has no version 4.0.0"],
    );
    assert_eq!(
        (
            server.state("tone").as_str(),
            server.decide("u-1")["reason"].as_str()
        ),
        ("running", Some("SPLIT"))
    );
    // Both at once, in whichever order they are read.
    house.prompt("greeting", "4.0.0", "");
    until("the version", || {
        (server.experiment("tone")["variants"][1]["semver"] == "4.0.0").then_some(())
    });
}

#[test]
fn without_watching_nothing_is_followed() {
    let house = House::with("tone", TONE).set("experiments", "watch = false");
    let server = house.start();
    house.experiment("tone", &weighted(10));
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(control_weight(&server), 50.0);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(control_weight(&house.start()), 10.0);
}
