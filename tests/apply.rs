//! `serin apply` with the real program: the plan, what it does, and what it leaves alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Server, TONE, write};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// A server with files of its own, and a folder to apply.
struct Fleet {
    house: House,
    server: Server,
}

impl Fleet {
    /// The server has the prompt and no experiment; the folder `set` has both.
    fn new() -> Self {
        let house = House::new();
        let server = house.start();
        let fleet = Self { house, server };
        for version in ["1.0.0", "1.1.0"] {
            let text =
                format!("\ntype = \"text\"\nprompt = \"Say hello, {version}.\"\n[config]\nmodel = \"m\"\n");
            fleet.file(&format!("prompts/greeting/{version}.toml"), &text);
        }
        fleet.file("experiments/tone.toml", TONE);
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.house.path("set").join(name)
    }

    fn file(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// Exit code, standard output and standard error.
    fn apply(&self, more: &[&str]) -> (i32, String, String) {
        let dir = self.house.path("set").display().to_string();
        let url = format!("http://{}", self.server.control);
        let arguments = [&["apply", dir.as_str(), "--url", url.as_str()], more].concat();
        let output = self.house.command(&arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn good(&self, more: &[&str]) -> String {
        let (code, out, errors) = self.apply(more);
        assert_eq!((code, errors.as_str()), (0, ""), "{out}");
        out
    }

    fn revision(&self) -> u64 {
        let listed = self.server.control().get_json("/api/v1/experiments");
        listed["revision"].as_u64().unwrap()
    }
}

#[test]
fn a_set_is_planned_applied_and_then_nothing_is_left_to_do() {
    let fleet = Fleet::new();
    let before = fleet.revision();
    let planned = fleet.good(&["--dry-run"]);
    assert_eq!(fleet.revision(), before, "a dry run writes nothing");
    assert!(
        planned.contains("+ experiment tone: experiment of prompt greeting, running\n    100 % of its audience join: control 50 %, warm 50 %\n= 2 unchanged\n"),
        "{planned}"
    );
    assert!(
        planned.ends_with("steps to take:\n  create experiment tone\n  start experiment tone\n\nnothing was changed: a dry run\n"),
        "{planned}"
    );
    let done = fleet.good(&["--reason", "the winter campaign"]);
    let after = fleet.revision();
    assert!(
        done.ends_with(&format!("\n\ndone, at revision {after}\n")),
        "{done}"
    );
    assert_eq!(fleet.server.state("tone"), "running");
    let created = &fleet.server.events("experiment_created")[0];
    assert_eq!(created["actor"], "api apply:set/experiments/tone.toml");
    assert_eq!(created["reason"], "the winter campaign");
    let again = fleet.good(&[]);
    assert!(again.ends_with("\n= 3 unchanged: nothing to do\n"), "{again}");
    assert_eq!(fleet.revision(), after, "the second apply writes nothing");
}

#[test]
fn the_plan_of_a_reweight() {
    let fleet = Fleet::new();
    fleet.good(&[]);
    let canary = TONE
        .replacen("weight = 50", "weight = 40", 1)
        .replacen("weight = 50", "weight = 60", 1);
    fleet.file("experiments/tone.toml", &canary);
    let planned = fleet.good(&["--dry-run"]);
    let revision = fleet.revision();
    assert_eq!(
        planned,
        format!(
            "set set, server http://{} at revision {revision}\n\
             \n\
             ~ experiment tone\n    \
                 variants[control].weight  50 → 40\n    \
                 variants[warm].weight     50 → 60\n    \
                 split: control 50 % → 40 %, warm 50 % → 60 %; 10 % of its units move, 90 % keep their variant\n\
             = 2 unchanged\n\
             \n\
             steps to take:\n  \
               change experiment tone\n\
             \n\
             nothing was changed: a dry run\n",
            fleet.server.control
        )
    );
    // What is planned is what happens: of the users seen before, one in ten moves, and only to the arm that grows.
    let users: Vec<String> = (0..2_000).map(|n| format!("u-{n}")).collect();
    let variants = |fleet: &Fleet| -> Vec<String> {
        let mut data = fleet.server.data();
        let decide = |user: &String| data.decide(user)["variant"].as_str().unwrap().to_owned();
        users.iter().map(decide).collect()
    };
    let before = variants(&fleet);
    fleet.good(&[]);
    let after = variants(&fleet);
    let moved: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .collect();
    assert!(
        moved
            .iter()
            .all(|(before, after)| *before == "control" && *after == "warm")
    );
    assert!(
        (150..250).contains(&moved.len()),
        "{} of 2,000 moved",
        moved.len()
    );
}

#[test]
fn a_file_that_is_gone_stops_its_experiment_and_nobody_elses() {
    let fleet = Fleet::new();
    let own = TONE.replace("status", "traffic = 0.1\nstatus");
    fleet.file("experiments/tone.toml", &own);
    fleet.file("experiments/other.toml", &own);
    fleet.good(&[]);
    let made = json!({"id": "by_hand", "prompt": "greeting", "unit": "user", "status": "running", "variants": [
        {"name": "control", "version": "1.0.0", "weight": 1}, {"name": "warm", "version": "1.1.0", "weight": 1}]});
    assert_eq!(
        fleet.server.control().post("/api/v1/experiments", &made).status,
        201
    );
    // Another set leaves this one's alone.
    let elsewhere = json!({"set": "elsewhere", "prompts": [], "experiments": []});
    let answer = fleet.server.control().ok("/api/v1/apply", &elsewhere);
    assert_eq!(
        (&answer["steps"], &answer["dry_run"]),
        (&json!([]), &json!(false))
    );
    fs::remove_file(fleet.path("experiments/tone.toml")).unwrap();
    let planned = fleet.good(&["--dry-run"]);
    assert!(
        planned.contains("- experiment tone: its file is gone\n    10 % of its audience leave it\n"),
        "{planned}"
    );
    fleet.good(&[]);
    let states = ["tone", "other", "by_hand"].map(|id| fleet.server.state(id));
    assert_eq!(states, ["stopped", "running", "running"]);
    // The server's own files say nothing of it either: a restart does not stop what a set has made.
    let Fleet { house, server } = fleet;
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    assert_eq!(server.state("other"), "running");
    assert_eq!(server.state("tone"), "stopped");
}

#[test]
fn mistakes_are_told_with_their_lines_and_change_nothing() {
    let fleet = Fleet::new();
    let before = fleet.revision();
    // Found here, without asking the server.
    fleet.file(
        "experiments/broken.toml",
        &TONE.replace("weight = 50", "weight = 0"),
    );
    let (code, out, errors) = fleet.apply(&[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        errors.contains("set/experiments/broken.toml:8: variants[0].weight: "),
        "{errors}"
    );
    assert!(errors.ends_with("\nnothing was changed\n"), "{errors}");
    // Found by the server, which knows what is registered.
    fleet.file("experiments/broken.toml", &TONE.replace("1.1.0", "3.0.0"));
    fleet.file(
        "prompts/greeting/1.0.0.toml",
        "type = \"text\"\nprompt = \"Say good-bye.\"\n",
    );
    let (code, _, errors) = fleet.apply(&["--dry-run"]);
    assert_eq!(code, 1);
    for start in [
        "set/experiments/broken.toml:11: variants[1].version: ",
        "set/prompts/greeting/1.0.0.toml:2: prompt: ",
    ] {
        assert!(
            errors.lines().any(|line| line.contains(start)),
            "no {start} in\n{errors}"
        );
    }
    let (code, out, _) = fleet.apply(&["--json"]);
    let mistakes: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, mistakes.as_array().unwrap().len()), (1, 2), "{out}");
    assert_eq!(fleet.revision(), before);
    // A folder without experiments is no empty folder.
    fs::remove_dir_all(fleet.path("experiments")).unwrap();
    let (code, _, errors) = fleet.apply(&[]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("set/experiments: the folder cannot be read"),
        "{errors}"
    );
    assert_eq!(fleet.apply(&["--set", "a b"]).0, 2);
}

#[test]
fn prompts_and_deployments_are_part_of_the_plan() {
    let fleet = Fleet::new();
    fleet.good(&[]);
    let labelled = "type = \"text\"\nprompt = \"Hi.\"\nlabels = [\"production\"]\n";
    fleet.file("prompts/greeting/1.2.0.toml", labelled);
    fleet.file(
        "prompts/farewell/1.0.0.toml",
        "type = \"text\"\nprompt = \"Bye.\"\n",
    );
    let planned = fleet.good(&["--dry-run"]);
    for line in [
        "+ prompt version farewell 1.0.0: version 1; deployed to development, production, staging\n",
        "+ prompt version greeting 1.2.0: version 3\n",
        "~ deployment greeting in production: for every unit that no experiment has\n    version  \"1.0.0\" → \"1.2.0\"\n",
        "\n  register greeting 1.2.0\n",
        "\n  deploy greeting 1.2.0 to production\n",
    ] {
        assert!(planned.contains(line), "no {line:?} in\n{planned}");
    }
    fleet.good(&[]);
    assert!(fleet.good(&[]).contains("nothing to do"));
}

#[test]
fn experiments_that_meet_are_explained_and_warned_of() {
    let fleet = Fleet::new();
    let canary = TONE
        .replace("\"experiment\"", "\"canary\"")
        .replace("status", "traffic = 0.4\nstatus")
        + "[[guardrails]]\nmetric = \"fallback\"\nmax_ratio = 1.25\n[rollout]\nstages = [{ share = 0.1, for = \"1h\" }]\n";
    fleet.file("experiments/a_canary.toml", &canary);
    let planned = fleet.good(&["--dry-run"]);
    for part in [
        "decisions of prompt `greeting` in production ask `a_canary`, `tone` in this order, and the first that takes a \
         unit has it\n",
        "`a_canary` enrols 40 %: 40 % of all units\n",
        "`tone` gets what `a_canary` before it did not take: 60 % of all units\n",
        "the deployed version has 0 %\n",
        "a_canary needs, since its traffic is unknown (`serin validate --rps` takes it):\n",
    ] {
        assert!(planned.contains(part), "no {part:?} in\n{planned}");
    }
    // Behind one that takes everyone nothing is left.
    fleet.file(
        "experiments/a_canary.toml",
        &canary.replace("traffic = 0.4\n", ""),
    );
    let planned = fleet.good(&["--dry-run"]);
    assert!(
        planned
            .contains("warning: `tone` gets no traffic: `a_canary` comes before it and takes every unit\n"),
        "{planned}"
    );
    let (code, out, _) = fleet.apply(&["--dry-run", "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(answer["preflight"][0]["experiment"], "a_canary");
    assert_eq!(answer["exclusions"][0]["experiments"][1]["gets"]["at_most"], 0.0);
}

#[test]
fn what_is_no_set_is_refused_by_the_api() {
    let fleet = Fleet::new();
    let refused = |body: Value, part: &str| {
        let reply = fleet.server.control().post("/api/v1/apply", &body);
        let problem = reply.check_problem(422, "INVALID_SET");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    };
    refused(json!({}), "experiments: is required: a list");
    refused(
        json!({"prompts": [], "experiments": [], "expermients": []}),
        "unknown key",
    );
    refused(
        json!({"prompts": [], "experiments": [], "set": "a/b"}),
        "set: the name of a set must",
    );
    refused(
        json!({"prompts": [], "experiments": [], "dry_run": 1}),
        "dry_run: must be true or false",
    );
    refused(
        json!({"prompts": [{"name": "a"}], "experiments": []}),
        "prompts[0]: needs `name` and `semver`",
    );
    refused(
        json!({"prompts": [], "experiments": [{}]}),
        "experiments[0].id: is required",
    );
    let prompt = json!({"name": "a", "semver": "1.0.0", "prompt": "x", "authors": "me"});
    refused(
        json!({"prompts": [prompt], "experiments": []}),
        "default/prompts/a/1.0.0.toml: authors: unknown key",
    );
}

#[test]
fn a_start_tells_its_preflight_and_what_nobody_reports() {
    let fleet = Fleet::new();
    let guarded = TONE.replace("\"running\"", "\"draft\"")
        + "[[guardrails]]\nmetric = \"escalation\"\nmax_ratio = 1.5\n";
    fleet.file("experiments/tone.toml", &guarded);
    fleet.good(&[]);
    let outcomes: Value = (0..50)
        .map(|n| json!({"prompt": "greeting", "version": "1.0.0", "unit": format!("u-{n}"), "metrics": {"error": n < 5}}))
        .collect();
    fleet.server.data().outcomes(&outcomes);
    let path = "/api/v1/experiments/tone";
    let found = fleet
        .server
        .control()
        .get_json(&format!("{path}/preflight?rps=10&requests_per_unit=2"));
    assert_eq!(
        found["traffic"],
        json!({"requests_per_second": 10.0, "source": "given", "reach": 1.0})
    );
    assert_eq!(found["stages"][0]["candidate_requests"], json!(604_800.0 * 5.0));
    let bad = fleet.server.control().get(&format!("{path}/preflight?rps=-1"));
    bad.check_problem(400, "BAD_QUERY");
    let started = fleet
        .server
        .control()
        .ok(&format!("{path}/start"), &json!({"reason": "go"}));
    assert_eq!(started["state"], "running");
    assert_eq!(started["preflight"]["traffic"]["source"], "seen");
    assert_eq!(
        started["warnings"].as_array().unwrap().last().unwrap(),
        "none of the 50 outcomes of the last day reports `escalation`: its guardrail sees nothing"
    );
}
