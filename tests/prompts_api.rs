//! The prompt registry over HTTP, with the real program: what may be registered, reviewed, deployed and taken back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Reply, Server};
use serde_json::{Value, json};

const GATE: &str = "min_score = 0.9\nsegment_floors = { de = 0.85 }\nmax_cost_increase = 0.1\n\
    reviews = [\"product\", \"technical\"]";

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut client = server.control();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!(
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request.as_bytes());
    client.try_reply().unwrap()
}

/// A server that has one registry and nobody with a token.
struct Registry {
    server: Server,
}

impl Registry {
    fn open() -> Self {
        Self {
            server: House::new().start(),
        }
    }

    fn gated() -> Self {
        Self {
            server: House::new().set("environments.production", GATE).start(),
        }
    }

    fn get(&self, below: &str) -> Reply {
        self.server.control().get(&format!("/api/v1/prompts{below}"))
    }

    fn read(&self, below: &str) -> Value {
        let reply = self.get(below);
        assert_eq!(reply.status, 200, "{below}: {reply:?}");
        reply.json()
    }

    fn post(&self, below: &str, body: Value) -> Reply {
        ask(
            &self.server,
            "POST",
            &format!("/api/v1/prompts{below}"),
            &[],
            &body,
        )
    }

    fn put(&self, name: &str, body: Value) -> Reply {
        ask(
            &self.server,
            "PUT",
            &format!("/api/v1/prompts/{name}"),
            &[],
            &body,
        )
    }

    /// Registers a first version.
    fn create(&self, body: Value) -> Value {
        done(&self.post("", body), 201)
    }

    fn review(&self, version: &str, kind: &str, reviewer: &str) -> Reply {
        let body = json!({"kind": kind, "verdict": "approve", "reviewer": reviewer});
        self.post(&format!("/{version}/reviews"), body)
    }
}

fn done(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{reply:?}");
    reply.json()
}

/// `code:place` of each finding.
fn findings(list: &Value) -> Vec<String> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let list = list.as_array().unwrap_or_else(|| panic!("{list}"));
    list.iter()
        .map(|finding| format!("{}:{}", word(finding, "code"), word(finding, "place")))
        .collect()
}

