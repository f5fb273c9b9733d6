//! `serin prompt import-git` with the real program and real repositories, against the real server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/git.rs"]
mod git;
#[path = "support/process.rs"]
mod process;

use git::Repo;
use process::{House, Server};
use serde_json::{Value, json};

/// A repository, and a server that has none of its prompts.
struct Import {
    house: House,
    repo: Repo,
    server: Server,
}

impl Import {
    fn new() -> Self {
        let house = House::new();
        let server = house.start();
        Self {
            server,
            house,
            repo: Repo::new(),
        }
    }

    /// Exit code, standard output and standard error.
    fn run(&self, more: &[&str]) -> (i32, String, String) {
        let repo = self.repo.path().display().to_string();
        let url = format!("http://{}", self.server.control);
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

    /// How many versions were registered and labels moved so far.
    fn writes(&self) -> [usize; 2] {
        ["prompt_registered", "prompt_labelled"].map(|kind| self.server.events(kind).len())
    }

    /// The text of each version, and the branches' labels on it.
    fn versions(&self, prompt: &str) -> Vec<(String, String)> {
        let mut control = self.server.control();
        let address = format!(
            "/api/v1/prompts/{}",
            prompt.replace('/', "%2F").replace(' ', "%20")
        );
        let listed = control.get_json(&address);
        let versions = listed["versions"].as_array().unwrap().clone();
        let mut found: Vec<(u64, String, String)> = Vec::new();
        for version in versions {
            let number = version["version"].as_u64().unwrap();
            let text = control.get_json(&format!("{address}?version={number}"))["prompt"].clone();
            let labels = version["labels"].as_array().unwrap().iter();
            let mut labels: Vec<&str> = labels.filter_map(Value::as_str).collect();
            labels.retain(|label| label.starts_with("branch-"));
            labels.sort_unstable();
            found.push((
                number,
                text.as_str().unwrap().to_owned(),
                json!(labels).to_string(),
            ));
        }
        found.sort();
        found
            .into_iter()
            .map(|(_, text, labels)| (text, labels))
            .collect()
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
    let [registered, labelled] = import.writes();
    assert_eq!(labelled, 0);

    let done = import.good(&[]);
    assert!(
        done.ends_with("\ndone: 3 versions registered, 0 registered earlier got labels\n"),
        "{done}"
    );
    assert_eq!(import.writes(), [registered + 3, 2]);
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
    assert_eq!(import.writes(), [registered + 3, 2]);

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
    let later: Value = serde_json::from_str(&import.good(&["--json"])).unwrap();
    assert_eq!(import.writes()[0], registered + 4);
    assert_eq!(
        (&later["done"], &later["registered_already"]),
        (&json!(1), &json!(3))
    );
    let answer = &later["steps"][0]["answer"];
    assert_eq!(
        (&answer["created"], &answer["version"]),
        (&json!(true), &json!(4))
    );
    // Who wrote it, when and where is kept with the version.
    let kept = import
        .server
        .control()
        .get_json("/api/v1/prompts/support%2Ffirst%20reply");
    assert_eq!(
        kept["source"]["git_commit"], later["steps"][0]["commit"],
        "{kept:#}"
    );
    assert_eq!(kept["source"]["path"], "config/prompts/support/first reply.md");
    assert_eq!(kept["commit_message"], "third");
    assert_eq!(later["steps"][0]["labels"], json!(["branch-main"]));
    assert_eq!(later["steps"][0]["commit"], repo.git(&["rev-parse", "HEAD"]));
}

#[test]
fn mistakes_end_an_import_before_it_begins_unless_they_are_to_be_skipped() {
    let import = Import::new();
    let before = import.writes();
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
    assert_eq!(import.writes(), before);
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
    let includes = "@@@langfusePrompt:name=greeting|label=tone@@@";
    for text in ["one", includes, "three"] {
        import.repo.commit_file("p/a.md", text, "a change");
    }
    let (code, out, errors) = import.run(&["--path", "p"]);
    assert_eq!(code, 1);
    assert!(
        out.ends_with("\nstopped: 1 versions registered, 0 registered earlier got labels\n"),
        "{out}"
    );
    assert!(
        errors.contains("was not taken: ") && errors.contains("COMPOSITION_REFUSED"),
        "{errors}"
    );
    assert!(
        errors.contains("1 of 3 steps are done and stay; run the same command again"),
        "{errors}"
    );
    let labelled = json!({"label": "tone", "version": 1});
    import
        .server
        .control()
        .ok("/api/v1/prompts/greeting/labels", &labelled);
    let (code, _, _) = import.run(&["--path", "p"]);
    assert_eq!(code, 0);
    let texts: Vec<String> = import.versions("a").into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["one", includes, "three"]);
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
