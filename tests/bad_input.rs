//! Bad input: each piece gets a clear answer, and the server stays well through all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;

use process::{Client, House, TONE, figures, guarded, until};
use serde_json::{Value, json};
use serin::{
    domain::id::{ArmIndex, Epoch, ExperimentKey},
    routing::receipt::{Receipt, ReceiptKeys},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

fn decide(client: &mut Client, body: &str) -> process::Reply {
    client.post_bytes("/v1/decide", body.as_bytes())
}

#[test]
fn bodies_that_are_no_decision() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut client = server.data();
    for (body, code) in [
        ("", "BAD_JSON"),
        ("{", "BAD_JSON"),
        ("nope", "BAD_JSON"),
        ("{\"prompt\":\"greeting\",}", "BAD_JSON"),
        ("{\"prompt\":\"greeting\"} trailing", "BAD_JSON"),
        ("{\"prompt\":\"gree\u{0}ting\"}", "BAD_JSON"),
        ("{\"prompt\":\"\\ud800\"}", "BAD_JSON"),
        ("[]", "BAD_REQUEST"),
        ("\"greeting\"", "BAD_REQUEST"),
        ("null", "BAD_REQUEST"),
        ("{}", "BAD_REQUEST"),
        ("{\"prompt\":null}", "BAD_REQUEST"),
        ("{\"prompt\":7}", "BAD_REQUEST"),
        ("{\"prompt\":[\"greeting\"]}", "BAD_REQUEST"),
        ("{\"prompts\":\"greeting\"}", "BAD_REQUEST"),
        ("{\"prompts\":[1]}", "BAD_REQUEST"),
        (
            "{\"prompt\":\"greeting\",\"prompts\":[\"greeting\"]}",
            "BAD_REQUEST",
        ),
        ("{\"prompt\":\"greeting\",\"context\":[]}", "BAD_REQUEST"),
        ("{\"prompt\":\"greeting\",\"context\":\"user\"}", "BAD_REQUEST"),
        ("{\"prompt\":\"greeting\",\"contxt\":{}}", "BAD_REQUEST"),
        ("{\"prompt\":\"greeting\",\"content\":1}", "BAD_REQUEST"),
        ("{\"prompt\":\"greeting\",\"expose\":\"no\"}", "BAD_REQUEST"),
        ("{\"prompt\":\"greeting\",\"environment\":3}", "BAD_REQUEST"),
    ] {
        let reply = decide(&mut client, body);
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        reply.check_problem(400, code);
    }
    let many = json!({"prompts": vec!["greeting"; 257]});
    client.post("/v1/decide", &many).check_problem(400, "BAD_REQUEST");
    let all = json!({"prompts": vec!["greeting"; 256]});
    assert_eq!(
        client.ok("/v1/decide", &all)["decisions"]
            .as_array()
            .unwrap()
            .len(),
        256
    );

    // Bytes that are no text, in a name, in a value and instead of anything.
    for body in [
        &b"{\"prompt\":\"gree\xfft\"}"[..],
        b"{\"prompt\":\"greeting\",\"context\":{\"user\":\"\xc3\x28\"}}",
        b"{\"prompt\":\"greeting\",\"context\":{\"us\xe2\x82er\":\"x\"}}",
        b"\xff\xfe{\x00",
    ] {
        client
            .post_bytes("/v1/decide", body)
            .check_problem(400, "BAD_JSON");
    }
    client.get("/v1/decide/%ff%fe").check_problem(400, "BAD_REQUEST");
    client
        .get("/v1/decide/nobody")
        .check_problem(404, "PROMPT_NOT_FOUND");
    client.get("/v1/decide/").check_problem(404, "PROMPT_NOT_FOUND");
    client.get("/v1/nothing").check_problem(404, "NOT_FOUND");
    let odd = client.get("/v1/decide");
    odd.check_problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(odd.headers["allow"], "POST");
    let long = json!({"prompt": "x".repeat(60_000)});
    client
        .post("/v1/decide", &long)
        .check_problem(404, "PROMPT_NOT_FOUND");

    // Nesting: 32 levels are taken, 40 and forty thousand are not; brackets in text are text.
    let nested = |depth: usize| {
        let inner = format!("{}1{}", "[".repeat(depth - 2), "]".repeat(depth - 2));
        format!("{{\"prompt\":\"greeting\",\"context\":{{\"user\":\"u-1\",\"more\":{inner}}}}}")
    };
    assert_eq!(decide(&mut client, &nested(32)).status, 200);
    for depth in [33, 40, 30_000] {
        decide(&mut client, &nested(depth)).check_problem(400, "JSON_TOO_DEEP");
    }
    let text = json!({"prompt": "greeting", "context": {"user": "[".repeat(1000)}});
    assert_eq!(client.ok("/v1/decide", &text)["reason"], "SPLIT");

    // Units that are none, and odd ones that are.
    for (context, cause) in [
        (json!({}), "no_unit"),
        (json!({"user": ""}), "no_unit"),
        (json!({"user": null}), "no_unit"),
        (json!({"user": 1.5}), "no_unit"),
        (json!({"user": ["u-1"]}), "no_unit"),
        (json!({"user": {"id": "u-1"}}), "no_unit"),
    ] {
        let decision = client.ok("/v1/decide", &json!({"prompt": "greeting", "context": context}));
        assert_eq!(
            (&decision["cause"], &decision["receipt"]),
            (&json!(cause), &Value::Null),
            "{context}"
        );
    }
    for unit in [
        json!(" "),
        json!("ü€😀\n\u{0}"),
        json!("x".repeat(50_000)),
        json!(-7),
        json!(u64::MAX),
    ] {
        let decision = client.ok(
            "/v1/decide",
            &json!({"prompt": "greeting", "context": {"user": unit}}),
        );
        assert_eq!(decision["reason"], "SPLIT", "{unit}");
    }
    let whole = client.ok(
        "/v1/decide",
        &json!({"prompt": "greeting", "context": {"user": 42}}),
    );
    assert_eq!(whole["variant"], server.decide("42")["variant"]);
    assert_eq!(
        decide(&mut client, "{\"prompt\":\"greeting\"}").json()["cause"],
        "no_unit"
    );
    server.check_healthy();
}

