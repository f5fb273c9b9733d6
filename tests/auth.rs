//! Who may use the control plane, with the real program: tokens, roles, requests that come again, revisions.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Reply, Server, TONE, until, write};
use serde_json::{Value, json};

/// A token as its holder has it, and as the settings have it.
struct Token {
    text: String,
    entry: String,
}

fn made(house: &House, arguments: &[&str]) -> Token {
    let arguments = [&["token", "--json"], arguments].concat();
    let output = house.command(&arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    assert!(text("token").starts_with("serin_"));
    assert!(!text("entry").contains(&text("token")), "only its hash is kept");
    Token {
        text: text("token"),
        entry: text("entry"),
    }
}

/// A server with one running experiment and a token of each role, named after it.
struct Guarded {
    house: House,
    server: Server,
    tokens: [Token; 4],
}

const ROLES: [&str; 4] = ["viewer", "experimenter", "operator", "admin"];

impl Guarded {
    fn new() -> Self {
        let house = House::with("tone", TONE);
        let tokens = ROLES.map(|role| made(&house, &[role, "--role", role]));
        let house = house.set("auth", &tokens_line(&tokens));
        let server = house.start();
        Self {
            house,
            server,
            tokens,
        }
    }

    fn token(&self, role: &str) -> &str {
        let place = ROLES.iter().position(|known| *known == role).unwrap();
        &self.tokens[place].text
    }

    /// Asks with these headers; a body is sent as JSON.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: serin.internal\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = self.server.control();
        client.send(request.as_bytes());
        client.try_reply().unwrap()
    }

    fn with(&self, role: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let bearer = format!("Bearer {}", self.token(role));
        self.ask(method, path, &[("authorization", &bearer)], body)
    }

    fn audit(&self) -> Vec<Value> {
        let audit = self
            .with("viewer", "GET", "/api/v1/audit?limit=1000", None)
            .json();
        audit["entries"].as_array().unwrap().clone()
    }

    fn rewrite_tokens(&self, line: &str) {
        let path = self.house.path("serin.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|known| {
            if known.starts_with("tokens = ") {
                line
            } else {
                known
            }
        });
        // Renamed over it, as whoever changes the settings of a running server does: no half of it is ever seen.
        let next = self.house.path("serin.toml.next");
        write(&next, lines.fold(String::new(), |all, line| all + line + "\n"));
        std::fs::rename(next, path).unwrap();
    }
}

fn tokens_line(tokens: &[Token]) -> String {
    let entries: Vec<&str> = tokens.iter().map(|token| token.entry.as_str()).collect();
    format!("tokens = [{}]", entries.join(", "))
}

