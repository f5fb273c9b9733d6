//! The demo, as somebody sees it who has just built the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tokio::time::Instant;

#[test]
fn ends_by_itself_and_shows_the_freeze() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("demo")
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .env_remove("SERIN_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while demo.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            demo.kill().unwrap();
            panic!("the demo goes on for more than a minute");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let took = began.elapsed();
    let output = demo.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}\n{errors}");
    for told in [
        "The bad canary froze by itself.",
        "The freeze in the control log:",
        "\"type\": \"experiment_frozen\"",
        "\"id\": \"ticket_summary_canary\"",
        "\"actor\": \"guardrail:fallback\"",
        "\"log_threshold\":",
        "The A/B test has a winner.",
    ] {
        assert!(out.contains(told), "no {told:?} in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no terminal, no escape sequences");
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?} is left behind");
    println!("the demo took {took:?}");
}