#[test]
fn bodies_and_headers_without_measure() {
    let house = House::with("tone", TONE)
        .set("data_plane", "header_timeout = \"400ms\"")
        .set("data_plane", "request_timeout = \"1500ms\"")
        .set("data_plane", "max_body_bytes = 100_000");
    let server = house.start();
    // Decisions: 70 kB; outcomes: more than the settings allow.
    let large = json!({"prompt": "greeting", "context": {"user": "x".repeat(70_000)}});
    server
        .data()
        .post("/v1/decide", &large)
        .check_problem(413, "BODY_TOO_LARGE");
    let fits = json!({"prompt": "greeting", "context": {"user": "x".repeat(65_000)}});
    assert_eq!(server.data().post("/v1/decide", &fits).status, 200);
    let many = json!([{"experiment": "tone", "variant": "warm", "unit": "x".repeat(100_000), "metrics": {"resolved": true}}]);
    server
        .data()
        .post("/v1/outcomes", &many)
        .check_problem(413, "BODY_TOO_LARGE");
    // A body that never ends, announced by nothing.
    for path in ["/v1/decide", "/v1/outcomes"] {
        let mut client = server.data();
        client.send(
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(),
        );
        let mut chunk = b"2000\r\n".to_vec();
        chunk.resize(6 + 0x2000, b'[');
        chunk.extend_from_slice(b"\r\n");
        let mut writer = client.stream.try_clone().unwrap();
        let endless = std::thread::spawn(move || {
            let mut sent = 0_usize;
            while writer.write_all(&chunk).is_ok() {
                sent += chunk.len();
            }
            sent
        });
        client.try_reply().unwrap().check_problem(413, "BODY_TOO_LARGE");
        drop(client);
        assert!(endless.join().unwrap() < 64 << 20);
    }
    // A body that was announced and does not come; chunks that are none; two lengths.
    let mut client = server.data();
    client.send(b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"prompt\"");
    let began = Instant::now();
    client.try_reply().unwrap().check_problem(408, "REQUEST_TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for (request, status) in [
        (
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            "400",
        ),
        (
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: -2\r\n\r\n{}",
            "400",
        ),
        ("GARBAGE\r\n\r\n", "400"),
        ("GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "400"),
    ] {
        let mut client = server.data();
        client.send(request.as_bytes());
        let told = String::from_utf8(client.rest()).unwrap();
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {told:?}"
        );
    }
    // A header that never ends: too large, or too slow.
    let mut client = server.data();
    client.send(b"GET /healthz HTTP/1.1\r\nx: ");
    let mut writer = client.stream.try_clone().unwrap();
    let endless = std::thread::spawn(move || while writer.write_all(&[b'a'; 8192]).is_ok() {});
    let mut told = [0; 12];
    client.stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 431");
    drop(client);
    endless.join().unwrap();
    let mut client = server.data();
    let mut writer = client.stream.try_clone().unwrap();
    let began = Instant::now();
    client.send(b"GET /healthz HTTP/1.1\r\n");
    let slow = std::thread::spawn(move || {
        while writer.write_all(b"a: b\r\n").is_ok() && began.elapsed() < process::PATIENCE {
            // The attack itself: a header line now and then, for ever.
            std::thread::sleep(Duration::from_millis(30));
        }
        began.elapsed()
    });
    assert_eq!(client.rest(), b"");
    drop(client);
    let took = slow.join().unwrap();
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    server.check_healthy();
}