fn fields(problem: &Value) -> Vec<&str> {
    let problems = problem["problems"].as_array().unwrap();
    let mut fields: Vec<&str> = problems
        .iter()
        .map(|problem| problem["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    fields
}

#[test]
fn a_version_goes_through_its_gate_and_comes_back() {
    let registry = Registry::gated();
    let first = registry.post(
        "",
        json!({
            "name": "support/reply", "type": "text", "prompt": "Answer {{question}} kindly.", "semver": "1.0.0",
            "config": {"model": "m", "temperature": 0.2}, "limitations": "no tables", "author": "ann",
            "commit_message": "the first", "tags": ["support"], "category": "answers",
            "source": {"git_commit": "0123456789abcdef", "path": "prompts/reply.toml", "at": "2026-11-01T00:00:00Z"},
        }),
    );
    assert_eq!(first.headers["location"], "/api/v1/prompts/support%2Freply");
    let first = done(&first, 201);
    assert_eq!(
        (
            &first["version"],
            &first["semver"],
            &first["created"],
            &first["labels"]
        ),
        (
            &json!(1),
            &json!("1.0.0"),
            &json!(true),
            &json!(["development", "latest", "staging"])
        )
    );

    // Everything that is missing is told, at every step a little less.
    let deploy = |body: Value| registry.post("/support/reply/deploy", body);
    let refused = deploy(json!({"version": "1.0.0"})).check_problem(409, "NOT_DEPLOYABLE");
    let missing = [
        "not_evaluated:evaluation",
        "review_missing:product",
        "review_missing:technical",
    ];
    assert_eq!(findings(&refused["missing"]), missing);
    assert_eq!(findings(&first["findings"]), missing);
    let evaluate = |version: &str, body: Value| {
        registry.post(&format!("/support/reply/versions/{version}/evaluation"), body)
    };
    let failed = done(&evaluate("1", json!({"score": 0.5, "threshold": 0.8})), 201);
    assert_eq!(failed["passed"], false);
    assert_eq!(
        findings(&failed["gates"]["production"]["missing"])[..2],
        ["score_too_low:score", "segment_not_evaluated:de"]
    );
    let good =
        json!({"score": 0.95, "threshold": 0.8, "segments": {"de": {"score": 0.9}}, "cost_increase": 0});
    let passed = done(&evaluate("1.0.0", good.clone()), 201);
    assert_eq!(
        (
            &passed["passed"],
            &passed["gates"]["production"]["passes"],
            &passed["gates"]["staging"]["passes"]
        ),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(findings(&passed["gates"]["production"]["missing"]), missing[1..]);
    assert_eq!(
        done(&evaluate("1.0.0", good.clone()), 200)["digest"],
        passed["digest"]
    );
    let other = json!({"score": 0.95, "threshold": 0.8, "digest": "0".repeat(64)});
    evaluate("1.0.0", other).check_problem(409, "OTHER_CONTENT");

    let review = |kind: &str, reviewer: &str| registry.review("support/reply/versions/1.0.0", kind, reviewer);
    review("product", " Ann").check_problem(409, "OWN_VERSION");
    review("product", "api").check_problem(409, "OWN_VERSION");
    done(&review("product", "bea"), 201);
    review("technical", "Bea").check_problem(409, "SAME_REVIEWER");
    let reviewed = done(&review("technical", "cy"), 201);
    assert_eq!(reviewed["reviewer"], "cy");
    assert_eq!(
        reviewed["gates"]["production"],
        json!({"passes": true, "missing": []})
    );

    let back = |body: Value| registry.post("/support/reply/rollback", body);
    let because = json!({"reason": "complaints"});
    back(because.clone()).check_problem(409, "NO_PREVIOUS_VERSION");
    let deployed = done(&deploy(json!({"version": 1, "reason": "go"})), 200);
    assert_eq!(
        (
            &deployed["environment"],
            &deployed["version"],
            &deployed["previous"],
            &deployed["accepted"]
        ),
        (&json!("production"), &json!(1), &json!(null), &json!([]))
    );
    assert_eq!(deployed["digest"], passed["digest"]);
    back(because.clone()).check_problem(409, "NO_PREVIOUS_VERSION");

    // The next version asks more of its callers and costs more, which somebody has to accept.
    let second = json!({"prompt": "Answer {{question}} in a {{tone}} tone.", "bump": "minor", "author": "bea", "config": {"model": "m"}});
    let second = done(&registry.put("support/reply", second), 201);
    assert_eq!(
        (&second["version"], &second["semver"]),
        (&json!(2), &json!("1.1.0"))
    );
    let digest = registry.read("/support/reply?version=1.1.0")["resolved"]["digest"].clone();
    let evidence = json!({
        "score": 0.97, "threshold": 0.8, "segments": {"de": {"score": 0.9, "cases": 40}}, "cost_increase": 0.5,
        "compared_with": "1.0.0", "digest": digest,
    });
    done(&evaluate("1.1.0", evidence), 201);
    for (kind, reviewer) in [("product", "ann"), ("technical", "cy")] {
        let given = registry.review("support/reply/versions/2", kind, reviewer);
        assert_eq!(given.status, 201, "{given:?}");
    }
    let refused = deploy(json!({"version": "1.1.0"})).check_problem(409, "NOT_DEPLOYABLE");
    assert_eq!(
        findings(&refused["missing"]),
        ["variable_added:tone", "cost_increase:cost_increase"]
    );
    let accept = ["variable_added:tone", "cost_increase"];
    let deployed = done(
        &deploy(json!({"version": "1.1.0", "accept": accept, "environment": "production"})),
        200,
    );
    assert_eq!(
        (
            &deployed["previous"],
            deployed["accepted"].as_array().unwrap().len()
        ),
        (&json!(1), 2)
    );

    // A rollback takes everybody along, those of a live experiment too.
    let experiment = json!({
        "id": "tone", "prompt": "support/reply", "unit": "user",
        "variants": [{"name": "a", "version": "1.0.0", "weight": 1}, {"name": "b", "version": "1.1.0", "weight": 1}],
        "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase", "primary": true}],
    });
    let experiments = |path: &str, body: &Value| ask(&registry.server, "POST", path, &[], body);
    done(&experiments("/api/v1/experiments", &experiment), 201);
    done(&experiments("/api/v1/experiments/tone/start", &json!({})), 200);
    back(json!({})).check_problem(422, "REASON_REQUIRED");
    back(json!({"reason": "x", "target_version": 9})).check_problem(404, "VERSION_NOT_FOUND");
    let rolled_back = done(&back(because.clone()), 200);
    assert_eq!(
        (
            &rolled_back["version"],
            &rolled_back["previous"],
            &rolled_back["frozen"]
        ),
        (&json!(1), &json!(2), &json!(["tone"]))
    );
    assert_eq!(registry.server.state("tone"), "frozen");
    for user in 0..20 {
        let body = json!({"prompt": "support/reply", "context": {"user": format!("u-{user}")}});
        assert_eq!(registry.server.data().ok("/v1/decide", &body)["version"], 1);
    }
    let never = json!({"prompt": "Answer {{question}} at once.", "semver": "2.0.0"});
    done(&registry.put("support/reply", never), 201);
    back(json!({"reason": "x", "target_version": "2.0.0"})).check_problem(409, "NEVER_DEPLOYED");

    // What was running when.
    let history = registry.read("/support/reply/deployments");
    let column = |key: &str| -> Vec<Value> {
        let all = history["deployments"].as_array().unwrap();
        all.iter().map(|deployment| deployment[key].clone()).collect()
    };
    assert_eq!(column("version"), [1, 2, 1]);
    assert_eq!(column("previous"), [json!(2), json!(1), json!(null)]);
    assert_eq!(column("rollback"), [true, false, false]);
    assert_eq!(column("reason"), ["complaints", "", "go"]);
    assert_eq!(column("actor"), ["api", "api", "api"]);
    assert_eq!(history["running"], history["deployments"][0]);
    let at = column("at")[1].as_str().unwrap().to_owned();
    let then = registry.read(&format!(
        "/support/reply/deployments?environment=production&at={at}"
    ));
    assert_eq!(then["running"]["semver"], "1.1.0");
    let before = registry.read("/support/reply/deployments?at=2020-01-01T00:00:00Z");
    assert_eq!(before["running"], json!(null));
    let wrong = registry.get("/support/reply/deployments?at=noon&environment=a%20b");
    assert_eq!(
        fields(&wrong.check_problem(400, "BAD_QUERY")),
        ["at", "environment"]
    );

    let read = registry.read("/support/reply?label=production");
    assert_eq!(
        (
            &read["version"],
            &read["author"],
            &read["registered_by"],
            &read["limitations"]
        ),
        (&json!(1), &json!("ann"), &json!("api"), &json!("no tables"))
    );
    let source = json!({"kind": "git", "git_commit": "0123456789abcdef", "path": "prompts/reply.toml", "at": "2026-11-01T00:00:00Z"});
    assert_eq!(read["source"], source);
    assert_eq!(
        (
            read["evaluations"].as_array().unwrap().len(),
            &read["evaluations"][1]["passed"]
        ),
        (2, &json!(true))
    );
    assert_eq!(
        (&read["reviews"][0]["reviewer"], &read["reviews"][0]["current"]),
        (&json!("bea"), &json!(true))
    );
    assert_eq!(
        (&read["variables"], &read["versions"][1]["semver"]),
        (&json!(["question"]), &json!("1.1.0"))
    );
    registry.server.check_healthy();
}

#[test]
fn versions_are_read_compared_and_listed() {
    let registry = Registry::open();
    let version = |prompt: &str, semver: &str, temperature: f64| json!({"name": "a b/c", "prompt": prompt, "semver": semver, "config": {"t": temperature}, "tags": ["x"], "category": "k"});
    registry.create(version("one\ntwo {{v}}\n", "1.0.0", 0.2));
    done(
        &registry.put("a%20b/c", version("one\nthree {{v}}\n", "1.1.0", 0.4)),
        201,
    );
    let diff = registry.read("/a%20b/c/diff?from=1.0.0&to=latest");
    assert_eq!((&diff["from"], &diff["to"]), (&json!("1.0.0"), &json!("1.1.0")));
    assert_eq!(
        diff["unified"],
        "--- 1.0.0\n+++ 1.1.0\n@@ -1,2 +1,2 @@\n one\n-two {{v}}\n+three {{v}}\n--- 1.0.0 config\n+++ 1.1.0 config\n\
         @@ -1,3 +1,3 @@\n {\n-  \"t\": 0.2\n+  \"t\": 0.4\n }\n"
    );
    assert_eq!(diff["content"]["hunks"][0]["lines"].as_array().unwrap().len(), 3);
    assert_eq!(registry.read("/a%20b/c/diff?from=1&to=1.0.0")["unified"], "");
    registry
        .get("/a%20b/c/diff?from=1")
        .check_problem(400, "BAD_QUERY");
    registry
        .get("/a%20b/c/diff?from=1&to=7")
        .check_problem(404, "VERSION_NOT_FOUND");
    registry
        .get("/a%20b/c/diff?from=1&to=none")
        .check_problem(404, "LABEL_NOT_FOUND");

    for (query, expected) in [
        ("", 2),
        ("?version=1", 1),
        ("?version=1.0.0", 1),
        ("?label=production", 1),
    ] {
        assert_eq!(
            registry.read(&format!("/a%20b/c{query}"))["version"],
            expected,
            "{query}"
        );
    }
    for (query, status, code) in [
        ("?version=1&label=x", 400, "BAD_QUERY"),
        ("?version=one", 400, "BAD_QUERY"),
        ("?verion=1", 400, "BAD_QUERY"),
        ("?version=3", 404, "VERSION_NOT_FOUND"),
        ("?label=x", 404, "LABEL_NOT_FOUND"),
    ] {
        registry
            .get(&format!("/a%20b/c{query}"))
            .check_problem(status, code);
    }
    registry.get("/nothing").check_problem(404, "PROMPT_NOT_FOUND");

    let names = |query: &str| -> Vec<String> {
        let list = registry.read(query);
        let prompts = list["prompts"].as_array().unwrap();
        prompts
            .iter()
            .map(|prompt| prompt["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(""), ["a b/c", "greeting"]);
    for query in ["?category=k", "?tag=x", "?name=A%20B", "?label=latest&tag=x"] {
        assert_eq!(names(query), ["a b/c"], "{query}");
    }
    assert_eq!(names("?tag=x&category=other"), [""; 0]);
    let listed = registry.read("?tag=x")["prompts"][0].clone();
    assert_eq!(listed["latest"], json!({"version": 2, "semver": "1.1.0"}));
    assert_eq!(
        listed["deployed"]["production"],
        json!({"version": 1, "semver": "1.0.0"})
    );
    assert_eq!(
        (&listed["versions"], &listed["type"], &listed["drifted"]),
        (&json!(2), &json!("text"), &json!([]))
    );
    registry.get("?labels=x").check_problem(400, "BAD_QUERY");
}

#[test]
fn labels_move_and_environments_are_deployed_to() {
    let registry = Registry::open();
    let first =
        registry.create(json!({"name": "p", "prompt": "Hi {{a}}", "labels": ["friendly", "production"]}));
    assert_eq!(
        first["labels"],
        json!(["development", "friendly", "latest", "production", "staging"])
    );
    let second = json!({"prompt": "Hi {{a}} {{b}}", "labels": ["short"]});
    assert_eq!(
        done(&registry.put("p", second.clone()), 201)["labels"],
        json!(["latest", "short"])
    );
    let label = |body: Value| registry.post("/p/labels", body);
    let moved = done(
        &label(json!({"label": "friendly", "version": 2, "reason": "shorter"})),
        200,
    );
    assert_eq!(moved["version"], 2);
    label(json!({"label": "production", "version": 2})).check_problem(409, "LABEL_PROTECTED");
    label(json!({"label": "latest", "version": 1})).check_problem(409, "LABEL_MANAGED");
    label(json!({"label": "friendly", "version": 3})).check_problem(404, "VERSION_NOT_FOUND");
    let wrong = label(json!({"label": "a b", "verson": 1})).check_problem(422, "INVALID_BODY");
    assert_eq!(fields(&wrong), ["label", "version", "verson"]);
    assert_eq!(
        done(&label(json!({"label": "short", "version": null})), 200)["version"],
        json!(null)
    );
    assert_eq!(registry.read("")["prompts"][1]["labels"], json!({"friendly": 2}));

    // The same content with more labels is the same version with more labels.
    let again = json!({"prompt": "Hi {{a}} {{b}}", "labels": ["short", "again"]});
    let again = done(&registry.put("p", again), 200);
    assert_eq!(
        (&again["created"], &again["version"], &again["labels"]),
        (
            &json!(false),
            &json!(2),
            &json!(["again", "friendly", "latest", "short"])
        )
    );

    // What a label deploys is refused or accepted with the registration.
    let third = |accept: &[&str]| json!({"prompt": "Hi {{c}}", "labels": ["friendly", "production", "staging"], "accept": accept});
    let refused = registry.put("p", third(&[])).check_problem(409, "NOT_DEPLOYABLE");
    assert_eq!(
        findings(&refused["missing"]),
        ["variable_added:c", "variable_removed:a"]
    );
    let read = registry.read("/p");
    assert_eq!(
        (&read["version"], &read["labels"]),
        (&json!(2), &again["labels"]),
        "nothing was registered"
    );
    registry
        .put("p", json!({"prompt": "x", "labels": ["latest"]}))
        .check_problem(409, "LABEL_MANAGED");
    let third = done(
        &registry.put("p", third(&["variable_added", "variable_removed"])),
        201,
    );
    assert_eq!(
        third["labels"],
        json!(["friendly", "latest", "production", "staging"])
    );
    assert_eq!(registry.read("/p/deployments")["running"]["version"], 3);

    let tags = done(&registry.post("/p/tags", json!({"tags": ["x", "y"]})), 200);
    assert_eq!(tags["tags"], json!(["x", "y"]));
    registry
        .post("/p/tags", json!({"tags": [""]}))
        .check_problem(422, "INVALID_PROMPT");
    registry
        .post("/p/tags", json!({"tag": []}))
        .check_problem(422, "INVALID_BODY");

    let chat =
        json!([{"role": "system", "content": "Be {{tone}}."}, {"type": "placeholder", "name": "past"}]);
    registry.create(json!({"name": "chat", "type": "chat", "prompt": chat}));
    let values = json!({"variables": {"tone": "kind", "x": "y"}, "placeholders": {"past": [{"role": "user", "content": "hi {{tone}}"}]}});
    let rendered = done(&registry.post("/chat/render", values), 200);
    assert_eq!(
        (&rendered["missing"], &rendered["unused"]),
        (&json!([]), &json!(["x"]))
    );
    assert_eq!(
        (
            &rendered["prompt"][0]["content"],
            &rendered["prompt"][1]["content"]
        ),
        (&json!("Be kind."), &json!("hi {{tone}}"))
    );
    let rendered = done(&registry.post("/chat/render", json!({"version": 1})), 200);
    assert_eq!(rendered["missing"], json!(["past", "tone"]));
    registry
        .post("/chat/render", json!({"variables": {"tone": 1}}))
        .check_problem(422, "INVALID_BODY");
}

#[test]
fn prompts_inside_prompts_are_resolved_and_drift() {
    let registry = Registry::open();
    let missing = json!({"name": "whole", "prompt": "A @@@langfusePrompt:name=part|label=friendly@@@ Z"});
    let refused = registry
        .post("", missing.clone())
        .check_problem(409, "COMPOSITION_REFUSED");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("label `friendly` of prompt `part`"),
        "{refused}"
    );
    registry.create(json!({"name": "part", "prompt": "one {{v}}", "labels": ["friendly"]}));
    let whole = registry.create(missing);
    let read = registry.read("/whole");
    assert_eq!(
        (&read["resolved"]["prompt"], &read["variables"]),
        (&json!("A one {{v}} Z"), &json!(["v"]))
    );
    assert_eq!(
        read["resolved"]["graph"][0]["child"],
        json!({"prompt": "part", "version": 1})
    );
    assert_ne!(read["resolved"]["digest"], whole["digest"]);
    let cycle = json!({"prompt": "@@@langfusePrompt:name=whole|version=1@@@"});
    let refused = registry
        .put("part", cycle)
        .check_problem(409, "COMPOSITION_REFUSED");
    assert!(refused["detail"].as_str().unwrap().contains("→"), "{refused}");
    let chat = json!({"name": "talk", "prompt": [{"role": "user", "content": "x"}]});
    registry.create(chat);
    let of_chat = json!({"name": "other", "prompt": "@@@langfusePrompt:name=talk|version=1@@@"});
    registry
        .post("", of_chat)
        .check_problem(409, "COMPOSITION_REFUSED");

    // The label moves: what is served stays, and the list says so.
    done(
        &registry.put("part", json!({"prompt": "two {{v}}", "labels": ["friendly"]})),
        201,
    );
    let drifted = registry.read("/whole")["drifted"].clone();
    let environments: Vec<&str> = drifted
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["environment"].as_str().unwrap())
        .collect();
    assert_eq!(environments, ["development", "production", "staging"]);
    assert_eq!(
        drifted[0]["moved"],
        json!([{"prompt": "part", "label": "friendly", "then": 1, "now": 2}])
    );
    assert_eq!(drifted[0]["deployed"], read["resolved"]["digest"]);
    let list = registry.read("?name=whole");
    assert_eq!(list["prompts"][0]["drifted"], drifted);
    let asked = json!({"prompt": "whole", "context": {}, "content": true});
    assert_eq!(
        registry.server.data().ok("/v1/decide", &asked)["content"]["prompt"],
        "A one {{v}} Z"
    );
    let deployed = done(&registry.post("/whole/deploy", json!({"version": 1})), 200);
    assert_eq!(
        (&deployed["previous"], &deployed["digest"]),
        (&json!(1), &drifted[1]["now"])
    );
    assert_eq!(registry.read("/whole")["drifted"].as_array().unwrap().len(), 2);
    let rendered = done(
        &registry.post("/whole/render", json!({"variables": {"v": "x"}})),
        200,
    );
    assert_eq!(rendered["prompt"], "A two x Z");
    done(
        &registry.put(
            "whole",
            json!({"prompt": "B @@@langfusePrompt:name=part|version=1@@@"}),
        ),
        201,
    );
    let diff = registry.read("/whole/diff?from=1&to=2&resolved=true");
    assert_eq!(
        diff["content"]["unified"],
        "--- 1\n+++ 2\n@@ -1,1 +1,1 @@\n-A two {{v}} Z\n+B one {{v}}\n"
    );
}

#[test]
fn bad_registrations_change_nothing() {
    let registry = Registry::open();
    registry.create(json!({"name": "p", "prompt": "a", "semver": "1.0.0"}));
    let entries = registry.server.audit().len();
    let put = |body: Value| registry.put("p", body);
    put(json!({"prompt": "b", "semver": "1.0.0"})).check_problem(409, "VERSION_IMMUTABLE");
    put(json!({"prompt": "b", "semver": "1.0.0+build"})).check_problem(409, "VERSION_IMMUTABLE");
    put(json!({"prompt": [{"role": "user", "content": "b"}]})).check_problem(409, "PROMPT_TYPE_FIXED");
    registry
        .post("", json!({"name": "p", "prompt": "b"}))
        .check_problem(409, "PROMPT_EXISTS");
    registry
        .put("q", json!({"prompt": "b"}))
        .check_problem(404, "PROMPT_NOT_FOUND");
    let wrong = put(json!({
        "name": "q", "type": "chat", "prompt": "b", "bump": "minor", "semver": "2.0.0", "tags": [1], "labels": "x", "comit": 1,
    }));
    let wrong = wrong.check_problem(422, "INVALID_PROMPT");
    assert_eq!(
        fields(&wrong),
        ["bump", "comit", "labels", "name", "tags[0]", "type"]
    );
    put(json!({"prompt": "key AKIAIOSFODNN7EXAMPLE", "prompt2": 1})).check_problem(422, "INVALID_PROMPT");
    put(json!({"prompt": "@@@langfusePrompt:name=p@@@"})).check_problem(422, "INVALID_PROMPT");
    put(Value::Null).check_problem(400, "BAD_JSON");
    put(json!([])).check_problem(422, "INVALID_BODY");
    for (below, code) in [
        ("/p/versions/7/evaluation", "VERSION_NOT_FOUND"),
        ("/p/versions/x/reviews", "VERSION_NOT_FOUND"),
        ("/q/versions/1/evaluation", "PROMPT_NOT_FOUND"),
        ("/q/deploy", "PROMPT_NOT_FOUND"),
        ("/q/rollback", "PROMPT_NOT_FOUND"),
        ("/q/render", "PROMPT_NOT_FOUND"),
    ] {
        registry.post(below, json!({})).check_problem(404, code);
    }
    let wrong = registry.post(
        "/p/versions/1/reviews",
        json!({"kind": "both", "verdict": "approve"}),
    );
    assert_eq!(
        fields(&wrong.check_problem(422, "INVALID_BODY")),
        ["kind", "reviewer"]
    );
    let silent = json!({"kind": "product", "verdict": "reject", "reviewer": "bea"});
    registry
        .post("/p/versions/1/reviews", silent)
        .check_problem(422, "INVALID_PROMPT");
    let wrong = registry.post(
        "/p/versions/1/evaluation",
        json!({"score": 92, "compared_with": 9}),
    );
    assert_eq!(
        fields(&wrong.check_problem(422, "INVALID_BODY")),
        ["score", "threshold"]
    );
    let wrong = registry.post("/p/deploy", json!({"environment": "a b", "accept": "all"}));
    assert_eq!(
        fields(&wrong.check_problem(422, "INVALID_BODY")),
        ["accept", "environment", "version"]
    );
    assert_eq!(registry.server.audit().len(), entries);
    registry.server.check_healthy();
}

#[test]
fn a_request_that_comes_again_is_done_once() {
    let registry = Registry::open();
    let send = |method: &str, path: &str, key: &str, body: &Value| {
        ask(&registry.server, method, path, &[("idempotency-key", key)], body)
    };
    let body = json!({"name": "p", "prompt": "a", "labels": ["friendly"]});
    let first = send("POST", "/api/v1/prompts", "k-1", &body);
    let again = send("POST", "/api/v1/prompts", "k-1", &body);
    assert_eq!((first.status, again.status), (201, 201), "{again:?}");
    assert_eq!(first.json(), again.json());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({"name": "p", "prompt": "b"});
    send("POST", "/api/v1/prompts", "k-1", &other).check_problem(422, "IDEMPOTENCY_KEY_REUSED");
    let next = json!({"prompt": "b", "bump": "patch"});
    let first = done(&send("PUT", "/api/v1/prompts/p", "k-2", &next), 201);
    done(&registry.put("p", json!({"prompt": "c"})), 201);
    let again = done(&send("PUT", "/api/v1/prompts/p", "k-2", &next), 201);
    assert_eq!(
        (&again["version"], &again["revision"]),
        (&first["version"], &first["revision"])
    );
    assert_eq!(registry.read("/p")["version"], 3, "registered once");
    let deploy = |key: &str| {
        done(
            &send("POST", "/api/v1/prompts/p/deploy", key, &json!({"version": 2})),
            200,
        )
    };
    let first = deploy("k-3");
    done(&registry.post("/p/deploy", json!({"version": 3})), 200);
    assert_eq!(deploy("k-3"), first);
    assert_eq!(registry.read("/p/deployments")["running"]["version"], 3);
}

#[test]
fn who_replaces_what_users_get_is_an_operator() {
    let house = House::new();
    let token = |role: &str| {
        let made = house
            .command(&["token", "--json", role, "--role", role])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&made.stdout).unwrap()
    };
    let tokens = ["viewer", "experimenter", "operator"].map(|role| (role, token(role)));
    let entries: Vec<&str> = tokens
        .iter()
        .map(|(_, token)| token["entry"].as_str().unwrap())
        .collect();
    let line = format!("tokens = [{}]", entries.join(", "));
    let bearers = tokens
        .clone()
        .map(|(role, token)| (role, format!("Bearer {}", token["token"].as_str().unwrap())));
    let server = house.set("auth", &line).start();
    let by = |role: &str, method: &str, below: &str, body: Value| {
        let (_, bearer) = bearers.iter().find(|(known, _)| *known == role).unwrap();
        let path = format!("/api/v1/prompts{below}");
        ask(&server, method, &path, &[("authorization", bearer)], &body)
    };
    let version = |text: &str, labels: &[&str]| json!({"name": "p", "prompt": text, "labels": labels});
    by("viewer", "POST", "", version("a", &[])).check_problem(403, "FORBIDDEN");
    done(
        &by("experimenter", "POST", "", version("a", &["production"])),
        201,
    );
    let next = version("b", &["production"]);
    by("experimenter", "PUT", "/p", next.clone()).check_problem(403, "FORBIDDEN");
    done(&by("experimenter", "PUT", "/p", version("b", &["friendly"])), 201);
    by("experimenter", "PUT", "/p", next.clone()).check_problem(403, "FORBIDDEN");
    by("experimenter", "POST", "/p/deploy", json!({"version": 2})).check_problem(403, "FORBIDDEN");
    assert_eq!(done(&by("operator", "PUT", "/p", next), 200)["created"], false);
    let back = done(
        &by(
            "experimenter",
            "POST",
            "/p/rollback",
            json!({"reason": "odd answers"}),
        ),
        200,
    );
    assert_eq!((&back["version"], &back["frozen"]), (&json!(1), &json!([])));
    by("viewer", "POST", "/p/rollback", json!({"reason": "x"})).check_problem(403, "FORBIDDEN");
    for look in ["", "/p", "/p/diff?from=1&to=2", "/p/deployments"] {
        done(&by("viewer", "GET", look, Value::Null), 200);
    }
    done(&by("viewer", "POST", "/p/render", json!({})), 200);

    // A review is by whoever sends it.
    let review = json!({"kind": "product", "verdict": "approve"});
    let named = |reviewer: &str| json!({"kind": "product", "verdict": "approve", "reviewer": reviewer});
    by("experimenter", "POST", "/p/versions/2/reviews", review.clone()).check_problem(409, "OWN_VERSION");
    by("operator", "POST", "/p/versions/2/reviews", named("bea")).check_problem(403, "OTHER_REVIEWER");
    let given = done(&by("operator", "POST", "/p/versions/2/reviews", review), 201);
    assert_eq!(given["reviewer"], "operator");
    done(
        &by("operator", "POST", "/p/versions/2/reviews", named("operator")),
        200,
    );
}