#[test]
fn each_call_asks_for_its_role() {
    let guarded = Guarded::new();
    let step = |step: &str| format!("/api/v1/experiments/tone/{step}");
    let reason = json!({"reason": "a test"});
    let calls = [
        ("GET", "/api/v1/experiments".to_owned(), None, "viewer"),
        (
            "GET",
            "/api/v1/experiments/tone/results".to_owned(),
            None,
            "viewer",
        ),
        ("GET", "/api/v1/audit".to_owned(), None, "viewer"),
        ("GET", "/openapi.json".to_owned(), None, "viewer"),
        ("POST", step("hold"), Some(&reason), "experimenter"),
        ("POST", step("resume"), Some(&reason), "operator"),
        ("POST", step("freeze"), Some(&reason), "experimenter"),
        ("POST", step("resume"), Some(&reason), "operator"),
        ("POST", "/api/v1/receipt-keys".to_owned(), Some(&reason), "admin"),
        ("POST", step("promote"), Some(&reason), "operator"),
    ];
    for (method, path, body, needed) in calls {
        let before = guarded.audit().len();
        let missing = guarded.ask(method, &path, &[], body);
        missing.check_problem(401, "UNAUTHENTICATED");
        assert!(missing.headers["www-authenticate"].starts_with("Bearer "));
        let lowest = ROLES.iter().position(|role| *role == needed).unwrap();
        for role in &ROLES[..lowest] {
            let refused = guarded.with(role, method, &path, body);
            let problem = refused.check_problem(403, "FORBIDDEN");
            assert_eq!(
                (&problem["role"], &problem["required_role"]),
                (&json!(role), &json!(needed)),
                "{path}"
            );
        }
        assert_eq!(guarded.audit().len(), before, "nothing was done: {path}");
        let done = guarded.with(needed, method, &path, body);
        assert!(done.status < 300, "{path}: {done:?}");
        if method == "POST" {
            let entries = guarded.audit();
            assert!(entries.len() > before);
            assert!(entries[before..].iter().all(|entry| entry["actor"] == needed));
        }
    }
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(guarded.ask("GET", open, &[], None).status, 200, "{open}");
    }
    let scrape = guarded.ask("GET", "/metrics", &[], None).body;
    for series in [
        "serin_auth_refusals_total{reason=\"missing\"} 10",
        "serin_auth_refusals_total{reason=\"forbidden\"} 11",
    ] {
        assert!(
            scrape.lines().any(|line| line == series),
            "{series} in\n{}",
            scrape
                .lines()
                .filter(|line| line.contains("auth"))
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    guarded.server.check_healthy();
}

#[test]
fn a_token_that_is_wrong_expired_or_taken_back_opens_nothing() {
    let guarded = Guarded::new();
    let listed = |token: &str| {
        let bearer = format!("Bearer {token}");
        guarded.ask("GET", "/api/v1/experiments", &[("authorization", &bearer)], None)
    };
    let mut damaged = guarded.token("admin").to_owned();
    damaged.pop();
    for wrong in ["serin_guess", &damaged, "x"] {
        listed(wrong).check_problem(401, "UNAUTHENTICATED");
    }
    let basic = [("authorization", "Basic YTpi")];
    guarded
        .ask("GET", "/api/v1/experiments", &basic, None)
        .check_problem(401, "UNAUTHENTICATED");

    // The second is over by the time it is asked for.
    let guest = made(&guarded.house, &["guest", "--role", "viewer"]);
    let over = made(&guarded.house, &["over", "--role", "viewer"]);
    let ended = over.entry.replace(" }", ", expires = 2020-01-01T00:00:00Z }");
    let admin = &guarded.tokens[3];
    guarded.rewrite_tokens(&format!("tokens = [{}, {}, {ended}]", admin.entry, guest.entry));
    until("the new token to be taken", || {
        (listed(&guest.text).status == 200).then_some(())
    });
    let told = listed(&over.text).check_problem(401, "UNAUTHENTICATED");
    assert!(told["detail"].as_str().unwrap().contains("expired"), "{told}");
    assert_eq!(
        listed(&guarded.tokens[0].text).status,
        401,
        "taken out of the settings"
    );

    // A mistake keeps those in force, and says where it is.
    guarded.rewrite_tokens("tokens = [{ name = \"x\", role = \"boss\", hash = \"y\" }]");
    guarded.server.logged(&["auth.tokens[0].role"]);
    guarded.server.logged(&["those in force stay"]);
    assert_eq!(listed(&guest.text).status, 200);
    let rejected = "serin_auth_reloads_total{result=\"rejected\"}";
    until("the refused reload to be counted", || {
        (guarded.server.metric(rejected) == Some(1.0)).then_some(())
    });

    // Whoever takes back the last one does not open the door.
    guarded.rewrite_tokens("tokens = []");
    until("the last token to be taken back", || {
        (listed(&guest.text).status == 401).then_some(())
    });
}

#[test]
fn a_request_that_comes_again_is_done_once() {
    let guarded = Guarded::new();
    let bearer = format!("Bearer {}", guarded.token("operator"));
    let hold = |key: &str, body: &Value| {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        guarded.ask("POST", "/api/v1/experiments/tone/hold", &headers, Some(body))
    };
    let body = json!({"reason": "a look first"});
    let first = hold("k-1", &body);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let entries = guarded.audit().len();
    let again = hold("k-1", &body);
    assert_eq!(
        (again.status, &again.json()["revision"]),
        (200, &first.json()["revision"])
    );
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.json()["events"], first.json()["events"]);
    hold("k-1", &json!({"reason": "another"})).check_problem(422, "IDEMPOTENCY_KEY_REUSED");
    hold("k 1", &body).check_problem(400, "BAD_IDEMPOTENCY_KEY");
    assert_eq!(guarded.audit().len(), entries, "one hold");
    // Without the key it is another request, which the state refuses.
    hold("k-2", &body).check_problem(409, "WRONG_STATE");

    // The log remembers, whatever happens to the process.
    let Guarded {
        house,
        server,
        tokens,
    } = guarded;
    server.kill();
    let server = house.start();
    let guarded = Guarded {
        house,
        server,
        tokens,
    };
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k-1")];
    let again = guarded.ask("POST", "/api/v1/experiments/tone/hold", &headers, Some(&body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    // The same key of somebody else is another one.
    let other = format!("Bearer {}", guarded.token("admin"));
    let headers = [("authorization", other.as_str()), ("idempotency-key", "k-1")];
    guarded
        .ask("POST", "/api/v1/experiments/tone/hold", &headers, Some(&body))
        .check_problem(409, "WRONG_STATE");
}

#[test]
fn a_command_may_be_based_on_a_revision() {
    let guarded = Guarded::new();
    let bearer = format!("Bearer {}", guarded.token("operator"));
    let path = "/api/v1/experiments/tone";
    let read = guarded.with("viewer", "GET", path, None);
    let tag = read.headers["etag"].clone();
    let step = |step: &str, tag: &str, body: &Value| {
        let headers = [("authorization", bearer.as_str()), ("if-match", tag)];
        guarded.ask("POST", &format!("{path}/{step}"), &headers, Some(body))
    };
    let reason = json!({"reason": "a test"});
    let held = step("hold", &tag, &reason);
    assert_eq!(held.status, 200, "{held:?}");
    assert_ne!(held.headers["etag"], tag);
    let conflict = step("resume", &tag, &reason).check_problem(409, "REVISION_CONFLICT");
    assert_eq!(format!("\"{}\"", conflict["based_on"]), tag);
    assert_eq!(format!("\"{}\"", conflict["revision"]), held.headers["etag"]);
    step("resume", "17", &reason).check_problem(400, "BAD_PRECONDITION");
    let in_body = json!({"reason": "a test", "revision": conflict["based_on"]});
    step("resume", "*", &in_body).check_problem(409, "REVISION_CONFLICT");
    let in_body = json!({"reason": "a test", "revision": conflict["revision"]});
    assert_eq!(step("resume", "*", &in_body).status, 200);
}

#[test]
fn the_command_line_takes_its_token_from_the_environment_or_a_file() {
    let guarded = Guarded::new();
    let url = format!("http://{}", guarded.server.control);
    let list = |token: Option<&str>, more: &[&str]| {
        let arguments = [&["experiment", "list", "--url", &url], more].concat();
        let mut command = guarded.house.command(&arguments);
        match token {
            Some(token) => command.env("SERIN_TOKEN", token),
            None => command.env_remove("SERIN_TOKEN"),
        };
        let output = command.output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), errors)
    };
    let (code, errors) = list(None, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("SERIN_TOKEN"), "{errors}");
    assert_eq!(list(Some(guarded.token("viewer")), &[]), (0, String::new()));
    let file = guarded.house.path("token");
    write(&file, format!("{}\n", guarded.token("viewer")));
    let file = file.display().to_string();
    assert_eq!(list(None, &["--token-file", &file]), (0, String::new()));
    let short = &guarded.token("viewer")[..20];
    let (code, errors) = list(Some(short), &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("checksum") && !errors.contains(short), "{errors}");
}

