//! `serin prompt import-git` with the real program and real repositories, against a server that keeps what it is sent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/git.rs"]
mod git;
#[path = "support/process.rs"]
mod process;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use git::Repo;
use process::House;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

/// The bodies of each prompt's versions, and the calls that wrote.
#[derive(Debug, Default)]
struct Kept {
    prompts: BTreeMap<String, Vec<Value>>,
    writes: Vec<String>,
    /// Refuses texts that hold this.
    refused: Option<&'static str>,
}

type Shelf = Arc<Mutex<Kept>>;

fn problem(status: StatusCode, code: &str) -> Response {
    let body =
        json!({"title": "refused", "detail": "this one is refused", "code": code, "status": status.as_u16()});
    (status, Json(body)).into_response()
}

async fn versions(State(shelf): State<Shelf>, Path(name): Path<String>) -> Response {
    match shelf.lock().unwrap().prompts.get(&name) {
        Some(versions) => Json(json!({"name": name, "versions": versions})).into_response(),
        None => problem(StatusCode::NOT_FOUND, "PROMPT_NOT_FOUND"),
    }
}

async fn create(State(shelf): State<Shelf>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap().to_owned();
    keep(&shelf, "POST", name, body)
}

async fn add(State(shelf): State<Shelf>, Path(name): Path<String>, Json(body): Json<Value>) -> Response {
    keep(&shelf, "PUT", name, body)
}

fn keep(shelf: &Shelf, method: &str, name: String, mut body: Value) -> Response {
    let mut kept = shelf.lock().unwrap();
    if kept
        .refused
        .is_some_and(|text| body["prompt"].as_str().unwrap().contains(text))
    {
        return problem(StatusCode::CONFLICT, "VERSION_IMMUTABLE");
    }
    kept.writes.push(format!("{method} {name}"));
    let versions = kept.prompts.entry(name).or_default();
    let labels = body["labels"].as_array().unwrap().clone();
    for version in versions.iter_mut() {
        version["labels"]
            .as_array_mut()
            .unwrap()
            .retain(|label| !labels.contains(label));
    }
    if let Some(known) = versions
        .iter_mut()
        .find(|known| known["source"] == body["source"])
    {
        known["labels"].as_array_mut().unwrap().extend(labels);
        return Json(json!({"created": false})).into_response();
    }
    let number = versions.len() + 1;
    body["version"] = json!(number);
    versions.push(body);
    (
        StatusCode::CREATED,
        Json(json!({"created": true, "version": number})),
    )
        .into_response()
}

/// A repository, and a server that lives as long as the test.
struct Import {
    house: House,
    repo: Repo,
    shelf: Shelf,
    server: SocketAddr,
}

