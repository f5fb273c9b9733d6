//! `POST /v1/decide` against a bare hyper server that parses the same body and answers as many bytes: CPU per request
//! from the kernel's accounting and requests per second, in interleaved rounds. Load from wrk (Debian: wrk).
//!
//! `cargo bench --bench http`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark stops at the first surprise"
)]

mod common;

use bytes::Bytes;
use common::{ServerProcess, exchange, median, post};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serin::api::wire::{self, DecideRequest};
use std::{convert::Infallible, fs, net::TcpStream, path::Path, process::Command};

const ROUNDS: usize = 16;
const SECONDS: u32 = 2;
const CONNECTIONS: usize = 64;

fn body(user: usize) -> String {
    format!(
        r#"{{"prompt":"prompt_0","context":{{"user":"user-{user:08}","tenant":"acme","country":"DE","plan":"pro"}}}}"#
    )
}

/// The smallest server that does the same outward work.
fn serve_bare(folder: &Path) -> ! {
    let answer_bytes: usize = fs::read_to_string(folder.join("answer_bytes"))
        .unwrap()
        .parse()
        .unwrap();
    let answer = Bytes::from(vec![b'x'; answer_bytes]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let parsed: DecideRequest<'_> = wire::parse(&body).unwrap();
                        std::hint::black_box(&parsed);
                        let mut response = Response::new(Full::new(answer));
                        let headers = response.headers_mut();
                        headers.insert(
                            "content-type",
                            hyper::header::HeaderValue::from_static("application/json"),
                        );
                        headers.insert(
                            "cache-control",
                            hyper::header::HeaderValue::from_static("no-store"),
                        );
                        Ok::<_, Infallible>(response)
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

/// One round of load: microseconds of server CPU per request, requests per second.
fn round(server: &ServerProcess, script: &Path) -> (f64, f64) {
    let before = server.cpu_seconds();
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "-s"])
        .arg(script)
        .arg(format!("http://{}/v1/decide", server.address))
        .output()
        .unwrap_or_else(|error| panic!("wrk (Debian package wrk): {error}"));
    let cpu = server.cpu_seconds() - before;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let number = |after: &str| -> f64 {
        let at = text.find(after).unwrap_or_else(|| panic!("{text}")) + after.len();
        text[at..].split_whitespace().next().unwrap().parse().unwrap()
    };
    let requests: f64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    (cpu * 1e6 / requests, number("Requests/sec:"))
}

fn main() {
    if let Some((role, folder)) = common::role() {
        match role.as_str() {
            "bare" => serve_bare(&folder),
            _ => common::serve_serin(&folder),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    common::write_config(folder.path(), 10);
    let serin = ServerProcess::start("serin", folder.path());
    let mut stream = TcpStream::connect(serin.address).unwrap();
    let (_, answer) = exchange(&mut stream, &post("/v1/decide", &body(1)));
    fs::write(folder.path().join("answer_bytes"), answer.len().to_string()).unwrap();
    let bare = ServerProcess::start("bare", folder.path());
    let script = folder.path().join("decide.lua");
    let bodies: Vec<String> = (0..512).map(|user| format!("'{}'", body(user))).collect();
    let lua = format!(
        "local bodies = {{{}}}\nlocal requests = {{}}\nlocal n = 0\n\
         init = function(args)\n  for i, body in ipairs(bodies) do\n    requests[i] = wrk.format('POST', nil, \
         {{['Content-Type'] = 'application/json'}}, body)\n  end\nend\n\
         request = function()\n  n = n % #requests + 1\n  return requests[n]\nend\n",
        bodies.join(",")
    );
    fs::write(&script, lua).unwrap();
    round(&serin, &script);
    round(&bare, &script);
    let (mut cpu, mut rate) = (Vec::new(), Vec::new());
    let (mut serin_cpu, mut bare_cpu, mut serin_rate, mut bare_rate) = (vec![], vec![], vec![], vec![]);
    for number in 0..ROUNDS {
        // In turn first and second, so that a drift of the machine favours neither.
        let (a, b) = if number % 2 == 0 {
            let a = round(&serin, &script);
            (a, round(&bare, &script))
        } else {
            let b = round(&bare, &script);
            (round(&serin, &script), b)
        };
        cpu.push(a.0 / b.0);
        rate.push(a.1 / b.1);
        serin_cpu.push(a.0);
        serin_rate.push(a.1);
        bare_cpu.push(b.0);
        bare_rate.push(b.1);
    }
    println!(
        "POST /v1/decide, {} bytes in, {} bytes out, {CONNECTIONS} connections, {ROUNDS} interleaved rounds of {SECONDS} s, medians",
        body(1).len(),
        answer.len()
    );
    println!(
        "  server CPU per request   serin {:6.2} µs   bare hyper {:6.2} µs   ratio {:.3}",
        median(serin_cpu),
        median(bare_cpu),
        median(cpu)
    );
    println!(
        "  requests per second      serin {:6.0}      bare hyper {:6.0}      ratio {:.3}",
        median(serin_rate),
        median(bare_rate),
        median(rate)
    );
}