#[test]
fn the_connection_above_the_limit_is_told_at_once() {
    let house = House::with("tone", TONE).set("data_plane", "max_connections = 50");
    let server = house.start();
    let mut open: Vec<Client> = (0..50).map(|_| server.data()).collect();
    for client in &mut open {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let began = Instant::now();
    let mut extra = server.data();
    let reply = extra.try_reply().unwrap();
    reply.check_problem(503, "TOO_MANY_CONNECTIONS");
    assert_eq!(
        (
            reply.headers["connection"].as_str(),
            reply.headers["retry-after"].as_str()
        ),
        ("close", "1")
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // The others go on, people get in, and a place that becomes free is given away.
    assert_eq!(open[49].decide("u-1")["reason"], "SPLIT");
    assert_eq!(server.state("tone"), "running");
    open.clear();
    until("a free place", || {
        let mut client = Client::try_connect(server.data).ok()?;
        let reply = client.try_request("GET", "/healthz", "", b"").ok()?;
        (reply.status == 200).then_some(())
    });
    server.check_healthy();
}

/// The answer to one outcome.
fn outcome(client: &mut Client, outcome: &str) -> Value {
    let reply = client.post_bytes("/v1/outcomes", outcome.as_bytes());
    assert_eq!(reply.status, 200, "{outcome}: {reply:?}");
    reply.json()
}

#[test]
fn outcomes_that_are_none() {
    let house = House::with(
        "tone",
        &format!("{TONE}[[metrics]]\nname = \"score\"\nkind = \"mean\"\ngoal = \"increase\"\n"),
    );
    let server = house.start();
    let mut client = server.data();
    for body in [
        "",
        "nope",
        "[{",
        "[1,",
        "{\"id\":\"a\"",
        "{}{}",
        "\u{0}",
        "[{}] x",
        "7",
    ] {
        client
            .post_bytes("/v1/outcomes", body.as_bytes())
            .check_problem(400, "BAD_JSON");
    }
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    client
        .post_bytes("/v1/outcomes", deep.as_bytes())
        .check_problem(400, "JSON_TOO_DEEP");
    assert_eq!(
        outcome(&mut client, "[]"),
        json!({"accepted": 0, "duplicates": 0, "rejected": []})
    );
    client
        .get("/v1/outcomes")
        .check_problem(405, "METHOD_NOT_ALLOWED");

    let receipt = |client: &mut Client| client.decide("u-1")["receipt"].as_str().unwrap().to_owned();
    let mine = receipt(&mut client);
    let mut forged = mine.clone().into_bytes();
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let with = |receipt: &str, rest: &str| format!("{{\"receipt\":\"{receipt}\",{rest}}}");
    let value = |text: &str| with(&mine, &format!("\"metrics\":{{\"score\":{text}}}"));
    let named =
        |rest: &str| format!("{{\"experiment\":\"tone\",\"variant\":\"warm\",\"unit\":\"u-1\",{rest}}}");
    let ok = "\"metrics\":{\"resolved\":true}";
    let cases: Vec<(String, &str)> = vec![
        (with(&forged, ok), "BAD_RECEIPT"),
        (with("", ok), "BAD_RECEIPT"),
        (with("short", ok), "BAD_RECEIPT"),
        (with(&"A".repeat(mine.len()), ok), "BAD_RECEIPT"),
        (with(&"x".repeat(5_000), ok), "BAD_RECEIPT"),
        (
            with(&mine, "\"unit\":\"u-1\",\"metrics\":{\"resolved\":true}"),
            "AMBIGUOUS",
        ),
        (format!("{{{ok}}}"), "UNKNOWN_EXPERIMENT"),
        (named(ok).replace("tone", "nobody"), "UNKNOWN_EXPERIMENT"),
        (named(ok).replace("warm", "cold"), "UNKNOWN_VARIANT"),
        (named(ok).replace("\"u-1\"", "\"\""), "NO_UNIT"),
        (named(ok).replace("\"u-1\"", "null"), "NO_UNIT"),
        (named(ok).replace("\"u-1\"", "1.5"), "NO_UNIT"),
        (named(ok).replace("\"u-1\"", "true"), "NO_UNIT"),
        (named("\"metrics\":{}"), "NO_METRICS"),
        (named("\"note\":\"x\""), "NO_METRICS"),
        (named("\"metrics\":{\"resolvd\":true}"), "UNKNOWN_METRIC"),
        (
            named("\"metrics\":{\"resolved\":true,\"resolved\":false}"),
            "AMBIGUOUS",
        ),
        (named("\"metrics\":{\"resolved\":0.5}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"resolved\":2}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"resolved\":\"true\"}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"resolved\":null}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"score\":true}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"score\":\"1\"}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"score\":[1]}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"score\":{\"a\":1}}"), "WRONG_TYPE"),
        (named("\"metrics\":{\"latency_ms\":-1}"), "OUT_OF_RANGE"),
        (value("1e308"), "OUT_OF_RANGE"),
        (value("-1e308"), "OUT_OF_RANGE"),
        (value("1e16"), "OUT_OF_RANGE"),
        (named("\"metrics\":[true]"), "BAD_OUTCOME"),
        (named("\"metrics\":{\"resolved\":true},\"typo\":1"), "BAD_OUTCOME"),
        (named("\"metrics\":{\"resolved\":true},\"id\":7"), "BAD_OUTCOME"),
        (named("\"metrics\":{\"resolved\":true},\"id\":\"\""), "BAD_ID"),
        (
            named(&format!(
                "\"metrics\":{{\"resolved\":true}},\"id\":\"{}\"",
                "x".repeat(300)
            )),
            "BAD_ID",
        ),
        (
            named("\"metrics\":{\"resolved\":true},\"tags\":[\"with space\"]"),
            "BAD_TAG",
        ),
    ];
    for (body, code) in &cases {
        let answer = outcome(&mut client, body);
        assert_eq!(
            (&answer["accepted"], &answer["duplicates"]),
            (&json!(0), &json!(0)),
            "{body}"
        );
        assert_eq!(answer["rejected"][0]["code"], *code, "{body}: {answer}");
        assert!(!answer["rejected"][0]["detail"].as_str().unwrap().is_empty());
    }
    // What is no JSON at all spoils a body of one object, but only its own item of a list or of lines.
    let no_json = [
        value("NaN"),
        value("1e999"),
        value("Infinity"),
        value("-Infinity"),
        value("01"),
        value(""),
    ];
    for body in &no_json {
        client
            .post_bytes("/v1/outcomes", body.as_bytes())
            .check_problem(400, "BAD_JSON");
    }
    let good = |n: usize| named(&format!("\"id\":\"good-{n}\",\"metrics\":{{\"score\":{n}}}"));
    let mut items: Vec<String> = Vec::new();
    for (n, body) in no_json
        .iter()
        .chain(cases.iter().map(|(body, _)| body))
        .enumerate()
    {
        items.push(body.clone());
        items.push(good(n));
    }
    let bad = items.len() / 2;
    let answer = outcome(&mut client, &format!("[{}]", items.join(" ,\n")));
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!(
        (&answer["accepted"], rejected.len()),
        (&json!(bad), bad),
        "{answer}"
    );
    for (n, item) in rejected.iter().enumerate() {
        assert_eq!(item["index"], 2 * n, "{answer}");
        let code = n.checked_sub(no_json.len()).map_or("BAD_JSON", |n| cases[n].1);
        assert_eq!(item["code"], code, "{}", items[2 * n]);
    }
    let lines = items.iter().map(|item| format!("{item}\r\n")).collect::<String>();
    let reply = client
        .try_request("POST", "/v1/outcomes", "application/x-ndjson", lines.as_bytes())
        .unwrap();
    let answer = reply.json();
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(0), &json!(bad)),
        "{answer}"
    );
    assert_eq!(answer["rejected"].as_array().unwrap().len(), bad);
    // Bytes that are no text.
    let mut invalid = named("\"metrics\":{\"resolved\":true},\"note\":\"?\"").into_bytes();
    let at = invalid.iter().position(|byte| *byte == b'?').unwrap();
    invalid[at] = 0xff;
    client
        .post_bytes("/v1/outcomes", &invalid)
        .check_problem(400, "BAD_JSON");
    let list = [&b"["[..], &invalid, b",", good(9_999).as_bytes(), b"]"].concat();
    let answer = client.post_bytes("/v1/outcomes", &list).json();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"][0]["code"]),
        (&json!(1), &json!("BAD_JSON")),
        "{answer}"
    );

    // The largest values that are taken leave figures that are numbers.
    let huge = receipt(&mut client);
    let answer = outcome(
        &mut client,
        &with(&huge, "\"metrics\":{\"score\":1e15,\"cost_usd\":1e15}"),
    );
    assert_eq!(answer["accepted"], 1, "{answer}");
    let results = server.results("tone");
    let shown = figures(&results, "score", "warm");
    assert!(shown["n"].as_u64().unwrap() >= bad as u64, "{results}");

    // The same id twice: in one request, in two, and with another content.
    let twice = named("\"id\":\"twice\",\"metrics\":{\"resolved\":true}");
    let answer = outcome(&mut client, &format!("[{twice},{twice}]"));
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    let other = twice.replace("true", "false").replace("u-1", "u-2");
    assert_eq!(outcome(&mut client, &other)["duplicates"], 1);
    // A refused one has not used up its id or its receipt.
    let wrong = named("\"id\":\"again\",\"metrics\":{\"resolved\":0.5}");
    assert_eq!(outcome(&mut client, &wrong)["rejected"][0]["code"], "WRONG_TYPE");
    assert_eq!(outcome(&mut client, &wrong.replace("0.5", "1"))["accepted"], 1);
    assert_eq!(outcome(&mut client, &with(&mine, ok))["accepted"], 1);

    // A stopped experiment and one that never ran.
    let late = receipt(&mut client);
    house.experiment(
        "draft",
        &TONE.replace("user", "session").replace("running", "draft"),
    );
    until("the draft", || {
        let found = server.control().get("/api/v1/experiments/draft");
        (found.status == 200).then_some(())
    });
    let draft = named(ok).replace("tone", "draft");
    assert_eq!(
        outcome(&mut client, &draft)["rejected"][0]["code"],
        "EXPERIMENT_NOT_LIVE"
    );
    server.control().ok("/api/v1/experiments/tone/stop", &json!({}));
    for body in [named(ok), with(&late, ok)] {
        let answer = outcome(&mut client, &body);
        assert_eq!(answer["rejected"][0]["code"], "EXPERIMENT_NOT_LIVE", "{answer}");
    }
    server.check_healthy();
}

