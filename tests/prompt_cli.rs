//! `serin prompt` with the real program and a real server: from a file to users and back, and what each refusal says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Server, write};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

const GATE: &str = "min_score = 0.9\nmax_cost_increase = 0.1\nreviews = [\"product\", \"technical\"]";

/// A server whose registry has `greeting` 1.0.0 and 1.1.0, and a folder for files.
struct Desk {
    house: House,
    server: Server,
}

/// What a command did.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    errors: String,
}

impl Desk {
    fn of(house: House) -> Self {
        let server = house.start();
        Self { house, server }
    }

    fn open() -> Self {
        Self::of(House::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.house.path("files").join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        write(&self.path(name), text);
        self.path(name).display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let url = format!("http://{}", self.server.control);
        let mut command = self
            .house
            .command(&[&["prompt"], arguments, &["--url", url.as_str()]].concat());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "SERIN_TOKEN"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments))
    }

    /// Runs what must go well and say nothing on standard error.
    fn good(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(
            (done.code, done.errors.as_str()),
            (0, ""),
            "{arguments:?}: {done:?}"
        );
        done.out
    }

    /// Runs what must be refused, and gives what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{arguments:?}: {done:?}");
        done.errors
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn evaluations(&self, version: &str) -> usize {
        let shown = self.json(&["show", "greeting", version]);
        shown["evaluations"].as_array().unwrap().len()
    }
}

