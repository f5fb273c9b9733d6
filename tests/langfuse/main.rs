//! Langfuse's own clients against the real program: what applications that use them get from it.
//!
//! `tests/run` installs the clients below `target/langfuse`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "../support/process.rs"]
mod process;

use process::{House, write};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const REPLY: &str = r#"type = "chat"
tags = ["support"]
[[prompt]]
role = "system"
content = "Be {{tone}}."
[[prompt]]
type = "placeholder"
name = "history"
[[prompt]]
role = "user"
content = "Answer."
"#;

/// `greeting` with two versions of which the first is deployed, a chat with a placeholder, and one that includes
/// another.
fn house() -> House {
    let house = House::new();
    for (version, text) in [("1.0.0", "Hello, {{name}}."), ("1.1.0", "Hi, {{name}}!")] {
        let text = format!(
            "prompt = \"{text}\"\ncommit_message = \"first words\"\ntags = [\"hello\"]\n[config]\nmodel = \"m\"\n"
        );
        write(&house.prompt_path("greeting", version), text);
    }
    write(&house.prompt_path("support/first reply", "1.0.0"), REPLY);
    let composed = "prompt = \"Sum up. @@@langfusePrompt:name=greeting|label=production@@@\"\n";
    write(&house.prompt_path("composed", "1.0.0"), composed);
    house
}

/// A file below `target`, which must have been installed.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/langfuse")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: `tests/run clients` installs Langfuse's clients there",
        path.display()
    );
    path
}

/// What a script prints that asks the server at this address.
fn asked(program: &Path, script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/langfuse")
        .join(script);
    let output = Command::new(program)
        .arg(script)
        .args(arguments)
        .env(
            "LANGFUSE_CLIENT",
            installed("node/node_modules/@langfuse/client/dist/index.mjs"),
        )
        .env("no_proxy", "127.0.0.1")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{errors}");
    serde_json::from_str(out.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {out}{errors}"))
}

fn python(arguments: &[&str]) -> Value {
    asked(&installed("venv/bin/python"), "fetch.py", arguments)
}

#[test]
fn the_python_client_gets_what_is_deployed_labelled_or_numbered() {
    let server = house().start();
    let found = python(&[&format!("http://{}", server.data)]);
    let greeting = |version: u32, prompt: &str, labels: Value| {
        json!({"name": "greeting", "version": version, "prompt": prompt, "config": {"model": "m"},
            "labels": labels, "tags": ["hello"], "commit_message": "first words", "is_fallback": false})
    };
    let first = greeting(
        1,
        "Hello, {{name}}.",
        json!(["development", "production", "staging"]),
    );
    assert_eq!(found["auth_check"], true);
    assert_eq!(found["default"], first);
    assert_eq!(found["by_version"], first);
    assert_eq!(found["compiled"], "Hello, Ada.");
    assert_eq!(found["by_label"], greeting(2, "Hi, {{name}}!", json!(["latest"])));

    assert_eq!(found["chat"]["name"], "support/first reply");
    assert_eq!(found["chat"]["config"], json!({}));
    let compiled = json!([
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi!"},
        {"role": "user", "content": "Answer."},
    ]);
    assert_eq!(found["chat_compiled"], compiled);

    assert_eq!(found["composed"]["prompt"], "Sum up. Hello, {{name}}.");
    let graph = &found["composed_graph"];
    let root = graph["root"]["id"].as_str().unwrap();
    assert_eq!(graph["root"]["name"], "composed");
    let included = &graph["dependencies"][root][0];
    assert_eq!(
        (&included["name"], &included["version"]),
        (&json!("greeting"), &json!(1))
    );
    assert_eq!(
        found["composed_raw"],
        "Sum up. @@@langfusePrompt:name=greeting|label=production@@@"
    );

    assert_eq!(
        found["names"],
        json!(["composed", "greeting", "support/first reply"])
    );
    assert_eq!(
        (&found["meta"]["totalItems"], &found["meta"]["totalPages"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(found["tagged"][0]["name"], "support/first reply");
    assert_eq!(found["tagged"][0]["versions"], json!([1]));
    server.check_healthy();
}

#[test]
fn the_python_client_understands_what_is_missing_or_refused() {
    let server = house().start();
    let found = python(&[&format!("http://{}", server.data)]);
    assert_eq!(found["fallback"]["is_fallback"], true);
    assert_eq!(found["fallback_compiled"], "Hello, Ada.");
    assert_eq!(found["missing"]["type"], found["is_not_found"]);
    let told = &found["missing_label"];
    assert_eq!(told["type"], found["is_not_found"]);
    assert_eq!(
        told["body"],
        json!({"message": "Prompt not found: 'greeting' with label 'nowhere'", "error": "LangfuseNotFoundError"})
    );
    assert_eq!(found["both"]["body"]["error"], "InvalidRequestError");
    assert_eq!(found["create"]["type"], "MethodNotAllowedError");
}

#[test]
fn the_python_client_signs_in_with_the_name_of_a_token_and_the_token() {
    let house = house();
    let made = house
        .command(&["token", "--json", "app", "--role", "viewer"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let house = house.set("auth", &format!("tokens = [{}]", made["entry"].as_str().unwrap()));
    let server = house.start();
    let url = format!("http://{}", server.data);
    let found = python(&[&url, "app", made["token"].as_str().unwrap()]);
    assert_eq!(found["auth_check"], true);
    assert_eq!(found["default"]["version"], 1);
    let refused = python(&[&url, "app", "serin_guessed"]);
    for attempt in ["auth_check", "get", "direct"] {
        assert_eq!(refused[attempt]["type"], refused["is_unauthorized"], "{refused}");
    }
    assert_eq!(refused["direct"]["body"]["error"], "UnauthorizedError");
}

#[test]
fn the_javascript_client_gets_the_same() {
    let server = house().start();
    let url = format!("http://{}", server.data);
    let found = asked(Path::new("node"), "fetch.mjs", &[&url]);
    for (member, version, prompt) in [
        ("default", 1, "Hello, {{name}}."),
        ("by_version", 1, "Hello, {{name}}."),
        ("by_label", 2, "Hi, {{name}}!"),
    ] {
        let found = &found[member];
        assert_eq!(
            (&found["version"], &found["prompt"]),
            (&json!(version), &json!(prompt))
        );
        assert_eq!(
            (&found["tags"], &found["config"]),
            (&json!(["hello"]), &json!({"model": "m"}))
        );
    }
    assert_eq!(found["compiled"], "Hello, Ada.");
    let contents = found["chat_compiled"].as_array().unwrap().iter();
    let contents: Vec<&str> = contents
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(contents, ["Be kind.", "Hi!", "Answer."]);
    assert_eq!(found["fallback"]["isFallback"], true);
    let missing = found["missing"].as_str().unwrap();
    assert!(missing.contains("Prompt not found: 'missing'"), "{missing}");
}