impl Import {
    fn new() -> Self {
        let shelf = Shelf::default();
        let routes = Router::new()
            .route("/api/v1/prompts", post(create))
            .route("/api/v1/prompts/{*name}", get(versions).put(add))
            .with_state(Arc::clone(&shelf));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = listener.local_addr().unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, routes).await.unwrap();
            });
        });
        Self {
            house: House::new(),
            repo: Repo::new(),
            shelf,
            server,
        }
    }

    /// Exit code, standard output and standard error.
    fn run(&self, more: &[&str]) -> (i32, String, String) {
        let repo = self.repo.path().display().to_string();
        let url = format!("http://{}", self.server);
        let arguments = [&["prompt", "import-git", &repo, "--url", &url], more].concat();
        let output = self.house.command(&arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn good(&self, more: &[&str]) -> String {
        let (code, out, errors) = self.run(more);
        assert_eq!((code, errors.as_str()), (0, ""), "{out}");
        out
    }

    fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.lock().unwrap().writes)
    }

    /// The text of each version, and its labels.
    fn versions(&self, prompt: &str) -> Vec<(String, String)> {
        let kept = self.shelf.lock().unwrap();
        let text = |version: &Value| version["prompt"].as_str().unwrap().to_owned();
        let of = |version: &Value| (text(version), version["labels"].to_string());
        kept.prompts[prompt].iter().map(of).collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(text, labels): &(&str, &str)| ((*text).to_owned(), (*labels).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn an_import_registers_each_commit_once_and_follows_the_branches() {
    let import = Import::new();
    let repo = &import.repo;
    repo.commit_file("config/prompts/support/first reply.md", "one", "first");
    repo.commit_file("config/prompts/support/first reply.md", "two", "second");
    repo.branch("feature/warm");
    repo.commit_file("config/prompts/support/first reply.md", "warm", "warmer");
    repo.branch("main");
    let planned = import.good(&["--dry-run"]);
    assert!(
        planned.ends_with(
            "\n3 versions to register, 0 registered earlier to label; nothing was changed: a dry run\n"
        ),
        "{planned}"
    );
    assert_eq!(import.writes(), [""; 0]);

    let done = import.good(&[]);
    assert!(
        done.ends_with("\ndone: 3 versions registered, 0 registered earlier got labels\n"),
        "{done}"
    );
    assert_eq!(
        import.writes(),
        [
            "POST support/first reply",
            "PUT support/first reply",
            "PUT support/first reply"
        ]
    );
    assert_eq!(
        import.versions("support/first reply"),
        pairs(&[
            ("one", "[]"),
            ("two", "[\"branch-main\"]"),
            ("warm", "[\"branch-feature-warm\"]")
        ])
    );

    let again = import.good(&[]);
    assert!(
        again.ends_with("= 3 registered already\n\nnothing to do\n"),
        "{again}"
    );
    assert_eq!(import.writes(), [""; 0]);

    // A fast-forward makes no version: the branch's one is main's now.
    repo.git(&["merge", "-q", "--ff-only", "feature/warm"]);
    let moved = import.good(&[]);
    assert!(
        moved.ends_with("\ndone: 0 versions registered, 1 registered earlier got labels\n"),
        "{moved}"
    );
    assert_eq!(
        import.versions("support/first reply")[1..],
        pairs(&[
            ("two", "[]"),
            ("warm", "[\"branch-feature-warm\",\"branch-main\"]")
        ])
    );
    repo.commit_file("config/prompts/support/first reply.md", "three", "third");
    import.writes();
    let later: Value = serde_json::from_str(&import.good(&["--json"])).unwrap();
    assert_eq!(import.writes(), ["PUT support/first reply"]);
    assert_eq!(
        (&later["done"], &later["registered_already"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        later["steps"][0]["answer"],
        json!({"created": true, "version": 4})
    );
    assert_eq!(later["steps"][0]["labels"], json!(["branch-main"]));
    assert_eq!(later["steps"][0]["commit"], repo.git(&["rev-parse", "HEAD"]));
}

#[test]
fn mistakes_end_an_import_before_it_begins_unless_they_are_to_be_skipped() {
    let import = Import::new();
    import.repo.commit_file("p/a.md", "good", "good");
    let bad = import.repo.commit_file("p/a.md", b"b\xe4d", "bad");
    import.repo.commit_file("p/a.md", "mended", "mended");
    let (code, out, errors) = import.run(&["--path", "p"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let line = format!("{}:p/a.md:1: not valid UTF-8\nnothing was imported;", &bad[..12]);
    assert!(
        errors.starts_with(&line) && errors.contains("--skip-mistakes"),
        "{errors}"
    );
    let (code, out, _) = import.run(&["--path", "p", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["mistakes"][0]["line"]), (1, &json!(1)));
    assert_eq!(import.writes(), [""; 0]);
    let rest = import.good(&["--path", "p", "--skip-mistakes"]);
    assert!(
        rest.contains(&format!("\nleft out: {}:p/a.md:1: not valid UTF-8\n", &bad[..12])),
        "{rest}"
    );
    assert_eq!(
        import.versions("a"),
        pairs(&[("good", "[]"), ("mended", "[\"branch-main\"]")])
    );
}

#[test]
fn a_refused_version_ends_the_import_and_says_how_far_it_came() {
    let import = Import::new();
    for text in ["one", "two", "three"] {
        import.repo.commit_file("p/a.md", text, text);
    }
    import.shelf.lock().unwrap().refused = Some("two");
    let (code, out, errors) = import.run(&["--path", "p"]);
    assert_eq!(code, 1);
    assert!(
        out.ends_with("\nstopped: 1 versions registered, 0 registered earlier got labels\n"),
        "{out}"
    );
    assert!(
        errors.contains("was not taken: this one is refused (VERSION_IMMUTABLE)"),
        "{errors}"
    );
    assert!(
        errors.contains("1 of 3 steps are done and stay; run the same command again"),
        "{errors}"
    );
    import.shelf.lock().unwrap().refused = None;
    let (code, _, _) = import.run(&["--path", "p"]);
    assert_eq!(code, 0);
    let texts: Vec<String> = import.versions("a").into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
}

#[test]
fn what_cannot_be_read_is_told_without_asking_the_server() {
    let import = Import::new();
    for (arguments, expected) in [
        (vec![], "the repository has no commits yet"),
        (
            vec!["--path", "../x"],
            "must be a folder's path from the root of the repository",
        ),
    ] {
        let (code, out, errors) = import.run(&arguments);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            errors.starts_with("error: ") && errors.contains(expected),
            "{errors}"
        );
    }
    import.repo.commit_file("p/a.md", "one", "one");
    let (_, _, errors) = import.run(&["--ref", "master"]);
    assert_eq!(
        errors,
        "error: `master` is no branch, tag or commit here; branches: main\n"
    );
    let (_, _, errors) = import.run(&[]);
    assert!(
        errors.contains("`main` has no folder `config/prompts`"),
        "{errors}"
    );
}
