//! The event stream: everything once and in order, wherever a reader comes back.

use super::{
    process::{House, PATIENCE, Server, TONE, until},
    step,
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use tokio::time::Instant;

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: u64,
    name: String,
    data: Value,
}

/// An open stream.
struct Stream {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Stream {
    /// Asks with HTTP/1.0, which has no chunks in between.
    fn open(server: &Server, query: &str, headers: &str) -> Self {
        Self::ask(
            server,
            &format!("GET /api/v1/events{query} HTTP/1.0\r\n{headers}\r\n"),
        )
    }

    fn ask(server: &Server, request: &str) -> Self {
        let mut stream = TcpStream::connect(server.control).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        Self { reader, head }
    }

    /// The next event; none when the stream has ended.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            id: 0,
            name: String::new(),
            data: Value::Null,
        };
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && event.id > 0 => return Some(event),
                _ => {}
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next().unwrap()).collect()
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn a_stream_begins_now_and_has_what_the_audit_log_has() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut stream = Stream::open(&server, "", "");
    assert!(stream.head.starts_with("HTTP/1.0 200"), "{}", stream.head);
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    step(&server, "hold");
    step(&server, "freeze");
    let reason = serde_json::json!({"reason": "a new key"});
    assert_eq!(server.control().post("/api/v1/receipt-keys", &reason).status, 201);
    let events = stream.take(3);
    assert_eq!(names(&events), ["held", "frozen", "receipt_key_added"]);
    let audit = server.audit();
    let last: Vec<_> = audit[audit.len() - 3..].to_vec();
    let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    assert_eq!(data, last);
    assert_eq!(events[2].data["event"].get("secret"), None, "{events:?}");
    assert!(events.iter().all(|event| event.data["revision"] == event.id));
}

#[test]
fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut seen = Stream::open(&server, "?after=0", "").take(5);
    // More happens than is kept for those who listen slowly, while nobody reads.
    for _ in 0..12 {
        step(&server, "hold");
        step(&server, "resume");
    }
    let last = seen.last().unwrap().id;
    // The address is the one it began with; the header wins.
    let mut stream = Stream::open(&server, "?after=0", &format!("Last-Event-ID: {last}\r\n"));
    seen.extend(stream.take(10));
    step(&server, "freeze");
    server.kill();
    while let Some(event) = stream.next() {
        seen.push(event);
    }
    let server = house.start();
    let last = seen.last().unwrap().id;
    let mut stream = Stream::open(&server, "", &format!("Last-Event-ID: {last}\r\n"));
    step(&server, "resume");
    let end = server.audit().last().unwrap()["revision"].as_u64().unwrap();
    while seen.last().unwrap().id < end {
        seen.push(stream.next().unwrap());
    }
    let ids: Vec<u64> = seen.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=end).collect::<Vec<_>>());
    let data: Vec<_> = seen.into_iter().map(|event| event.data).collect();
    assert_eq!(data, server.audit());
}

#[test]
fn a_stream_ends_with_the_server_and_whole() {
    let house = House::with("tone", TONE);
    let mut server = house.start();
    let request = "GET /api/v1/events?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut streams: Vec<Stream> = (0..3).map(|_| Stream::ask(&server, request)).collect();
    // All of them are at rest once they have what happened last.
    step(&server, "hold");
    for stream in &mut streams {
        let mut line = String::new();
        until("the last event", || {
            line.clear();
            stream.reader.read_line(&mut line).unwrap();
            line.contains("event: held").then_some(())
        });
    }
    let began = Instant::now();
    server.terminate();
    for stream in &mut streams {
        let mut rest = String::new();
        stream.reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest:?}");
    }
    assert_eq!(server.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn there_are_so_many_streams_and_no_more() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut streams: Vec<Stream> = (0..64).map(|_| Stream::open(&server, "", "")).collect();
    let refused = server.control().get("/api/v1/events");
    refused.check_problem(503, "TOO_MANY_STREAMS");
    assert_eq!(refused.headers["retry-after"], "15");
    // A reader that goes makes room, and the others still hear.
    streams.truncate(10);
    until("room for another", || {
        let again = Stream::open(&server, "", "");
        again
            .head
            .starts_with("HTTP/1.0 200")
            .then(|| streams.push(again))
    });
    step(&server, "freeze");
    for stream in &mut streams {
        assert_eq!(names(&stream.take(1)), ["frozen"]);
    }
}

#[test]
fn what_is_no_place_in_the_log_is_refused() {
    let house = House::with("tone", TONE);
    let server = house.start();
    for query in ["?after=-1", "?after=x", "?since=1"] {
        let refused = server.control().get(&format!("/api/v1/events{query}"));
        refused.check_problem(400, "BAD_QUERY");
    }
    let refused = Stream::open(&server, "", "Last-Event-ID: x\r\n");
    assert!(refused.head.starts_with("HTTP/1.0 400"), "{}", refused.head);
    // A place beyond the end, of a log that is gone: what happens from now on.
    let mut stream = Stream::open(&server, "?after=1000000", "");
    step(&server, "hold");
    assert_eq!(names(&stream.take(1)), ["held"]);
}
