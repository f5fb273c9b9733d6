//! The server shell over real sockets: limits, the connection cap, bodies, panics and the drain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
};
use serin::api::{
    problem::Problem,
    server::{Body, DrainReport, Handler, Limits, ServerStats, raise_descriptor_limit, read_body, serve},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const CAP: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Limits that no test meets by accident.
fn roomy() -> Limits {
    Limits {
        max_connections: 10_000,
        header_timeout: PATIENCE * 3,
        request_timeout: PATIENCE * 3,
        idle_timeout: PATIENCE * 3,
        drain_timeout: PATIENCE,
    }
}

#[derive(Clone)]
struct Routes(Arc<Shared>);

struct Shared {
    gate: Semaphore,
    at_gate: AtomicUsize,
    deadline: Duration,
}

impl Handler for Routes {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let text = |text: String| Response::new(Body::new(Bytes::from(text)));
        match request.uri().path() {
            "/gate" => {
                self.0.at_gate.fetch_add(1, Ordering::SeqCst);
                self.0.gate.acquire().await.unwrap().forget();
                text("through".into())
            }
            "/panic" => panic!("on purpose"),
            "/big" => Response::new(Body::new(Bytes::from(vec![0; 32 * 1024 * 1024]))),
            "/read" => match read_body(request.into_body(), CAP, self.0.deadline).await {
                Ok(body) => text(format!(
                    "{} {}",
                    body.len(),
                    body.iter().map(|b| u64::from(*b)).sum::<u64>()
                )),
                Err(error) => Problem::from(error).into_response(),
            },
            path => text(format!("this is {path}")),
        }
    }
}

struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    stats: Arc<ServerStats>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<DrainReport>,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            gate: Semaphore::new(0),
            at_gate: AtomicUsize::new(0),
            deadline: limits.request_timeout,
        });
        let stats = Arc::new(ServerStats::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(
            listener,
            Routes(shared.clone()),
            limits,
            stopped,
            stats.clone(),
        ));
        Self {
            address,
            shared,
            stats,
            stop,
            task,
        }
    }

    async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            read: Vec::new(),
        }
    }

    async fn stop(self) -> DrainReport {
        self.stop.send(()).unwrap();
        timeout(PATIENCE * 2, self.task).await.unwrap().unwrap()
    }
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        self.reply().await
    }

    async fn reply(&mut self) -> Reply {
        timeout(PATIENCE, self.read_reply())
            .await
            .expect("an answer in time")
            .expect("an answer")
    }

    async fn read_reply(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.fill().await?;
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Ok(Reply {
            status,
            headers,
            body,
        })
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the server ended the connection, without having said anything more.
    async fn ended(&mut self) {
        let end = timeout(PATIENCE, self.fill()).await.expect("the end in time");
        end.expect_err("the end, and nothing before");
    }
}