impl Done {
    fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            errors: text(output.stderr),
        }
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn from_a_file_to_users_and_back() {
    let desk = Desk::of(House::new().set("environments.production", GATE));
    let name = "support/first reply";
    let file = desk.file(
        "1.0.0.toml",
        "prompt = \"Answer {{question}} kindly.\"\nauthor = \"ann\"\ntags = [\"support\"]\n",
    );
    let registered = desk.good(&["register", name, &file]);
    has(
        &registered,
        &[
            "registered the new prompt support/first reply 1.0.0 (version 1) (revision ",
            "\n  labels: development, latest, staging\n",
            "\nto see to before it is deployed:\n  not_evaluated (evaluation): ",
            "`serin prompt evaluate 'support/first reply' 1.0.0 --cmd '<program>'`\n",
        ],
    );
    let again = desk.good(&["register", name, &file]);
    has(
        &again,
        &["1.0.0 (version 1) has this content already: no version was registered\n"],
    );

    let deploy = [
        "deploy",
        name,
        "1.0.0",
        "--environment",
        "production",
        "--reason",
        "go",
    ];
    let refused = desk.refused(&deploy);
    has(
        &refused,
        &[
            "error: version 1 of prompt `support/first reply` cannot be deployed to `production` (NOT_DEPLOYABLE); missing:\n",
            "\n  not_evaluated (evaluation): there is no evaluation of this content",
            "\n  review_missing (product): has no approval of kind product for this content\n    → have somebody other than \
             the author approve it as product: `serin prompt review 'support/first reply' 1.0.0 --kind product --approve`\n",
            "\n  review_missing (technical): ",
            "\nnothing was changed\n",
        ],
    );
    let cmd = r#"echo '{"score": 0.95, "threshold": 0.8, "cost_increase": 0}'"#;
    let evaluated = desk.good(&["evaluate", name, "1.0.0", "--cmd", cmd]);
    has(
        &evaluated,
        &[
            "evaluated support/first reply 1.0.0: passed with 0.95 of 0.8 asked for (revision ",
            "\nproduction: may not be deployed yet; missing:\n  review_missing (product): ",
            "\nstaging: may be deployed\n",
        ],
    );
    let review = |version: &str, kind: &str, reviewer: &str| {
        desk.run(&[
            "review",
            name,
            version,
            "--kind",
            kind,
            "--approve",
            "--reviewer",
            reviewer,
        ])
    };
    let own = review("1.0.0", "product", "ann");
    assert_eq!(own.code, 1);
    has(
        &own.errors,
        &["(OWN_VERSION)\nnext: have somebody else review it"],
    );
    has(
        &review("1.0.0", "product", "bea").out,
        &["approved support/first reply 1.0.0 as product, by bea (revision "],
    );
    has(
        &review("1", "technical", "cy").out,
        &["\nproduction: may be deployed\n"],
    );
    let deployed = desk.good(&deploy);
    has(
        &deployed,
        &["production serves support/first reply 1.0.0 (version 1) now (revision "],
    );

    // The next version comes through a pipe, and somebody has to accept what it asks of its callers.
    let mut piped = desk.command(&[
        "register", name, "-", "--bump", "minor", "--author", "bea", "-m", "a tone",
    ]);
    let mut child = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"Answer {{question}} in a {{tone}} tone.";
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    has(
        &String::from_utf8(output.stdout).unwrap(),
        &["registered support/first reply 1.1.0 (version 2) (revision "],
    );
    let shown = desk.json(&["show", name]);
    assert_eq!(
        shown["tags"],
        json!(["support"]),
        "who says nothing of tags takes none away"
    );
    desk.good(&["evaluate", name, "--version", "2", "--cmd", cmd]);
    for (kind, reviewer) in [("product", "ann"), ("technical", "cy")] {
        assert_eq!(review("2", kind, reviewer).code, 0);
    }
    let second = [
        "deploy",
        name,
        "--version",
        "1.1.0",
        "--environment",
        "production",
    ];
    let refused = desk.refused(&second);
    has(
        &refused,
        &[
            "\n  variable_added (tone): ",
            ": --accept 'variable_added:tone'\n",
        ],
    );
    assert!(!refused.contains("review_missing"), "{refused}");
    let accepting = [&second[..], &["--accept", "variable_added:tone"]].concat();
    has(
        &desk.good(&accepting),
        &[
            "production serves support/first reply 1.1.0 (version 2) now, version 1 before (revision ",
            "\n  accepted: variable_added (tone): ",
        ],
    );

    let back = desk.good(&["rollback", name, "--reason", "complaints"]);
    has(
        &back,
        &["production serves support/first reply 1.0.0 (version 1) again, version 2 before (revision "],
    );
    let nothing = desk.refused(&["rollback", name, "--reason", "more"]);
    has(
        &nothing,
        &["(NO_PREVIOUS_VERSION)\nnext: `serin prompt history 'support/first reply'` shows"],
    );

    let history = desk.good(&["history", name]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    has(
        lines[1],
        &["production   1.0.0    2       api  complaints", "rollback"],
    );
    has(
        lines[2],
        &["1.1.0    1       api  asked for on the command line  1 accepted"],
    );
    let told = desk.json(&["history", name]);
    let at = told["deployments"][1]["at"].as_str().unwrap();
    has(
        &desk.good(&["history", name, "--at", at]),
        &["production served support/first reply 1.1.0 (version 2)\n  deployed on "],
    );
    has(
        &desk.good(&["history", name, "--at", "2020-01-01T00:00:00Z"]),
        &["nothing of support/first reply was deployed on 2020-01-01 00:00:00 UTC\n"],
    );
    has(
        &desk.good(&["show", name, "--label", "production"]),
        &[
            "support/first reply 1.0.0 (version 1) – text\n",
            "\n  variables   question\n",
            "\nprompt\n  Answer {{question}} kindly.\n",
            ": 0.95 of 0.8 asked for, by api\n",
            " as technical, by cy\n",
        ],
    );
}

#[test]
fn a_program_is_told_everything_and_what_it_says_is_evidence() {
    let desk = Desk::open();
    let seen = desk.path("seen.json").display().to_string();
    let cases = desk.file("cases.ndjson", "{\"q\": \"one\"}\n{\"q\": \"two\"}\n");
    let program = format!(
        "cat > '{seen}'; echo 'progress 1/2' >&2; echo 'a word' >&2; echo 2/2 >&2\n\
         echo '{{\"score\": 0.7, \"threshold\": 0.8, \"compared_with\": \"1.0.0\", \"regressions\": [{{\"case\": \"one\"}}]}}'"
    );
    let evaluate = |more: &[&str]| {
        let arguments = [
            "evaluate",
            "greeting",
            "1.1.0",
            "--cmd",
            &program,
            "--examples",
            &cases,
        ];
        desk.run(&[&arguments, more].concat())
    };
    let dry = evaluate(&["--dry-run"]);
    assert_eq!((dry.code, dry.errors.as_str()), (0, "a word\n"), "{dry:?}");
    let bundle: Value = serde_json::from_str(&dry.out).unwrap();
    let known = desk.json(&["show", "greeting", "1.1.0"]);
    assert_eq!(bundle["digest"], known["resolved"]["digest"]);
    assert_eq!(desk.evaluations("1.1.0"), 0, "a dry run attaches nothing");
    let told: Value = serde_json::from_str(&fs::read_to_string(&seen).unwrap()).unwrap();
    let previous = desk.json(&["show", "greeting", "1.0.0"]);
    let of = |shown: &Value, version: u32, semver: &str| {
        json!({"name": "greeting", "version": version, "semver": semver, "digest": shown["resolved"]["digest"],
            "type": "text", "prompt": format!("Say hello, {semver}."), "config": {"model": "m"}, "variables": []})
    };
    let mut expected = of(&known, 2, "1.1.0");
    expected["previous"] = of(&previous, 1, "1.0.0");
    expected["examples"] = json!([{"q": "one"}, {"q": "two"}]);
    assert_eq!(told, expected);

    let attached = evaluate(&[]);
    assert_eq!(attached.code, 0);
    has(
        &attached.out,
        &[
            "evaluated greeting 1.1.0: failed with 0.7 of 0.8 asked for (revision ",
            "\n  cases that went worse than with 1.0.0: 1\n",
        ],
    );
    assert_eq!(desk.evaluations("1.1.0"), 1);

    // What is deployed is compared with nothing.
    let own = format!("cat > '{seen}'; echo '{{\"score\": 1, \"threshold\": 0}}'");
    desk.good(&["evaluate", "greeting", "1", "--cmd", &own]);
    let told: Value = serde_json::from_str(&fs::read_to_string(&seen).unwrap()).unwrap();
    assert_eq!(told["previous"], Value::Null);

    // A run that somebody else made.
    let written = desk.file(
        "run.json",
        r#"{"score": 0.9, "threshold": 0.8, "run": "https://ci.example/7"}"#,
    );
    let answer = desk.json(&["evaluate", "greeting", "2", "--bundle", &written]);
    assert_eq!((&answer["passed"], &answer["version"]), (&json!(true), &json!(2)));
}

#[test]
fn nothing_is_attached_when_a_program_does_not_do_its_part() {
    let desk = Desk::open();
    let other = format!(
        r#"echo '{{"score": 1, "threshold": 0, "digest": "{}"}}'"#,
        "0".repeat(64)
    );
    let cases: &[(&str, &str, &str)] = &[
        (
            "exit 3",
            "30m",
            "error: nothing was attached: the program failed: it ended with exit code 3\n",
        ),
        (
            "sleep 600",
            "200ms",
            "error: nothing was attached: the program took longer than 200ms and was ended",
        ),
        (
            "true",
            "30m",
            "the program's answer: is empty: write one JSON object with `score` and `threshold`",
        ),
        (
            "echo all good",
            "30m",
            "the program's answer: is not one JSON object (",
        ),
        (
            r#"echo '{"score": 92, "treshold": 1}'"#,
            "30m",
            "score: must be from 0 to 1, found 92",
        ),
        (&other, "30m", "is of content 000000000000…, and "),
        (
            r#"echo '{"score": 1, "threshold": 0, "compared_with": 9}'"#,
            "30m",
            "  compared_with: prompt `greeting` has no version 9\n",
        ),
    ];
    for (program, limit, expected) in cases {
        let told = desk.refused(&["evaluate", "greeting", "2", "--cmd", program, "--timeout", limit]);
        has(&told, &[expected]);
        assert_eq!(desk.evaluations("2"), 0, "{program}");
    }
    let broken = desk.file("cases.ndjson", "{}\n{\n");
    let told = desk.refused(&[
        "evaluate",
        "greeting",
        "2",
        "--cmd",
        "true",
        "--examples",
        &broken,
    ]);
    has(&told, &["cases.ndjson:2: not valid JSON: "]);
}

#[test]
fn a_difference_has_colours_where_somebody_looks() {
    let desk = Desk::open();
    let diff = ["diff", "greeting", "1.0.0", "production"];
    has(&desk.good(&diff), &["greeting: 1.0.0 and 1.0.0 do not differ\n"]);
    let diff = ["diff", "greeting", "1.0.0", "latest"];
    let plain = "--- 1.0.0\n+++ 1.1.0\n@@ -1,1 +1,1 @@\n-Say hello, 1.0.0.\n+Say hello, 1.1.0.\n";
    assert_eq!(desk.good(&diff), plain, "a pipe gets no colours");
    let with = |name: &str, value: &str| {
        let mut command = desk.command(&diff);
        command.env(name, value);
        Done::of(command).out
    };
    let coloured = with("CLICOLOR_FORCE", "1");
    has(&coloured, &["\u{1b}[31m-", "\u{1b}[7m\u{1b}[32m"]);
    assert_eq!(with("NO_COLOR", "1"), plain);
    let answer = desk.json(&diff);
    assert_eq!(answer["unified"], plain);
}

#[test]
fn lists_labels_tags_and_rendering() {
    let desk = Desk::open();
    let file = desk.file("order.md", "Where is {{order}}, {{name}}?\n");
    let registered = desk.good(&[
        "register",
        "order",
        &file,
        "--semver",
        "2.0.0",
        "--category",
        "shop",
        "--tag",
        "orders",
        "--label",
        "friendly",
    ]);
    has(
        &registered,
        &["the new prompt order 2.0.0 (version 1)", "friendly"],
    );
    let listed = desk.good(&["list", "--category", "shop"]);
    has(
        &listed,
        &[
            "order   text  shop      2.0.0          1  development 2.0.0, production 2.0.0, staging 2.0.0  friendly 1  orders",
        ],
    );
    assert!(!listed.contains("greeting"), "{listed}");
    assert_eq!(desk.good(&["list", "--tag", "none"]), "no prompts\n");

    let protected = desk.refused(&["label", "order", "production", "1"]);
    has(
        &protected,
        &["(LABEL_PROTECTED)\nnext: `serin prompt deploy order <version>"],
    );
    has(
        &desk.good(&["label", "order", "calm", "--version", "2.0.0"]),
        &["label calm of order names version 1 (revision "],
    );
    has(
        &desk.good(&["label", "order", "calm", "--delete"]),
        &["order has no label calm (revision "],
    );
    has(
        &desk.good(&["tags", "order", "a", "b"]),
        &["order has the tags a, b (revision "],
    );
    has(
        &desk.good(&["tags", "order", "--clear"]),
        &["order has no tags (revision "],
    );

    let rendered = desk.run(&["render", "order", "--var", "order=A=1", "--var", "odd=x"]);
    assert_eq!(rendered.out, "Where is A=1, {{name}}?\n");
    assert_eq!(
        (rendered.code, rendered.errors.as_str()),
        (
            0,
            "no value for name: give one with --var or --placeholder\nnothing asks for odd\n"
        )
    );
    assert_eq!(desk.run(&["render", "order", "--strict"]).code, 1);
    let complete = [
        "render", "order", "--label", "friendly", "--var", "order=1", "--var", "name=Ann", "--strict",
    ];
    assert_eq!(desk.good(&complete), "Where is 1, Ann?\n");
}

#[test]
fn every_refusal_says_what_is_next() {
    let desk = Desk::open();
    let unknown = desk.refused(&["show", "greting"]);
    has(
        &unknown,
        &[
            "error: prompt `greting` does not exist (PROMPT_NOT_FOUND)\nnext: `serin prompt list` shows what there is",
        ],
    );
    let version = desk.refused(&["deploy", "greeting", "9"]);
    has(
        &version,
        &["(VERSION_NOT_FOUND)\nnext: `serin prompt show greeting` lists its versions and labels\n"],
    );
    let label = desk.refused(&["show", "greeting", "--label", "calm"]);
    has(&label, &["(LABEL_NOT_FOUND)\nnext: "]);

    let file = desk.file("greeting.toml", "prompt = \"Say hello.\"\nautor = \"ann\"\n");
    let mistaken = desk.refused(&["register", "greeting", &file]);
    has(
        &mistaken,
        &["greeting.toml:2: autor: ", "\nnothing was registered\n"],
    );
    let good = desk.file("greeting.toml", "prompt = \"Say hello.\"\nauthor = \"ann\"\n");
    let immutable = desk.refused(&["register", "greeting", &good, "--semver", "1.0.0"]);
    has(
        &immutable,
        &["(VERSION_IMMUTABLE)\nnext: register it with --bump patch"],
    );
    let odd = desk.refused(&["register", "greeting", &desk.file("greeting.docx", "x")]);
    has(&odd, &["greeting.docx: ends in none of .toml, .json, .md"]);
    let named = desk.refused(&["register", "greeting", &good, "--label", "a b"]);
    has(&named, &["labels[0]: ", "\nnothing was registered\n"]);

    // A script goes by the document.
    let problem = desk.run(&["deploy", "greeting", "9", "--json"]);
    assert_eq!((problem.code, problem.errors.as_str()), (1, ""));
    let problem: Value = serde_json::from_str(&problem.out).unwrap();
    assert_eq!(problem["code"], "VERSION_NOT_FOUND");

    let usage = desk.run(&["deploy", "greeting", "newest"]);
    assert_eq!(usage.code, 2);
    has(
        &usage.errors,
        &["`newest` is neither a semver such as 1.1.0 nor a version number such as 2"],
    );
}
