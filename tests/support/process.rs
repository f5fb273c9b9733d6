//! The real program in a folder of its own, and a small HTTP client to talk to it with.
//!
//! Nothing here sleeps for luck: what takes time is asked for again and again until a deadline.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tokio::time::Instant;

/// The longest anything may take that is not measured by itself.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Two versions, half of the units each, and nothing that could freeze.
pub const TONE: &str = r#"prompt = "greeting"
kind = "experiment"
status = "running"
unit = "user"
[[variants]]
name = "control"
version = "1.0.0"
weight = 50
[[variants]]
name = "warm"
version = "1.1.0"
weight = 50
[[metrics]]
name = "resolved"
kind = "rate"
goal = "increase"
primary = true
"#;

/// The same with one more guardrail.
pub fn guarded(guardrail: &str) -> String {
    format!("{TONE}[[guardrails]]\n{guardrail}\n")
}

/// Looks until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, &mut look)
}

/// The same with a deadline of one's own.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            began.elapsed() < patience,
            "still waiting after {patience:?} for: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A folder with settings, a prompt of two versions and no experiment.
pub struct House {
    folder: tempfile::TempDir,
    sections: BTreeMap<&'static str, String>,
}

impl House {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let sections = BTreeMap::from([
            ("data_plane", "listen = \"127.0.0.1:0\"\n".to_owned()),
            ("control_plane", "listen = \"127.0.0.1:0\"\n".to_owned()),
            ("store", format!("path = '{}'\n", path("data/serin.db"))),
            ("prompts", format!("dir = '{}'\n", path("prompts"))),
            ("experiments", format!("dir = '{}'\n", path("experiments"))),
            ("outcomes", "checkpoint_every = \"500ms\"\n".to_owned()),
        ]);
        let house = Self { folder, sections };
        fs::create_dir_all(house.path("experiments")).unwrap();
        for version in ["1.0.0", "1.1.0"] {
            house.prompt("greeting", version, "");
        }
        house.write_settings();
        house
    }

    /// With one experiment.
    pub fn with(id: &str, experiment: &str) -> Self {
        let house = Self::new();
        house.experiment(id, experiment);
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds lines to a section of the settings, or replaces the section.
    pub fn set(mut self, section: &'static str, lines: &str) -> Self {
        let text = self.sections.entry(section).or_default();
        let key = lines.split(' ').next().unwrap();
        let kept: String = text
            .lines()
            .filter(|line| !line.starts_with(key))
            .fold(String::new(), |kept, line| kept + line + "\n");
        *text = format!("{kept}{lines}\n");
        self.write_settings();
        self
    }

    fn write_settings(&self) {
        let text: String = self
            .sections
            .iter()
            .map(|(name, lines)| format!("[{name}]\n{lines}"))
            .collect();
        write(&self.path("serin.toml"), text);
    }

    pub fn prompt_path(&self, name: &str, version: &str) -> PathBuf {
        self.path(&format!("prompts/{name}/{version}.toml"))
    }

    /// Writes a version whose text names it; `more` comes first.
    pub fn prompt(&self, name: &str, version: &str, more: &str) {
        let text =
            format!("{more}\ntype = \"text\"\nprompt = \"Say hello, {version}.\"\n[config]\nmodel = \"m\"\n");
        write(&self.prompt_path(name, version), text);
    }

    pub fn experiment_path(&self, id: &str) -> PathBuf {
        self.path(&format!("experiments/{id}.toml"))
    }

    pub fn experiment(&self, id: &str, text: &str) {
        write(&self.experiment_path(id), text);
    }

    /// The program with these arguments and this folder's settings at the end.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("serin.toml"))
            .env_remove("SERIN_LOG")
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self) -> Server {
        Server::spawn(self.command(&["serve"])).unwrap_or_else(|refused| panic!("did not start: {refused:?}"))
    }

    /// Starts what must not start.
    pub fn refused(&self) -> Refused {
        match Server::spawn(self.command(&["serve"])) {
            Ok(_) => panic!("it started"),
            Err(refused) => refused,
        }
    }
}

/// A program that ended instead of serving.
#[derive(Debug)]
pub struct Refused {
    pub code: Option<i32>,
    pub out: String,
    pub errors: String,
}