#[test]
fn a_set_that_moves_a_label_needs_an_operator() {
    let guarded = Guarded::new();
    let version = |semver: &str, labels: &[&str]| json!({"name": "other", "semver": semver, "type": "text", "prompt": semver, "labels": labels});
    let set = |prompts: &[Value]| json!({"set": "s", "prompts": prompts, "experiments": []});
    let first = set(&[version("1.0.0", &[])]);
    let made = guarded.with("experimenter", "POST", "/api/v1/apply", Some(&first));
    assert_eq!(made.status, 200, "{made:?}");
    let moved = set(&[version("1.0.0", &[]), version("1.1.0", &["production"])]);
    let refused = guarded.with("experimenter", "POST", "/api/v1/apply", Some(&moved));
    refused.check_problem(403, "FORBIDDEN");
    let done = guarded.with("operator", "POST", "/api/v1/apply", Some(&moved));
    assert_eq!(done.status, 200, "{done:?}");
    let entries = guarded.audit();
    let last = entries.last().unwrap();
    assert_eq!(last["event"]["type"], "prompt_deployed");
    assert!(
        last["actor"].as_str().unwrap().starts_with("operator apply:"),
        "{last}"
    );
}

#[test]
fn the_document_says_which_role_each_call_needs() {
    let guarded = Guarded::new();
    let served = guarded.with("viewer", "GET", "/openapi.json", None).json();
    let printed = guarded.house.command(&["openapi"]).output().unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(served, printed);
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let role = |method: &str, path: &str| served["paths"][path][method]["x-required-role"].clone();
    assert_eq!(role("get", "/api/v1/experiments/{id}/results"), "viewer");
    assert_eq!(role("post", "/api/v1/experiments/{id}/start"), "experimenter");
    assert_eq!(role("post", "/api/v1/experiments/{id}/promote"), "operator");
    assert_eq!(role("post", "/api/v1/receipt-keys"), "admin");
    assert_eq!(role("get", "/healthz"), "none");
    // Every reference leads somewhere.
    let text = served.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(served["components"]["schemas"][name].is_object(), "{name}");
    }
}