fn check_problem(reply: &Reply, status: StatusCode, code: &str) {
    assert_eq!(reply.status, status.as_u16(), "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["code"], code);
    assert_eq!(body["status"], status.as_u16());
}

fn check_closes(reply: &Reply) {
    assert_eq!(
        reply.headers.get("connection").map(String::as_str),
        Some("close"),
        "{reply:?}"
    );
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "still waiting for: {what}");
        sleep(ms(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_dribble_of_headers_is_cut() {
    let limit = ms(400);
    let server = Running::start(Limits {
        header_timeout: limit,
        ..roomy()
    })
    .await;
    let mut fresh = server.client().await;
    let began = Instant::now();
    let mut dribbler = server.client().await;
    dribbler.send("GET / HTTP/1.1\r\n").await;
    while dribbler.stream.write_all(b"a: b\r\n").await.is_ok() {
        assert!(began.elapsed() < limit + ms(1000));
        if timeout(ms(50), dribbler.fill()).await.is_ok() {
            break;
        }
    }
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    fresh.ended().await;
    // A connection that has been served before is under the same limit.
    let mut used = server.client().await;
    assert_eq!(used.get("/").await.status, 200);
    used.send("GET / HT").await;
    used.ended().await;
    assert_eq!(server.stats.cut_header(), 3);
    assert_eq!(server.stats.cut_idle(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_without_end_is_refused() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    client.send("GET / HTTP/1.1\r\nx: ").await;
    // More than the server reads before it answers: the answer must survive what is still on the way.
    let (mut reader, mut writer) = client.stream.into_split();
    let sender = tokio::spawn(async move {
        for _ in 0..20 {
            if writer.write_all(&[b'a'; 10_000]).await.is_err() {
                break;
            }
        }
        writer
    });
    let mut answer = Vec::new();
    timeout(PATIENCE, reader.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    drop(sender.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_body_is_answered_408() {
    let server = Running::start(Limits {
        request_timeout: ms(300),
        ..roomy()
    })
    .await;
    for framing in [
        "content-length: 10\r\n\r\n12345",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut client = server.client().await;
        let began = Instant::now();
        client
            .send(&format!("POST /read HTTP/1.1\r\nhost: test\r\n{framing}"))
            .await;
        let reply = client.reply().await;
        assert!(began.elapsed() >= ms(300));
        check_problem(&reply, StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT");
        check_closes(&reply);
        client.ended().await;
    }
    assert_eq!(server.stats.cut_request(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_never_reads_is_cut() {
    let server = Running::start(Limits {
        request_timeout: ms(300),
        ..roomy()
    })
    .await;
    let mut client = server.client().await;
    client.send("GET /big HTTP/1.1\r\nhost: test\r\n\r\n").await;
    until("the request in the gauge", || server.stats.in_flight() == 1).await;
    until("the cut", || server.stats.cut_request() == 1).await;
    until("the end", || {
        server.stats.connections() == 0 && server.stats.in_flight() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_beyond_the_request_limit_is_cut() {
    let server = Running::start(Limits {
        request_timeout: ms(200),
        ..roomy()
    })
    .await;
    let mut client = server.client().await;
    client.send("GET /gate HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.ended().await;
    assert_eq!(server.stats.cut_request(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connection_is_closed_and_active_one_is_not() {
    let limit = ms(600);
    let server = Running::start(Limits {
        idle_timeout: limit,
        ..roomy()
    })
    .await;
    let mut waiting = server.client().await;
    waiting.send("GET /gate HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut active = server.client().await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let began = Instant::now();
    while began.elapsed() < limit * 3 {
        assert_eq!(active.get("/").await.status, 200);
        sleep(ms(20)).await;
    }
    idle.ended().await;
    assert_eq!(server.stats.cut_idle(), 1);
    server.shared.gate.add_permits(1);
    assert_eq!(waiting.reply().await.body, "through");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_above_the_cap_gets_a_503_it_can_read() {
    raise_descriptor_limit().unwrap();
    let cap = 1000;
    let server = Running::start(Limits {
        max_connections: cap,
        ..roomy()
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..cap {
        clients.push(server.client().await);
    }
    assert_eq!(clients[cap - 1].get("/").await.status, 200);
    let mut extra = server.client().await;
    let reply = extra.get("/").await;
    check_problem(&reply, StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS");
    check_closes(&reply);
    assert_eq!(reply.headers["retry-after"], "1");
    extra.ended().await;
    // One that says nothing is told as well.
    assert_eq!(server.client().await.reply().await.status, 503);
    assert_eq!(server.stats.refused(), 2);
    assert_eq!(server.stats.connections(), cap as u64);

    clients.swap_remove(3);
    until("a free place", || server.stats.connections() < cap as u64).await;
    assert_eq!(server.client().await.get("/").await.status, 200);
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(server.stats.accepted(), cap as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_chunked_body_stops_at_the_cap() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    assert_eq!(client.get("/").await.status, 200);
    client
        .send("POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let (mut reader, mut writer) = client.stream.into_split();
    let sender = tokio::spawn(async move {
        let mut chunk = b"4000\r\n".to_vec();
        chunk.resize(6 + 0x4000, b'x');
        chunk.extend_from_slice(b"\r\n");
        let mut sent = 0;
        while writer.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let mut answer = [0; 1024];
    let read = timeout(PATIENCE, reader.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 413 "));
    let sent = timeout(PATIENCE, sender).await.unwrap().unwrap();
    // What lies in socket buffers and what is dropped after the answer; none of it is kept.
    assert!(sent < 32 * 1024 * 1024, "{sent} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_body_above_the_cap_is_refused_unread() {
    let server = Running::start(roomy()).await;
    let length = CAP + 1;
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut client = server.client().await;
        let head = format!("POST /read HTTP/1.1\r\nhost: test\r\n{expect}content-length: {length}\r\n\r\n");
        client.send(&head).await;
        let reply = client.reply().await;
        check_problem(&reply, StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
        check_closes(&reply);
    }
    // A client that sends everything before it reads is not reset.
    let mut client = server.client().await;
    client
        .send(&format!(
            "POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    client.send(&"x".repeat(length)).await;
    check_problem(
        &client.reply().await,
        StatusCode::PAYLOAD_TOO_LARGE,
        "BODY_TOO_LARGE",
    );
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_whole() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    let check = |reply: Reply, length: usize| {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.body, format!("{length} {}", length * usize::from(b'x')));
    };
    for length in [0, 1, 5000, 70_000, CAP] {
        let body = "x".repeat(length);
        client
            .send(&format!(
                "POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        check(client.reply().await, length);
    }
    client
        .send("POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxxx\r\n")
        .await;
    client.send("4\r\nxxxx\r\n0\r\n\r\n").await;
    check(client.reply().await, 7);
    let expecting = "POST /read HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    client.send(expecting).await;
    assert_eq!(client.reply().await.status, 100);
    client.send("xxx").await;
    check(client.reply().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_answered_and_closed() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    client.send("GET /old HTTP/1.0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "this is /old"));
    client.ended().await;
    let mut client = server.client().await;
    for _ in 0..2 {
        client
            .send("GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            .await;
        assert_eq!(client.reply().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    let requests: String = (0..50)
        .map(|i| format!("GET /{i} HTTP/1.1\r\nhost: test\r\n\r\n"))
        .collect();
    client.send(&requests).await;
    for i in 0..50 {
        assert_eq!(client.reply().await.body, format!("this is /{i}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_request_is_answered_400() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    client.send("\x00\x01 nonsense\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 400);
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_finishes_what_is_in_flight() {
    let server = Running::start(roomy()).await;
    let mut gated = Vec::new();
    for _ in 0..50 {
        let mut client = server.client().await;
        client.send("GET /gate HTTP/1.1\r\nhost: test\r\n\r\n").await;
        gated.push(client);
    }
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut fresh = server.client().await;
    let mut half = server.client().await;
    half.send("GET /half HTTP/1.1\r\nho").await;
    until("all at the gate", || {
        server.shared.at_gate.load(Ordering::SeqCst) == 50
    })
    .await;
    until("all accepted", || server.stats.accepted() == 53).await;

    let Running {
        address,
        shared,
        stop,
        task,
        ..
    } = server;
    stop.send(()).unwrap();
    idle.ended().await;
    fresh.ended().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    half.send("st: test\r\n\r\n").await;
    let reply = half.reply().await;
    assert_eq!(reply.body, "this is /half");
    check_closes(&reply);
    drop(half);
    assert!(!task.is_finished());

    shared.gate.add_permits(50);
    for client in &mut gated {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "through"));
        check_closes(&reply);
        client.ended().await;
    }
    drop(gated);
    let report = timeout(PATIENCE, task).await.unwrap().unwrap();
    // The half request is in flight if its bytes had been read when the drain began, and found after that if not.
    assert_eq!((report.in_flight + report.idle, report.cut), (53, 0));
    assert!(report.in_flight >= 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_answers_requests_that_just_arrived() {
    for _ in 0..50 {
        let server = Running::start(roomy()).await;
        let mut used = Vec::new();
        for _ in 0..5 {
            let mut client = server.client().await;
            assert_eq!(client.get("/").await.status, 200);
            used.push(client);
        }
        for client in &mut used {
            client.send("GET /last HTTP/1.1\r\nhost: test\r\n\r\n").await;
        }
        let mut fresh = server.client().await;
        fresh.send("GET /last HTTP/1.1\r\nhost: test\r\n\r\n").await;
        used.push(fresh);
        let stopping = tokio::spawn(server.stop());
        for client in &mut used {
            assert_eq!(client.reply().await.body, "this is /last");
            client.ended().await;
        }
        drop(used);
        assert_eq!(stopping.await.unwrap().cut, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_cuts_at_its_limit() {
    let server = Running::start(Limits {
        drain_timeout: ms(200),
        ..roomy()
    })
    .await;
    let mut stuck = server.client().await;
    stuck.send("GET /gate HTTP/1.1\r\nhost: test\r\n\r\n").await;
    until("the gate", || server.shared.at_gate.load(Ordering::SeqCst) == 1).await;
    let stats = server.stats.clone();
    let report = server.stop().await;
    assert_eq!((report.in_flight, report.cut), (1, 1));
    assert!(report.took >= ms(200));
    stuck.ended().await;
    assert_eq!((stats.connections(), stats.in_flight()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_server_cuts_its_connections() {
    let server = Running::start(roomy()).await;
    let mut client = server.client().await;
    assert_eq!(client.get("/").await.status, 200);
    server.task.abort();
    client.ended().await;
    until("the end", || server.stats.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_stays_with_its_request() {
    let server = Running::start(roomy()).await;
    let mut waiting = server.client().await;
    waiting.send("GET /gate HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut other = server.client().await;
    assert_eq!(other.get("/").await.status, 200);
    for _ in 0..3 {
        let mut client = server.client().await;
        let reply = client.get("/panic").await;
        check_problem(&reply, StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL");
        check_closes(&reply);
        client.ended().await;
    }
    assert_eq!(server.stats.panics(), 3);
    assert_eq!(other.get("/").await.status, 200);
    server.shared.gate.add_permits(1);
    assert_eq!(waiting.reply().await.body, "through");
    drop((waiting, other));
    until("all ends", || server.stats.connections() == 0).await;
}

/// Answers with a body that has a piece of so many bytes now and then, for ever.
#[derive(Clone)]
struct Pieces {
    bytes: usize,
    pause: Duration,
}

struct Endless {
    piece: Bytes,
    ticks: tokio::time::Interval,
}

impl From<Bytes> for Endless {
    fn from(piece: Bytes) -> Self {
        let ticks = tokio::time::interval(ms(10));
        Self { piece, ticks }
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let tick = self.ticks.poll_tick(context);
        tick.map(|_| Some(Ok(Frame::data(self.piece.clone()))))
    }
}

impl Handler for Pieces {
    type Body = Endless;

    async fn handle(&self, _: Request<Incoming>) -> Response<Endless> {
        Response::new(Endless {
            piece: Bytes::from(vec![b'x'; self.bytes]),
            ticks: tokio::time::interval(self.pause),
        })
    }
}

/// Serves pieces under short limits, to one client that has asked for them.
async fn endless(
    pieces: Pieces,
) -> (
    Client,
    Arc<ServerStats>,
    oneshot::Sender<()>,
    JoinHandle<DrainReport>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client {
        stream: TcpStream::connect(listener.local_addr().unwrap()).await.unwrap(),
        read: Vec::new(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stats = Arc::new(ServerStats::default());
    let limits = Limits {
        request_timeout: ms(200),
        idle_timeout: ms(1_000),
        ..roomy()
    };
    let stopped = async { drop(stopped.await) };
    let task = tokio::spawn(serve(listener, pieces, limits, stopped, stats.clone()));
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    (client, stats, stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_pieces_outlives_the_limit_of_a_request() {
    let pieces = Pieces {
        bytes: 10,
        pause: ms(50),
    };
    let (mut client, stats, stop, task) = endless(pieces).await;
    let began = Instant::now();
    // Many times as long as a request, and as an idle connection, may take.
    while began.elapsed() < ms(3_000) {
        timeout(PATIENCE, client.fill()).await.unwrap().unwrap();
    }
    assert_eq!((stats.cut_request(), stats.cut_idle()), (0, 0));
    // It is at rest whenever its last piece is out, so a drain need not wait for it.
    stop.send(()).unwrap();
    let report = timeout(PATIENCE, task).await.unwrap().unwrap();
    assert_eq!(report.cut, 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_no_more_pieces_is_cut() {
    let pieces = Pieces {
        bytes: 1 << 20,
        pause: ms(1),
    };
    let (client, stats, _stop, _task) = endless(pieces).await;
    until("the cut", || stats.cut_request() == 1 && stats.connections() == 0).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_piece_for_too_long_is_cut() {
    let pieces = Pieces {
        bytes: 10,
        pause: PATIENCE * 3,
    };
    let (client, stats, _stop, _task) = endless(pieces).await;
    until("the cut", || stats.cut_idle() == 1 && stats.connections() == 0).await;
    drop(client);
}

/// A handler need not be an `async fn`.
#[derive(Clone)]
struct Ready;

impl Handler for Ready {
    type Body = Body;

    fn handle(&self, _: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send {
        std::future::ready(Response::new(Body::new(Bytes::from_static(b"at once"))))
    }
}

#[tokio::test]
async fn one_thread_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client {
        stream: TcpStream::connect(listener.local_addr().unwrap()).await.unwrap(),
        read: Vec::new(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stats = Arc::new(ServerStats::default());
    let serving = serve(
        listener,
        Ready,
        Limits::default(),
        async { drop(stopped.await) },
        stats,
    );
    let asking = async {
        assert_eq!(client.get("/").await.body, "at once");
        stop.send(()).unwrap();
        client.ended().await;
    };
    let (report, ()) = tokio::join!(serving, asking);
    assert_eq!((report.idle, report.cut), (1, 0));
}
