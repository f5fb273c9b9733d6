//! What a large registry costs: the start from its log, and one more version.
//!
//! `cargo bench --bench registry` prints milliseconds by the clock: 100,000 versions of 10,000 prompts, a tenth of which
//! include another prompt, are registered into a log in SQLite and in memory; then the median of several starts and of
//! single commands.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use serin::{
    clock::Clock,
    control_plane::{ControlPlane, catalog::Catalog, compile::compile},
    domain::{
        Timestamp,
        command::{Command, Origin},
        event::{Event, Recorded},
        id::{Environment, PromptKey, PromptName, Revision, VersionNumber},
        prompt::{Basis, PromptContent, PromptDraft, PromptVersion, composition::references},
    },
    routing::{live::LiveTable, table::RoutingTable},
    store::{ControlLog, sqlite::control_log::SqliteLog},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const PROMPTS: u32 = 10_000;
const VERSIONS: u32 = 10;
/// Every so many prompts one includes the prompt before it.
const INCLUDING: u32 = 10;
const STARTS: usize = 7;
const SINGLE: u32 = 101;
const PROMISED: Duration = Duration::from_secs(2);

fn production() -> Environment {
    Environment::new("production").unwrap()
}

fn name(prompt: u32) -> PromptName {
    PromptName::new(&format!("team {}/prompt {prompt}", prompt % 50)).unwrap()
}

/// About a kilobyte of text with three variables.
fn draft(prompt: u32, version: u32) -> PromptDraft {
    let mut text = format!(
        "Prompt {prompt}, version {version}: answer {{{{question}}}} for {{{{customer}}}} in {{{{tone}}}}.\n"
    );
    text.push_str(
        &"Use only what the order data and the help pages say, and offer a colleague otherwise. ".repeat(10),
    );
    if prompt % INCLUDING == 1 {
        text.push_str(&format!(
            "@@@langfusePrompt:name={}|label=production@@@",
            name(prompt - 1)
        ));
    }
    PromptDraft {
        semver: Some(semver::Version::new(1, u64::from(version), 0)),
        commit_message: Some("a clearer answer".to_owned()),
        author: Some("support".to_owned()),
        tags: vec!["support".to_owned()],
        config: serde_json::from_str(r#"{"model": "general-large", "temperature": 0.2}"#).unwrap(),
        ..PromptDraft::of(PromptContent::Text(text))
    }
}

/// The log as commands would have made it, entry by entry.
fn entries() -> Vec<Recorded> {
    let at: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
    let mut entries = Vec::new();
    let mut record = |event| {
        let revision = Revision(entries.len() as u64 + 1);
        entries.push(Recorded {
            revision,
            at,
            actor: "ci".into(),
            reason: "a clearer answer".into(),
            event,
            idempotency: None,
        });
    };
    for version in 1..=VERSIONS {
        for prompt in 0..PROMPTS {
            let draft = draft(prompt, version);
            record(Event::PromptRegistered {
                prompt: name(prompt),
                key: PromptKey(prompt),
                version: Arc::new(PromptVersion {
                    number: VersionNumber(version),
                    digest: draft.digest(),
                    created_at: at,
                    includes: references(&draft.prompt).unwrap(),
                    draft,
                }),
            });
            if version == 1 {
                let chosen = (prompt % INCLUDING == 1).then(|| serin::domain::prompt::LabelChoice {
                    prompt: name(prompt - 1),
                    label: serin::domain::id::LabelName::new("production").unwrap(),
                    version: VersionNumber(1),
                });
                record(Event::PromptDeployed {
                    prompt: name(prompt),
                    environment: production(),
                    version: VersionNumber(1),
                    previous: None,
                    wish: false,
                    basis: Box::new(Basis {
                        chosen: chosen.into_iter().collect(),
                        ..Basis::default()
                    }),
                });
            }
        }
    }
    entries
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn tell(what: &str, took: Duration) {
    println!("  {what:<58} {:9.2} ms", took.as_secs_f64() * 1e3);
}

fn open(path: &Path) -> (ControlPlane, Arc<LiveTable>) {
    let table = Arc::new(LiveTable::new(RoutingTable::empty(production())));
    let log = Box::new(SqliteLog::open(path).unwrap());
    (
        ControlPlane::open(log, Arc::clone(&table), production(), Clock::System).unwrap(),
        table,
    )
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let entries = entries();
    let mut log = SqliteLog::open(&path).unwrap();
    log.append(Revision(0), &entries).unwrap();
    drop(log);
    println!(
        "{} versions of {PROMPTS} prompts, {} entries (median of {STARTS} starts)",
        PROMPTS * VERSIONS,
        entries.len()
    );

    let (mut folds, mut compiles, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        let catalog = Catalog::fold(&entries);
        folds.push(began.elapsed());
        let began = Instant::now();
        let compiled = compile(&catalog, &production(), Timestamp::default(), None);
        compiles.push(began.elapsed());
        assert_eq!(compiled.table.len(), PROMPTS as usize);
        let began = Instant::now();
        let (plane, table) = open(&path);
        starts.push(began.elapsed());
        assert_eq!(plane.view().catalog, catalog);
        assert_eq!(
            table
                .load()
                .archives()
                .map(|archive| archive.versions().len())
                .sum::<usize>(),
            100_000
        );
    }
    let (fold, compile) = (median(folds), median(compiles));
    tell("fold", fold);
    tell("compile", compile);
    tell("start: read SQLite, parse, fold, compile", median(starts));
    println!(
        "  fold and compile: ratio {:.2} of the {} s promised",
        (fold + compile).as_secs_f64() / PROMISED.as_secs_f64(),
        PROMISED.as_secs()
    );

    let (plane, _) = open(&path);
    let submit = |prompt: u32, version: u32| {
        let command = Command::RegisterPrompt {
            name: name(prompt),
            draft: Box::new(draft(prompt, version)),
            environments: vec![production()],
        };
        let began = Instant::now();
        let submitted = plane.submit(Origin::new("bench", "one more"), command).unwrap();
        assert_eq!(submitted.events.len(), 1);
        began.elapsed()
    };
    println!("one more version, decided, written, compiled and swapped in (median of {SINGLE})");
    tell(
        "of a different prompt each time",
        median((0..SINGLE).map(|n| submit(n * 10, VERSIONS + 1)).collect()),
    );
    tell(
        "of one prompt",
        median((0..SINGLE).map(|n| submit(5, VERSIONS + 1 + n)).collect()),
    );
}