/// The keys of a folder's control log.
fn receipt_keys(house: &House) -> ReceiptKeys {
    let log = rusqlite::Connection::open(house.path("data/serin.db")).unwrap();
    let event: String = log
        .query_row(
            "SELECT event FROM control_log WHERE event LIKE '%receipt_key_added%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    let secret = event["secret"].as_str().unwrap();
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).unwrap();
    }
    ReceiptKeys::new([(u8::try_from(event["key_id"].as_u64().unwrap()).unwrap(), bytes)])
}

#[allow(
    clippy::disallowed_methods,
    reason = "the server under test lives in real time"
)]
fn unix_second() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u32::try_from(now.as_secs()).unwrap()
}

#[test]
fn receipts_expire_and_name_what_exists() {
    let house = House::with("tone", TONE).set("outcomes", "receipt_lifetime = \"1m\"");
    let server = house.start();
    let mut client = server.data();
    let keys = receipt_keys(&house);
    let real = client.decide("u-1");
    let real = keys.verify(real["receipt"].as_str().unwrap()).unwrap();
    let mut sequence = 0;
    let mut report = |change: &dyn Fn(&mut Receipt)| {
        sequence += 1;
        let mut receipt = Receipt {
            process: 1,
            sequence,
            ..real
        };
        change(&mut receipt);
        let text = String::from_utf8(keys.sign(&receipt).unwrap().to_vec()).unwrap();
        client.outcomes(&json!({"receipt": text, "metrics": {"resolved": true}}))
    };
    let now = unix_second();
    assert_eq!(report(&|receipt| receipt.second = now)["accepted"], 1);
    assert_eq!(report(&|receipt| receipt.second = now - 50)["accepted"], 1);
    for second in [now - 70, now - 1_000_000, 0, now + 1_000, u32::MAX] {
        let answer = report(&|receipt| receipt.second = second);
        assert_eq!(answer["rejected"][0]["code"], "EXPIRED_RECEIPT", "{answer}");
    }
    let answer = report(&|receipt| receipt.experiment = ExperimentKey(77));
    assert_eq!(answer["rejected"][0]["code"], "UNKNOWN_EXPERIMENT", "{answer}");
    for change in [
        &(|receipt: &mut Receipt| receipt.arm = ArmIndex(9)) as &dyn Fn(&mut Receipt),
        &|receipt| receipt.epoch = Epoch(40),
        &|receipt| receipt.epoch = Epoch(0),
    ] {
        let answer = report(change);
        assert_eq!(answer["rejected"][0]["code"], "BAD_RECEIPT", "{answer}");
    }
    // Another key under the same id.
    let stranger = ReceiptKeys::new([(1, [7; 16])])
        .sign(&Receipt { second: now, ..real })
        .unwrap();
    let text = String::from_utf8(stranger.to_vec()).unwrap();
    let answer = server
        .data()
        .outcomes(&json!({"receipt": text, "metrics": {"resolved": true}}));
    assert_eq!(answer["rejected"][0]["code"], "BAD_RECEIPT", "{answer}");
    server.check_healthy();
}

