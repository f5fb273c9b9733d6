//! What the benchmarks over HTTP share: a server in a process of its own, its CPU time, and a plain client.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A child process that serves on a port of its choice; ended when dropped.
pub struct ServerProcess {
    child: Child,
    pub address: SocketAddr,
    pub control: Option<SocketAddr>,
}

impl ServerProcess {
    /// Runs this benchmark program again in the role `role`, which prints its addresses on one line.
    pub fn start(role: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--role", role])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut addresses = line.split_whitespace().map(|address| address.parse().unwrap());
        Self {
            address: addresses.next().unwrap(),
            control: addresses.next(),
            child,
        }
    }

    /// User and system seconds so far, from the kernel's accounting.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The role and folder when this process is a child.
pub fn role() -> Option<(String, PathBuf)> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "--role")?;
    Some((arguments[at + 1].clone(), arguments[at + 2].clone().into()))
}

/// Serves Serin from `folder`, which has `serin.toml`, until killed.
pub fn serve_serin(folder: &Path) -> ! {
    let settings = serin::settings::Settings::load(&folder.join("serin.toml")).unwrap();
    let running = serin::app::start(settings).unwrap();
    println!("{} {}", running.data_plane, running.control_plane);
    running.wait().unwrap();
    std::process::exit(0);
}

/// Writes settings and definition files for `experiments` experiments of three variants.
pub fn write_config(folder: &Path, experiments: usize) {
    let (prompts, wanted) = (folder.join("prompts"), folder.join("experiments"));
    fs::create_dir_all(&wanted).unwrap();
    for n in 0..experiments {
        let prompt = prompts.join(format!("prompt_{n}"));
        fs::create_dir_all(&prompt).unwrap();
        for version in 0..3 {
            let text = format!("type = \"text\"\nprompt = \"version {version}: {{{{question}}}}\"\n");
            fs::write(prompt.join(format!("1.{version}.0.toml")), text).unwrap();
        }
        fs::write(wanted.join(format!("experiment_{n}.toml")), experiment(n)).unwrap();
    }
    let settings = format!(
        "[data_plane]\nlisten = \"127.0.0.1:0\"\n[control_plane]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {:?}\n[prompts]\ndir = {prompts:?}\n[experiments]\ndir = {wanted:?}\n",
        folder.join("data/serin.db")
    );
    fs::write(folder.join("serin.toml"), settings).unwrap();
}

fn experiment(n: usize) -> String {
    format!(
        r#"prompt = "prompt_{n}"
status = "running"
unit = "user"
audience = 'plan != "enterprise"'
[[variants]]
name = "control"
version = "1.0.0"
weight = 50
[[variants]]
name = "warm"
version = "1.1.0"
weight = 30
[[variants]]
name = "terse"
version = "1.2.0"
weight = 20
[[metrics]]
name = "resolved"
kind = "rate"
goal = "increase"
primary = true
[[guardrails]]
metric = "fallback"
max_ratio = 1.25
"#
    )
}

/// Sends one request over a kept connection and gives the response's head and body.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> (String, Vec<u8>) {
    stream.write_all(request).unwrap();
    let mut received = Vec::with_capacity(1024);
    let mut chunk = [0; 16_384];
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server closed the connection");
        received.extend_from_slice(&chunk[..read]);
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            })
            .map_or(0, |length| length.parse().unwrap());
        if received.len() >= end + 4 + length {
            return (head, received[end + 4..end + 4 + length].to_vec());
        }
    }
}

/// A POST with a JSON body.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
