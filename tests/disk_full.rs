//! A disk that fills up while outcomes come in: what is refused is told, what was acknowledged stays, decisions and
//! freezes go on, and when there is space again so does everything else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Server, TONE, figures, until};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A house whose store lies on a disk of a few megabytes that only the server sees.
struct SmallDisk {
    house: House,
    unshare: Vec<&'static str>,
}

impl SmallDisk {
    fn new(house: House) -> Self {
        fs::create_dir_all(house.path("data")).unwrap();
        let works = |arguments: &[&str]| {
            let mount = "mount -t tmpfs -o size=1m none \"$0\"";
            Command::new("unshare")
                .args(arguments)
                .args(["sh", "-c", mount])
                .arg(house.path("data"))
                .stdin(Stdio::null())
                .output()
                .unwrap_or_else(|error| panic!("unshare of the package util-linux is missing: {error}"))
                .status
                .success()
        };
        let unshare = [vec!["-m"], vec!["-rm"]]
            .into_iter()
            .find(|arguments| works(arguments))
            .expect("neither root nor user namespaces: no small disk can be mounted here");
        Self { house, unshare }
    }

    /// The server in a mount namespace of its own, on a new disk: what is to outlive a server is copied onto it first,
    /// and it can be full to the last byte from the start.
    fn start(&self, before: Option<&PathBuf>, full: bool) -> Server {
        let script = r#"set -e; mount -t tmpfs -o size=6000k none "$0"
            [ -z "$1" ] || cp -p "$1"/* "$0"
            [ -z "$2" ] || cat /dev/zero > "$0/ballast" 2> /dev/null || true
            shift 2; exec "$@""#;
        let serve = self.house.command(&["serve"]);
        let mut command = Command::new("unshare");
        command
            .args(&self.unshare)
            .args(["sh", "-c", script])
            .arg(self.house.path("data"))
            .arg(before.map_or_else(PathBuf::new, Clone::clone))
            .arg(if full { "full" } else { "" })
            .arg(serve.get_program())
            .args(serve.get_args())
            .env_remove("SERIN_LOG")
            .stdin(Stdio::null());
        Server::spawn(command).unwrap_or_else(|refused| panic!("did not start: {refused:?}"))
    }

    /// A path on the server's disk, as seen from outside.
    fn inside(&self, server: &Server, name: &str) -> PathBuf {
        let data = self.house.path("data");
        let data = data.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", server.child.id()))
            .join(data)
            .join(name)
    }
}

/// Copies the server's disk as it is now.
fn copy(disk: &SmallDisk, server: &Server) -> PathBuf {
    let copy = disk.house.path("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(disk.inside(server, "")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    copy
}

/// Writes until nothing more fits.
fn fill(path: &PathBuf) {
    let full = fs::write(path, vec![7_u8; 64 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}

/// Single outcomes with ids; says which were acknowledged.
fn send(server: &Server, from: u64, count: u64) -> Vec<(Value, u16)> {
    let mut client = server.data();
    (from..from + count)
        .map(|n| {
            let variant = if n.is_multiple_of(2) { "control" } else { "warm" };
            let outcome = json!({"experiment": "tone", "variant": variant, "unit": format!("u-{n}"), "id": format!("id-{n}"),
                "metrics": {"resolved": n.is_multiple_of(3)}});
            let reply = client.post("/v1/outcomes", &outcome);
            if reply.status == 507 {
                reply.check_problem(507, "STORAGE_FULL");
                assert_eq!(reply.headers["retry-after"], "1");
            }
            (outcome, reply.status)
        })
        .collect()
}

/// The counts of both arms together.
fn counted(server: &Server) -> (u64, u64, u64) {
    let results = server.results("tone");
    let (mut accepted, mut n, mut resolved) = (0, 0, 0.0);
    for variant in ["control", "warm"] {
        accepted += results["outcomes"][variant]["accepted"].as_u64().unwrap();
        let rate = figures(&results, "resolved", variant);
        let own = rate["n"].as_u64().unwrap();
        n += own;
        resolved += own as f64 * rate["mean"].as_f64().unwrap();
    }
    let resolved = resolved.round() as u64;
    (accepted, n, resolved)
}

fn expected(acknowledged: &[Value]) -> (u64, u64, u64) {
    let n = acknowledged.len() as u64;
    let resolved = acknowledged
        .iter()
        .filter(|outcome| outcome["metrics"]["resolved"] == true)
        .count();
    (n, n, resolved as u64)
}

/// Everything acknowledged is there and known.
fn check(server: &Server, acknowledged: &[Value]) {
    assert_eq!(counted(server), expected(acknowledged));
    let again = server.data().outcomes(&json!(acknowledged));
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(0), &json!(acknowledged.len()))
    );
}

#[test]
fn a_full_disk_is_told_and_outlived() {
    let disk = SmallDisk::new(House::with("tone", TONE));
    let server = disk.start(None, false);
    let mut acknowledged: Vec<Value> = Vec::new();
    let keep = |sent: Vec<(Value, u16)>, acknowledged: &mut Vec<Value>| {
        let mut refused = Vec::new();
        for (outcome, status) in sent {
            match status {
                200 => acknowledged.push(outcome),
                507 => refused.push(outcome),
                other => panic!("{other} for {outcome}"),
            }
        }
        refused
    };
    assert!(keep(send(&server, 0, 100), &mut acknowledged).is_empty());
    // The last entry of the control log is a change of the experiment itself: the freeze comes right behind it.
    disk.house
        .experiment("tone", &TONE.replacen("weight = 50", "weight = 60", 1));
    until("the edit", || {
        (server.experiment("tone")["epoch"] == 2).then_some(())
    });
    assert!(keep(send(&server, 100, 100), &mut acknowledged).is_empty());

    let ballast = disk.inside(&server, "ballast");
    fill(&ballast);
    let mut refused = keep(send(&server, 200, 200), &mut acknowledged);
    // What little room the files had left is used up.
    for round in 2..20 {
        if refused.len() >= 100 {
            break;
        }
        refused.extend(keep(send(&server, 200 * round, 200), &mut acknowledged));
    }
    assert!(refused.len() >= 100, "the disk does not fill: {}", refused.len());
    println!(
        "{} acknowledged and {} refused when the disk was full",
        acknowledged.len(),
        refused.len()
    );
    assert_eq!(server.metric("serin_store_up"), Some(0.0));
    server.logged(&["the outcome store failed"]);
    assert_eq!(counted(&server), expected(&acknowledged));
    // Nothing of a batch is taken.
    server
        .data()
        .post("/v1/outcomes", &json!(refused))
        .check_problem(507, "STORAGE_FULL");
    assert_eq!(counted(&server), expected(&acknowledged));

    // Decisions go on, and a freeze takes effect although it cannot be written.
    assert_eq!(server.decide("u-1")["reason"], "SPLIT");
    // What little room the control log has left is used up by drafts.
    let draft = |n: usize| {
        json!({"id": format!("draft-{n}"), "prompt": "greeting", "unit": "session", "status": "draft",
            "variants": [{"name": "a", "version": 1, "weight": 1}, {"name": "b", "version": 2, "weight": 1}]})
    };
    let mut refused_drafts = 0;
    for n in 0..2_000 {
        let reply = server.control().post("/api/v1/experiments", &draft(n));
        if reply.status == 507 {
            reply.check_problem(507, "STORAGE_FULL");
            refused_drafts += 1;
        } else {
            assert_eq!(reply.status, 201, "{reply:?}");
        }
        if refused_drafts == 5 {
            break;
        }
    }
    assert_eq!(refused_drafts, 5);
    let entries = server.audit().len();
    let freeze = server.control().post(
        "/api/v1/experiments/tone/freeze",
        &json!({"reason": "x".repeat(1_000)}),
    );
    assert_eq!(freeze.status, 202, "{freeze:?}");
    let freeze = freeze.json();
    assert_eq!(
        (&freeze["state"], &freeze["events"]),
        (&json!("frozen"), &json!([]))
    );
    assert_eq!(server.audit().len(), entries);
    for user in 0..30 {
        let decision = server.decide(&format!("u-{user}"));
        assert_eq!(
            (&decision["variant"], &decision["cause"]),
            (&json!("control"), &json!("frozen"))
        );
    }
    assert_eq!(server.metric("serin_freezes_unrecorded"), Some(1.0));
    assert_eq!(
        counted(&server),
        expected(&acknowledged),
        "the freeze hides nothing"
    );
    // What cannot be written does not happen, and is told.
    let stop = server.control().post(
        "/api/v1/experiments/tone/stop",
        &json!({"reason": "z".repeat(900)}),
    );
    stop.check_problem(507, "STORAGE_FULL");
    let edited = TONE
        .replacen("weight = 50", "weight = 70", 1)
        .replace("user\"", "user\"\nhypothesis = \"hhh\"");
    disk.house
        .experiment("tone", &edited.replace("hhh", &"h".repeat(8_000)));
    server.logged(&["changed files could not be applied; trying again"]);

    // Space again: everything goes on without a restart, and what waited is written.
    fs::remove_file(&ballast).unwrap();
    until("the freeze in the log", || {
        (server.events("experiment_frozen").len() == 1).then_some(())
    });
    until("the last unwritten freeze", || {
        (server.metric("serin_freezes_unrecorded") == Some(0.0)).then_some(())
    });
    until("the edit", || {
        (server.experiment("tone")["variants"][0]["weight"] == 70.0).then_some(())
    });
    assert_eq!(server.state("tone"), "frozen");
    let again = server.data().outcomes(&json!(refused));
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(refused.len()), &json!(0)),
        "{again}"
    );
    acknowledged.append(&mut refused);
    assert_eq!(server.metric("serin_store_up"), Some(1.0));
    check(&server, &acknowledged);

    // The disk as it is at the moment of a kill: nothing moves while it is copied.
    let id = server.child.id().to_string();
    let stopped = Command::new("kill").args(["-STOP", &id]).status().unwrap();
    assert!(stopped.success());
    let copy = copy(&disk, &server);
    server.kill();
    let server = disk.start(Some(&copy), false);
    assert_eq!(server.state("tone"), "frozen");
    check(&server, &acknowledged);
    server.check_healthy();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_restart_on_a_full_disk_serves() {
    for orderly in [false, true] {
        let disk = SmallDisk::new(House::with("tone", TONE));
        let server = disk.start(None, false);
        let sent = send(&server, 0, 300);
        assert!(sent.iter().all(|(_, status)| *status == 200));
        let acknowledged: Vec<Value> = sent.into_iter().map(|(outcome, _)| outcome).collect();
        let decision = server.decide("u-1");
        let copy = if orderly {
            // Its disk goes with the server, so what an orderly end leaves is made once more where it can be seen.
            let killed = copy(&disk, &server);
            server.kill();
            fs::remove_dir_all(disk.house.path("data")).unwrap();
            fs::rename(&killed, disk.house.path("data")).unwrap();
            assert_eq!(disk.house.start().stop(), Some(0));
            let left = disk.house.path("left");
            fs::rename(disk.house.path("data"), &left).unwrap();
            fs::create_dir(disk.house.path("data")).unwrap();
            left
        } else {
            let copy = copy(&disk, &server);
            server.kill();
            copy
        };
        let server = disk.start(Some(&copy), true);
        assert_eq!(server.decide("u-1")["variant"], decision["variant"]);
        assert_eq!(counted(&server), expected(&acknowledged));
        let refused = send(&server, 300, 200);
        assert_eq!(refused.last().unwrap().1, 507, "the disk is not full");
        fs::remove_file(disk.inside(&server, "ballast")).unwrap();
        check(&server, &acknowledged);
        let more = send(&server, 500, 50);
        assert!(more.iter().all(|(_, status)| *status == 200));
        server.check_healthy();
        assert_eq!(server.stop(), Some(0));
    }
}