/// A serving program; killed when it goes out of scope.
pub struct Server {
    pub child: Child,
    pub data: SocketAddr,
    pub control: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Waits for the line with both addresses.
    pub fn spawn(mut command: Command) -> Result<Self, Refused> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let errors = BufReader::new(child.stderr.take().unwrap());
        let sink = Arc::clone(&log);
        let reading = thread::spawn(move || {
            for line in errors.lines() {
                let Ok(line) = line else { break };
                sink.lock().unwrap().push(line);
            }
        });
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let addresses: Vec<SocketAddr> = line
            .split("http://")
            .skip(1)
            .map(|rest| rest.trim_end_matches(|c: char| !c.is_ascii_digit()))
            .map(|rest| rest.split(',').next().unwrap().parse().unwrap())
            .collect();
        let &[data, control] = addresses.as_slice() else {
            let status = child.wait().unwrap();
            reading.join().unwrap();
            let errors = log.lock().unwrap().join("\n");
            return Err(Refused {
                code: status.code(),
                out: line,
                errors,
            });
        };
        Ok(Self {
            child,
            data,
            control,
            log,
        })
    }

    /// A connection to the data plane.
    pub fn data(&self) -> Client {
        Client::connect(self.data)
    }

    /// A connection to the control plane.
    pub fn control(&self) -> Client {
        Client::connect(self.control)
    }

    /// One decision of `greeting` for a user.
    pub fn decide(&self, user: &str) -> Value {
        self.data().ok(
            "/v1/decide",
            &json!({"prompt": "greeting", "context": {"user": user}}),
        )
    }

    pub fn results(&self, experiment: &str) -> Value {
        self.control()
            .get_json(&format!("/api/v1/experiments/{experiment}/results"))
    }

    pub fn experiment(&self, id: &str) -> Value {
        self.control().get_json(&format!("/api/v1/experiments/{id}"))
    }

    pub fn state(&self, id: &str) -> String {
        self.experiment(id)["state"].as_str().unwrap().to_owned()
    }

    /// The control log's entries.
    pub fn audit(&self) -> Vec<Value> {
        let audit = self.control().get_json("/api/v1/audit?limit=1000");
        audit["entries"].as_array().unwrap().clone()
    }

    /// The entries of one type.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let mut entries = self.audit();
        entries.retain(|entry| entry["event"]["type"] == kind);
        entries
    }

    /// The value of one series, written as in a scrape.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let scrape = self.control().get("/metrics").body;
        let line = scrape.lines().find(|line| {
            line.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next().unwrap().parse().ok()
    }

    /// The lines logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a logged line that has all of these.
    pub fn logged(&self, words: &[&str]) -> String {
        until(&format!("a log line with {words:?}"), || {
            self.log()
                .into_iter()
                .find(|line| words.iter().all(|word| line.contains(word)))
        })
    }

    /// Like the power going out.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Asks it to end and gives the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.ended()
    }

    pub fn ended(&mut self) -> Option<i32> {
        let status = until("the end of the process", || self.child.try_wait().unwrap());
        status.code()
    }

    /// It answers, and nothing in it panicked.
    pub fn check_healthy(&self) {
        assert_eq!(self.data().get("/healthz").status, 200);
        assert_eq!(self.data().get("/readyz").status, 200);
        let bad = self.log().into_iter().find(|line| line.contains("panic"));
        assert_eq!(bad, None);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It is a problem with this status and code.
    pub fn check_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["status"], status, "{self:?}");
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{self:?}");
        body
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn try_request(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Reply> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
        if !kind.is_empty() {
            request += &format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        self.try_reply()
    }

    /// Reads one answer; an error when the connection ends before it is complete.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.read.len() < end + length {
            self.fill()?;
        }
        let body = String::from_utf8(self.read[end..end + length].to_vec()).unwrap();
        self.read.drain(..end + length);
        Ok(Reply {
            status,
            headers,
            body,
        })
    }

    /// Whether any byte of an answer has come that was not read yet.
    pub fn has_part_of_an_answer(&self) -> bool {
        !self.read.is_empty()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.read.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    /// Waits until the other side has ended the connection; gives what it still said.
    pub fn rest(&mut self) -> Vec<u8> {
        let error = loop {
            if let Err(error) = self.fill() {
                break error;
            }
        };
        assert_ne!(
            error.kind(),
            io::ErrorKind::WouldBlock,
            "the connection stays open"
        );
        std::mem::take(&mut self.read)
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.try_request("GET", path, "", b"").unwrap()
    }

    pub fn get_json(&mut self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.json()
    }

    pub fn post_bytes(&mut self, path: &str, body: &[u8]) -> Reply {
        self.try_request("POST", path, "application/json", body).unwrap()
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    /// Posts what must be answered with 200.
    pub fn ok(&mut self, path: &str, body: &Value) -> Value {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{path} {body}: {reply:?}");
        reply.json()
    }

    /// A decision of `greeting` for a user.
    pub fn decide(&mut self, user: &str) -> Value {
        self.ok(
            "/v1/decide",
            &json!({"prompt": "greeting", "context": {"user": user}}),
        )
    }

    pub fn outcomes(&mut self, body: &Value) -> Value {
        self.ok("/v1/outcomes", body)
    }

    /// Decides for users until each arm has enough of them.
    pub fn assigned(&mut self, per_arm: usize) -> Assigned {
        let mut arms = Assigned::default();
        for user in 0..100_000 {
            let user = format!("u-{user}");
            let decision = self.decide(&user);
            let arm = match decision["variant"].as_str() {
                Some("control") => &mut arms.control,
                Some("warm") => &mut arms.warm,
                other => panic!("{other:?} in {decision}"),
            };
            if arm.len() < per_arm {
                arm.push(decision["receipt"].as_str().unwrap().to_owned());
            }
            arms.decisions += 1;
            if arms.control.len().min(arms.warm.len()) >= per_arm {
                return arms;
            }
        }
        panic!("too few units on an arm");
    }
}

/// Receipts by arm.
#[derive(Debug, Default)]
pub struct Assigned {
    pub control: Vec<String>,
    pub warm: Vec<String>,
    /// How many decisions it took.
    pub decisions: u64,
}

/// One outcome per receipt, with the same metrics.
pub fn reports<'a>(receipts: impl IntoIterator<Item = &'a String>, metrics: &Value) -> Value {
    receipts
        .into_iter()
        .map(|receipt| json!({"receipt": receipt, "metrics": metrics}))
        .collect()
}

/// What is left of an experiment's report for a metric and a variant.
pub fn figures(results: &Value, metric: &str, variant: &str) -> Value {
    let named = |list: &Value, key: &str, name: &str| {
        let list = list.as_array().unwrap();
        list.iter()
            .find(|item| item[key] == name)
            .cloned()
            .unwrap_or(Value::Null)
    };
    let metric = named(&results["metrics"], "metric", metric);
    if metric.is_null() {
        return metric;
    }
    named(&metric["variants"], "variant", variant)
}
