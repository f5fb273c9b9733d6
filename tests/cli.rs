//! The real program: exit codes, what it writes where, and what it asks a server.
#![allow(clippy::unwrap_used, reason = "a test ends where its setting up fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

fn serin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = serin(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const EXPERIMENT: &str = r#"prompt = "greeting"
kind = "experiment"
status = "running"
unit = "user"
[[variants]]
name = "control"
version = "1.0.0"
weight = 50
[[variants]]
name = "warm"
version = "1.1.0"
weight = 50
"#;

/// A folder with settings, one prompt of two versions and one experiment.
fn folder(experiment: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let dir = |name: &str| path.join(name).display().to_string();
    let settings = format!(
        "[prompts]\ndir = '{}'\n[experiments]\ndir = '{}'\n",
        dir("prompts"),
        dir("experiments")
    );
    write(&path.join("serin.toml"), &settings);
    for version in ["1.0.0", "1.1.0"] {
        let prompt = format!("type = \"text\"\nprompt = \"Say hello. ({version})\"\n");
        write(&path.join(format!("prompts/greeting/{version}.toml")), &prompt);
    }
    write(&path.join("experiments/warmth.toml"), experiment);
    folder
}

fn validate(folder: &tempfile::TempDir, more: &[&str]) -> (i32, String, String) {
    let config = folder.path().join("serin.toml").display().to_string();
    run(&[&["validate", "--config", config.as_str()], more].concat())
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["nonsense"][..],
        &["decide"],
        &["decide", "greeting", "--attribute", "country"],
        &["experiment"],
        &["experiment", "freeze", "warmth"],
        &["experiment", "resume", "warmth"],
        &["experiment", "freeze", "warmth", "--reason", ""],
        &["experiment", "stop"],
        &["demo", "--seconds", "0"],
        &["serve", "--port", "1"],
    ] {
        let (code, out, errors) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains("--help"), "{arguments:?}: {errors}");
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["experiment", "freeze", "--help"],
    ] {
        let (code, out, errors) = run(arguments);
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("serin"), "{out}");
    }
}

#[test]
fn validate_counts_what_is_right() {
    let folder = folder(EXPERIMENT);
    let (code, out, errors) = validate(&folder, &[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(
        out.ends_with("no mistakes; 1 prompt with 2 versions, 1 experiment (1 running)\n"),
        "{out}"
    );
    assert_eq!(
        validate(&folder, &["--json"]),
        (0, "[]\n".to_owned(), String::new())
    );
}

#[test]
fn validate_tells_every_mistake_with_file_and_line() {
    let folder = folder(
        &EXPERIMENT
            .replace("weight = 50", "weight = 0")
            .replace("unit", "unti"),
    );
    write(
        &folder.path().join("prompts/greeting/1.2.0.toml"),
        "type = \"text\"\nprompt = \"x\"\nauthors = \"me\"\n",
    );
    let (code, out, errors) = validate(&folder, &[]);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    let told = |file: &str, line: u32, field: &str| {
        let start = format!("{}:{line}: {field}: ", folder.path().join(file).display());
        assert!(
            errors.lines().any(|told| told.starts_with(&start)),
            "no {start:?} in\n{errors}"
        );
    };
    told("experiments/warmth.toml", 4, "unti");
    told("experiments/warmth.toml", 8, "variants[0].weight");
    told("experiments/warmth.toml", 12, "variants[1].weight");
    told("prompts/greeting/1.2.0.toml", 3, "authors");

    let (code, out, errors) = validate(&folder, &["--json"]);
    assert_eq!((code, errors.as_str()), (1, ""));
    let mistakes: serde_json::Value = serde_json::from_str(&out).unwrap();
    let fields: Vec<&str> = mistakes
        .as_array()
        .unwrap()
        .iter()
        .map(|mistake| mistake["field"].as_str().unwrap())
        .collect();
    assert!(
        fields.contains(&"unti") && fields.contains(&"authors"),
        "{fields:?}"
    );
    assert!(
        mistakes[0]["line"].is_u64() && mistakes[0]["file"].is_string(),
        "{out}"
    );
}

#[test]
fn validate_tells_what_only_the_files_together_show() {
    let experiment = format!(
        "audience = 'country = \"DE\"'\n{}",
        EXPERIMENT.replace("1.1.0", "2.0.0")
    );
    let folder = folder(&experiment);
    let (code, _, errors) = validate(&folder, &[]);
    assert_eq!(code, 1);
    let file = folder.path().join("experiments/warmth.toml");
    let file = file.display();
    for start in [
        format!("{file}:1: audience: "),
        format!("{file}:12: variants[1].version: "),
    ] {
        assert!(
            errors.lines().any(|told| told.starts_with(&start)),
            "no {start:?} in\n{errors}"
        );
    }
}

#[test]
fn validate_needs_its_settings() {
    let folder = folder(EXPERIMENT);
    write(
        &folder.path().join("serin.toml"),
        "[data_plane]\nlisten = 8787\nlsiten = \"x\"\n",
    );
    let (code, out, errors) = validate(&folder, &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(errors.contains("serin.toml:2: data_plane.listen: "), "{errors}");
    assert!(errors.contains("serin.toml:3: data_plane.lsiten: "), "{errors}");

    fs::remove_file(folder.path().join("serin.toml")).unwrap();
    let (code, _, errors) = validate(&folder, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("serin.toml: "), "{errors}");
}

#[test]
fn without_a_server_the_message_says_how_to_start_one() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let expected = format!("error: no server answers at {url}: start one with `serin serve`\n");
    for arguments in [
        &["decide", "greeting", "--url", &url][..],
        &["experiment", "list", "--url", &url],
        &["experiment", "freeze", "warmth", "--reason", "odd", "--url", &url],
    ] {
        assert_eq!(
            run(arguments),
            (1, String::new(), expected.clone()),
            "{arguments:?}"
        );
    }
    // The address comes from the settings where no URL is given.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serin.toml");
    write(&file, &format!("[data_plane]\nlisten = \"{free}\"\n"));
    let (_, _, errors) = run(&["decide", "greeting", "--config", &file.display().to_string()]);
    assert_eq!(errors, expected);
    let (code, _, errors) = run(&["decide", "greeting", "--url", "localhost"]);
    assert_eq!(code, 1);
    assert!(
        errors.starts_with("error: `localhost` is not an address"),
        "{errors}"
    );
}

/// Answers one request with a status and a body, and gives back the request's first line and body.
fn answering(status: &str, body: &str) -> (String, thread::JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let (mut first, mut length) = (String::new(), 0);
        stream.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        (first.trim_end().to_owned(), String::from_utf8(body).unwrap())
    });
    (url, server)
}