#[test]
fn designs_that_cannot_be_run() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let decided: Vec<Value> = (0..30)
        .map(|user| server.decide(&format!("u-{user}"))["variant"].clone())
        .collect();
    let first = |from: &str, to: &str| TONE.replacen(from, to, 1);
    let layer = |slots: &str| format!("layer = {{ name = \"support\", slots = {slots} }}\n{TONE}");
    let rollout = |share: &str| format!("{TONE}[rollout]\nstages = [{{ share = {share}, for = \"1h\" }}]\n");
    // With `validate` each file is judged by itself.
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "weight 0",
            first("weight = 50", "weight = 0"),
            ":8: variants[0].weight: ",
        ),
        (
            "all weights 0",
            TONE.replace("weight = 50", "weight = 0"),
            ":12: variants[1].weight: ",
        ),
        (
            "negative",
            first("weight = 50", "weight = -5"),
            ":8: variants[0].weight: ",
        ),
        (
            "infinite",
            first("weight = 50", "weight = inf"),
            ":8: variants[0].weight: ",
        ),
        (
            "no number",
            first("weight = 50", "weight = nan"),
            ":8: variants[0].weight: ",
        ),
        (
            "text",
            first("weight = 50", "weight = \"50\""),
            ":8: variants[0].weight: ",
        ),
        (
            "sum",
            TONE.replace("weight = 50", "weight = 1e308"),
            "variants: the weights' sum must be finite",
        ),
        ("traffic", format!("traffic = 1.5\n{TONE}"), ":1: traffic: "),
        (
            "negative traffic",
            format!("traffic = -0.1\n{TONE}"),
            ":1: traffic: ",
        ),
        (
            "endless traffic",
            format!("traffic = inf\n{TONE}"),
            ":1: traffic: ",
        ),
        ("share", rollout("1.5"), "rollout.stages[0].share: "),
        ("share 0", rollout("0"), "rollout.stages[0].share: "),
        (
            "twins",
            first("\"warm\"", "\"control\""),
            ":10: variants[1].name: ",
        ),
        (
            "one",
            TONE.split("[[variants]]\nname = \"warm\"")
                .next()
                .unwrap()
                .to_owned(),
            "variants: must have at least 2",
        ),
        (
            "version",
            first("\"1.1.0\"", "\"9.9.9\""),
            ":11: variants[1].version: ",
        ),
        (
            "no version",
            first("\"1.1.0\"", "\"new\""),
            ":11: variants[1].version: ",
        ),
        ("version 0", first("\"1.1.0\"", "0"), ":11: variants[1].version: "),
        ("prompt", first("greeting", "nobody"), ":1: prompt: "),
        ("slots", layer("[30, 10]"), ":1: layer.slots: "),
        ("far slots", layer("[0, 101]"), ":1: layer.slots: "),
        ("three slots", layer("[0, 10, 20]"), ":1: layer.slots: "),
        (
            "audience",
            format!("audience = 'country = \"DE\"'\n{TONE}"),
            ":1: audience: ",
        ),
        (
            "function",
            format!("audience = 'contry(\"DE\")'\n{TONE}"),
            ":1: audience: ",
        ),
        (
            "open text",
            format!("audience = 'country == \"DE'\n{TONE}"),
            ":1: audience: ",
        ),
        (
            "no truth",
            format!("audience = '1 + 1'\n{TONE}"),
            ":1: audience: ",
        ),
        (
            "key",
            format!("trafic = 1\n{TONE}"),
            ":1: trafic: unknown key, did you mean `traffic`?",
        ),
        (
            "variant's key",
            first("weight", "wieght"),
            "variants[0].wieght: unknown key, did you mean `weight`?",
        ),
        ("status", first("running", "runing"), ":3: status: "),
        (
            "metric",
            guarded("metric = \"falback\"\nmax_ratio = 1.25"),
            ":19: guardrails[0].metric: ",
        ),
        (
            "ratio",
            guarded("metric = \"fallback\"\nmax_ratio = 0.5"),
            ":20: guardrails[0].max_ratio: ",
        ),
        (
            "rate",
            guarded("metric = \"fallback\"\nmax_rate = 5"),
            ":20: guardrails[0].max_rate: ",
        ),
        (
            "no limit",
            guarded("metric = \"fallback\""),
            "guardrails[0].max_ratio: is required",
        ),
        (
            "settle",
            guarded("metric = \"fallback\"\nmax_ratio = 2\nsettle = \"soon\""),
            ":21: guardrails[0].settle: ",
        ),
        (
            "override",
            format!("{TONE}[overrides]\nhot = [\"qa\"]\n"),
            ":19: overrides.hot: ",
        ),
        (
            "end",
            format!("start = 2026-12-02T00:00:00Z\nend = 2026-12-01T00:00:00Z\n{TONE}"),
            ":2: end: ",
        ),
        ("no TOML", first("kind = ", "kind "), ":2"),
        ("twice", format!("unit = \"tenant\"\n{TONE}"), "duplicate key"),
    ];
    for (name, text, told) in &cases {
        house.experiment("bad", &text.replace("\"user\"", "\"session\""));
        let output = house.command(&["validate"]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
        let line = errors
            .lines()
            .find(|line| line.contains("bad.toml:") && line.contains(told));
        assert!(line.is_some(), "{name}: no {told:?} in\n{errors}");
    }
    // Two experiments that each are fine by themselves.
    house.experiment("bad", &layer("[20, 60]").replace("user", "session"));
    house.experiment("tone", &layer("[0, 30]"));
    let output = house.command(&["validate"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains(":1: layer.slots: [") && errors.contains("overlaps ["),
        "{errors}"
    );
    fs::write(house.experiment_path("bad"), b"prompt = \"gree\xffting\"\n").unwrap();
    let output = house.command(&["validate"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("bad.toml") && errors.contains("UTF-8"),
        "{errors}"
    );

    // The running server saw all of it and goes on with what it had.
    until("a rejected set", || {
        let rejected = server.metric("serin_config_reloads_total{result=\"rejected\"}");
        (rejected > Some(0.0)).then_some(())
    });
    let now: Vec<Value> = (0..30)
        .map(|user| server.decide(&format!("u-{user}"))["variant"].clone())
        .collect();
    assert_eq!(now, decided);
    server.check_healthy();
}

#[test]
fn the_same_designs_over_http() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut control = server.control();
    let design = |weight: Value| {
        json!({"id": "next", "prompt": "greeting", "unit": "session", "status": "running", "variants": [
            {"name": "a", "version": "1.0.0", "weight": weight}, {"name": "b", "version": 2, "weight": 1}]})
    };
    for (change, field) in [
        (design(json!(0)), "variants[0].weight"),
        (design(json!(-1)), "variants[0].weight"),
        (design(json!("1")), "variants[0].weight"),
        (
            json!({"id": "next", "prompt": "greeting", "unit": "session", "variants": []}),
            "variants",
        ),
    ] {
        let problem = control
            .post("/api/v1/experiments", &change)
            .check_problem(422, "INVALID_EXPERIMENT");
        assert_eq!(problem["problems"][0]["field"], field, "{problem}");
    }
    let endless = design(json!(1))
        .to_string()
        .replace("\"weight\":1}]", "\"weight\":1e999}]");
    control
        .post_bytes("/api/v1/experiments", endless.as_bytes())
        .check_problem(400, "BAD_JSON");
    let mut unknown = design(json!(1));
    unknown["variants"][1]["version"] = json!("9.9.9");
    let problem = control
        .post("/api/v1/experiments", &unknown)
        .check_problem(422, "INVALID_EXPERIMENT");
    assert_eq!(problem["problems"][0]["field"], "variants[1].version");
    for body in ["", "{", "[]", "7", "\u{0}"] {
        let reply = control.post_bytes("/api/v1/experiments", body.as_bytes());
        assert!((400..500).contains(&reply.status), "{body:?}: {reply:?}");
    }
    assert_eq!(control.post("/api/v1/experiments", &design(json!(1))).status, 201);
    control
        .post("/api/v1/experiments", &design(json!(1)))
        .check_problem(409, "EXPERIMENT_EXISTS");
    for path in [
        "/api/v1/experiments/nobody",
        "/api/v1/experiments/nobody/results",
        "/api/v1/experiments/%ff",
    ] {
        assert_eq!(
            control.get(path).status,
            if path.ends_with("%ff") { 400 } else { 404 },
            "{path}"
        );
    }
    control
        .get("/api/v1/audit?limit=0")
        .check_problem(400, "BAD_QUERY");
    control
        .get("/api/v1/audit?after=x")
        .check_problem(400, "BAD_QUERY");
    let long = json!({"reason": "x".repeat(2_000)});
    control
        .post("/api/v1/experiments/tone/freeze", &long)
        .check_problem(422, "INVALID_BODY");
    let mut deep = "[".repeat(100_000);
    deep.push_str(&"]".repeat(100_000));
    control
        .post_bytes("/api/v1/experiments", deep.as_bytes())
        .check_problem(400, "BAD_JSON");
    server.check_healthy();
}
