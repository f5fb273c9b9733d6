//! Prompts as other clients fetch them, over HTTP with the real program: addresses, queries, credentials, refusals, and
//! that what is deployed is what is handed out, whatever moved inside it since.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use process::{Client, House, Reply, Server, until, write};
use serde_json::{Value, json};

const BASE: &str = "/api/public/v2/prompts";

fn get(server: &Server, path: &str) -> Value {
    server.data().get_json(&format!("{BASE}{path}"))
}

/// It is an error in the shape that clients read.
fn check_refused(reply: &Reply, status: u16, error: &str) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/json");
    let body = reply.json();
    assert_eq!(body["error"], error, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

fn with_authorization(server: &Server, path: &str, value: &str) -> Reply {
    let mut client = Client::connect(server.data);
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nauthorization: {value}\r\n\r\n");
    client.send(request.as_bytes());
    client.try_reply().unwrap()
}

fn text(house: &House, name: &str, version: &str, text: &str, more: &str) {
    let text = format!("prompt = {}\n{more}\n", json!(text));
    write(&house.prompt_path(name, version), text);
}

/// `tone` is included by `reply` in two ways.
fn composed() -> House {
    let house = House::new();
    text(&house, "tone", "1.0.0", "Be kind.", "");
    let both = "@@@langfusePrompt:name=tone|version=1@@@ @@@langfusePrompt:name=tone|label=production@@@";
    text(&house, "reply", "1.0.0", both, "[config]\nmodel = \"m\"");
    house
}

#[test]
fn every_field_is_there() {
    let house = House::new();
    let more =
        "commit_message = \"softer\"\nauthor = \"ada\"\ntags = [\"b\", \"a\"]\n[config]\ntemperature = 0.5";
    text(
        &house,
        "support/first reply é",
        "1.0.0",
        "Hi, {{name}} \"é\"",
        more,
    );
    let server = house.start();
    let found = get(&server, "/support%2Ffirst%20reply%20%C3%A9");
    let mut known = found.clone();
    for moment in ["createdAt", "updatedAt"] {
        let at = known.as_object_mut().unwrap().remove(moment).unwrap();
        // Three decimals: some clients read no more than six.
        let at = at.as_str().unwrap();
        assert!(
            at.len() == "2026-12-01T00:00:00.000Z".len() && at.ends_with('Z'),
            "{at}"
        );
    }
    let digest = known.as_object_mut().unwrap().remove("digest").unwrap();
    assert_eq!(digest.as_str().unwrap().len(), 64);
    assert_eq!(
        known,
        json!({"id": "support/first reply é:1", "projectId": "serin", "name": "support/first reply é", "version": 1,
            "type": "text", "prompt": "Hi, {{name}} \"é\"", "config": {"temperature": 0.5},
            "labels": ["development", "latest", "production", "staging"], "tags": ["b", "a"],
            "commitMessage": "softer", "resolutionGraph": null, "isActive": true, "createdBy": "ada",
            "semver": "1.0.0"})
    );
    assert_eq!(get(&server, "/support/first%20reply%20%C3%A9?version=1"), found);
    let head = "HEAD /api/public/v2/prompts/greeting HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let mut client = server.data();
    client.send(head.as_bytes());
    let head = String::from_utf8(client.rest()).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn what_is_not_there_is_told_in_json() {
    let server = House::new().start();
    let refused = |path: &str, status, error| check_refused(&server.data().get(path), status, error);
    let missing = |path: &str| refused(&format!("{BASE}{path}"), 404, "LangfuseNotFoundError");
    for (path, message) in [
        ("/none", "Prompt not found: 'none' with label 'production'"),
        ("/greeting?label=x", "Prompt not found: 'greeting' with label 'x'"),
        (
            "/greeting?version=3",
            "Prompt not found: 'greeting' with version 3",
        ),
        (
            "/greeting?version=0",
            "Prompt not found: 'greeting' with version 0",
        ),
        (
            "/greeting?version=4294967297",
            "Prompt not found: 'greeting' with version 4294967297",
        ),
        ("/", "Prompt not found: '' with label 'production'"),
    ] {
        assert_eq!(missing(path), message);
    }
    for query in ["version=1&label=production", "version=1.0.0", "resolve=maybe"] {
        refused(&format!("{BASE}/greeting?{query}"), 400, "InvalidRequestError");
    }
    for query in ["page=0", "limit=101", "limit=x", "fromUpdatedAt=yesterday"] {
        refused(&format!("{BASE}?{query}"), 400, "InvalidRequestError");
    }
    refused(&format!("{BASE}/%FF"), 400, "InvalidRequestError");
    refused("/api/public/otel/v1/traces", 404, "LangfuseNotFoundError");
    let posted = server.data().post(BASE, &json!({"name": "x", "prompt": "y"}));
    check_refused(&posted, 405, "MethodNotAllowedError");
    assert_eq!(posted.headers["allow"], "GET, HEAD");
    let counted = server.metric("serin_http_requests_total{code=\"404\"}");
    assert_eq!(counted, Some(7.0), "counted like every other answer");
}

#[test]
fn the_list_has_pages_and_filters() {
    let house = House::new();
    for name in ["d", "b", "a/x", "c"] {
        text(&house, name, "1.0.0", "x", "tags = [\"t\"]\n[config]\nn = 1");
    }
    text(&house, "c", "1.1.0", "y", "tags = [\"u\"]\n[config]\nn = 2");
    let server = house.start();
    let names = |query: &str| {
        let page = get(&server, query);
        let data = page["data"].as_array().unwrap().iter();
        let names: Vec<String> = data
            .map(|meta| meta["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), page["meta"].clone())
    };
    let meta = |page: u32, limit: u32, items: u32, pages: u32| json!({"page": page, "limit": limit, "totalItems": items, "totalPages": pages});
    for (query, expected, meta) in [
        ("", "a/x b c d greeting", meta(1, 50, 5, 1)),
        ("?limit=2", "a/x b", meta(1, 2, 5, 3)),
        ("?limit=2&page=2", "c d", meta(2, 2, 5, 3)),
        ("?limit=2&page=3", "greeting", meta(3, 2, 5, 3)),
        ("?limit=2&page=4", "", meta(4, 2, 5, 3)),
        ("?page=18446744073709551615", "", meta_of_last(5)),
        ("?tag=t", "a/x b d", meta(1, 50, 3, 1)),
        ("?name=c", "c", meta(1, 50, 1, 1)),
        ("?name=zzz", "", meta(1, 50, 0, 0)),
        ("?label=production&tag=u", "c", meta(1, 50, 1, 1)),
        ("?label=nowhere", "", meta(1, 50, 0, 0)),
        (
            "?fromUpdatedAt=2020-01-01T00:00:00Z",
            "a/x b c d greeting",
            meta(1, 50, 5, 1),
        ),
        ("?toUpdatedAt=2020-01-01T00:00:00Z", "", meta(1, 50, 0, 0)),
    ] {
        assert_eq!(names(query), (expected.to_owned(), meta), "{query}");
    }
    let mut newest = get(&server, "?name=c")["data"][0].clone();
    let at = newest.as_object_mut().unwrap().remove("lastUpdatedAt").unwrap();
    assert_eq!(
        newest,
        json!({"name": "c", "type": "text", "versions": [1, 2], "tags": ["u"],
            "labels": ["development", "latest", "production", "staging"], "lastConfig": {"n": 2}})
    );
    // From the moment itself on, and before it.
    let at = at.as_str().unwrap();
    let changed: jiff::Timestamp = at.parse().unwrap();
    let later = changed + jiff::SignedDuration::from_secs(1);
    assert_eq!(names(&format!("?name=c&fromUpdatedAt={at}")).0, "c");
    assert_eq!(names(&format!("?name=c&fromUpdatedAt={later}")).0, "");
    assert_eq!(names(&format!("?name=c&toUpdatedAt={later}")).0, "c");
    let deployed = get(&server, "?name=c&label=production");
    assert_eq!(deployed["data"][0]["lastConfig"], json!({"n": 1}));
}

fn meta_of_last(items: u32) -> Value {
    json!({"page": u64::MAX, "limit": 50, "totalItems": items, "totalPages": 1})
}

#[test]
fn what_moves_inside_a_deployed_prompt_changes_nothing_that_is_served() {
    let house = composed();
    let server = house.start();
    let content = || {
        let asked = json!({"prompt": "reply", "context": {"user": "u"}, "content": true});
        server.data().ok("/v1/decide", &asked)["content"].clone()
    };
    let before = content();
    assert_eq!(
        before,
        json!({"type": "text", "prompt": "Be kind. Be kind.", "config": {"model": "m"}})
    );
    let fetched = get(&server, "/reply");
    assert_eq!(fetched["prompt"], before["prompt"]);
    assert_eq!(
        fetched["resolutionGraph"],
        json!({"root": {"name": "reply", "version": 1, "id": "reply:1"},
            "dependencies": {"reply:1": [{"name": "tone", "version": 1, "id": "tone:1"}]}})
    );
    let written = get(&server, "/reply?resolve=false");
    assert_eq!(written["resolutionGraph"], Value::Null);
    assert!(written["prompt"].as_str().unwrap().contains("@@@langfusePrompt:"));
    assert_ne!(written["digest"], fetched["digest"]);

    text(&house, "tone", "1.1.0", "Be brief.", "labels = [\"production\"]");
    until("the label to move", || {
        (get(&server, "/tone")["version"] == 2).then_some(())
    });
    assert_eq!(content(), before, "as it was deployed");
    assert_eq!(get(&server, "/reply")["prompt"], before["prompt"]);
    assert_eq!(get(&server, "/reply")["digest"], fetched["digest"]);
    // Whoever names the version asks what it would be now.
    let now = get(&server, "/reply?version=1");
    assert_eq!(now["prompt"], "Be kind. Be brief.");
    assert_ne!(now["digest"], fetched["digest"]);
    assert_eq!(get(&server, "/reply?label=latest")["prompt"], now["prompt"]);
    let children = &now["resolutionGraph"]["dependencies"]["reply:1"];
    assert_eq!(children.as_array().unwrap().len(), 2, "{children}");
}

#[test]
fn tokens_are_asked_for_and_followed() {
    let house = House::new();
    let made = |name: &str| -> (String, String) {
        let output = house
            .command(&["token", "--json", name, "--role", "viewer"])
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("token"), text("entry"))
    };
    let ((token, entry), (_, other)) = (made("app"), made("other"));
    let house = house.set("auth", &format!("tokens = [{entry}]"));
    let server = house.start();
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let paths = [
        format!("{BASE}/greeting"),
        BASE.to_owned(),
        "/api/public/projects".to_owned(),
    ];
    for path in &paths {
        let refused = server.data().get(path);
        check_refused(&refused, 401, "UnauthorizedError");
        assert!(refused.headers["www-authenticate"].starts_with("Basic "));
        for good in [
            basic(&format!("app:{token}")),
            basic(&format!("pk-lf-1:{token}")),
            basic(&format!("{token}:")),
            format!("Bearer {token}"),
        ] {
            assert_eq!(
                with_authorization(&server, path, &good).status,
                200,
                "{path} {good}"
            );
        }
        for bad in [
            basic("app:serin_x"),
            basic("app"),
            "Basic ?".to_owned(),
            "Bearer x".to_owned(),
        ] {
            let refused = with_authorization(&server, path, &bad);
            let message = check_refused(&refused, 401, "UnauthorizedError");
            assert!(!message.contains("serin_x"), "{message}");
        }
    }
    let projects = with_authorization(&server, &paths[2], &basic(&format!("app:{token}"))).json();
    assert_eq!(
        projects,
        json!({"data": [{"id": "serin", "name": "serin", "metadata": {},
            "organization": {"id": "serin", "name": "serin"}}]})
    );
    let _house = house.set("auth", &format!("tokens = [{other}]"));
    until("the token to be taken back", || {
        let asked = with_authorization(&server, &paths[0], &basic(&format!("app:{token}")));
        (asked.status == 401).then_some(())
    });
    // Decisions ask for no token.
    server.decide("u-1");
}