const DECISION: &str = r#"{"prompt":"greeting","version":2,"semver":"1.1.0","variant":"warm","experiment":"warmth","state":"running","reason":"SPLIT","receipt":null,"revision":17,"explain":[{"experiment":"warmth","check":"unit","passed":true,"detail":"attribute `user`"}]}"#;

#[test]
fn a_look_is_not_counted_and_is_explained() {
    let (url, server) = answering("200 OK", DECISION);
    let (code, out, errors) = run(&[
        "decide",
        "greeting",
        "--user",
        "42",
        "--attribute",
        "age=42",
        "--attribute",
        "country=DE",
        "--explain",
        "--url",
        &url,
    ]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(
        out.starts_with(
            "warmth\n  ✓ unit      attribute `user`\ngreeting → 1.1.0 (version 2), variant warm\n"
        )
    );
    let (line, body) = server.join().unwrap();
    assert_eq!(line, "POST /v1/decide HTTP/1.1");
    let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({"prompt": "greeting", "expose": false, "explain": true,
        "context": {"user": "42", "age": 42, "country": "DE"}});
    assert_eq!(asked, expected);

    let (url, _server) = answering("200 OK", DECISION);
    let (code, out, _) = run(&["--json", "decide", "greeting", "--url", &url]);
    assert_eq!((code, out), (0, format!("{DECISION}\n")));
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let problem = r#"{"type":"about:blank","title":"Conflict","status":409,"code":"WRONG_STATE","detail":"experiment `warmth` is frozen: cannot hold it; allowed: resume, stop"}"#;
    let (url, server) = answering("409 Conflict", problem);
    let (code, out, errors) = run(&["experiment", "hold", "warmth", "--url", &url]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        errors,
        "error: experiment `warmth` is frozen: cannot hold it; allowed: resume, stop (WRONG_STATE)\n"
    );
    assert_eq!(
        server.join().unwrap().0,
        "POST /api/v1/experiments/warmth/hold HTTP/1.1"
    );

    let (url, _server) = answering("404 Not Found", "<html>");
    let (code, _, errors) = run(&["experiment", "list", "--url", &url]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("answered 404 Not Found without a reason"),
        "{errors}"
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let experiments: Vec<String> = (0..5_000)
        .map(|n| format!(r#"{{"id":"e{n}","prompt":"p","state":"running","variants":[]}}"#))
        .collect();
    let (url, _server) = answering(
        "200 OK",
        &format!(r#"{{"experiments":[{}]}}"#, experiments.join(",")),
    );
    let mut child = serin(&["experiment", "list", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // More is written than a pipe holds, so the program meets the closed end.
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
