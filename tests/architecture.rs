//! Who may import whom: fails when a lower module imports a higher one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every module, and the modules of the crate it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("clock", &["domain"]),
    ("domain", &[]),
    ("stats", &[]),
    ("routing", &["domain"]),
    ("store", &["domain", "stats"]),
    ("control_plane", &["clock", "domain", "routing", "store"]),
    ("collector", &["clock", "domain", "routing", "stats", "store"]),
    ("report", &["collector", "control_plane", "domain", "stats"]),
    (
        "guardrails",
        &["clock", "collector", "control_plane", "domain", "report", "stats"],
    ),
    ("notices", &["clock", "control_plane", "domain", "store"]),
    ("preflight", &["domain", "stats"]),
    ("definitions", &["control_plane", "domain"]),
    ("settings", &["definitions", "domain", "notices"]),
    ("telemetry", &[]),
    (
        "api",
        &[
            "clock",
            "collector",
            "control_plane",
            "definitions",
            "domain",
            "guardrails",
            "notices",
            "preflight",
            "report",
            "routing",
            "stats",
            "store",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "api",
            "clock",
            "collector",
            "control_plane",
            "definitions",
            "domain",
            "guardrails",
            "notices",
            "report",
            "routing",
            "settings",
            "stats",
            "store",
            "telemetry",
        ],
    ),
    (
        "simulation",
        &[
            "clock",
            "collector",
            "control_plane",
            "domain",
            "guardrails",
            "report",
            "routing",
            "stats",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "app",
            "clock",
            "collector",
            "control_plane",
            "definitions",
            "domain",
            "preflight",
            "report",
            "routing",
            "settings",
            "simulation",
            "stats",
            "telemetry",
        ],
    ),
];

/// Outside crates that only one place may name.
const HOMES: &[(&str, &[&str])] = &[
    ("xxhash_rust", &["routing/hash.rs", "collector/intake.rs"]),
    (
        "arc_swap",
        &["routing/live.rs", "control_plane/mod.rs", "collector/"],
    ),
    ("rusqlite", &["store/sqlite/"]),
    ("toml", &["definitions/"]),
    ("notify", &["definitions/"]),
    ("gix", &["definitions/git/"]),
    ("statrs", &["stats/"]),
    ("clap", &["cli/"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("axum", &["api/"]),
    ("utoipa", &["api/"]),
    ("utoipa_axum", &["api/"]),
    ("subtle", &["domain/token.rs"]),
    ("crc32fast", &["domain/token.rs"]),
    ("cel", &["routing/audience"]),
    ("rand_distr", &["simulation/"]),
    ("rand_xoshiro", &["simulation/random.rs"]),
    ("indicatif", &["cli/"]),
    ("anstream", &["cli/paint.rs"]),
    ("anstyle", &["cli/paint.rs", "cli/prompt/diff.rs"]),
    ("rustix", &["cli/prompt/evaluate/program.rs"]),
    ("csv", &["cli/analyze/"]),
    ("parquet", &["cli/analyze/"]),
    ("plotters", &["cli/plot/"]),
    ("similar", &["report/prompt_diff.rs"]),
    ("hmac", &["notices/signature.rs"]),
    ("hyper_rustls", &["notices/client.rs"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 20, "the sources were not found");
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found
        .iter()
        .map(|path| (name(path), code(&fs::read_to_string(path).unwrap())))
        .collect()
}

/// The text without comments, so that prose may name what code must not.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The modules that follow `crate::` in a text, in grouped imports too.
fn imported(text: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut fresh) = (0, true);
        for (offset, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if fresh && !c.is_whitespace() => {
                    names.insert(word(&group[offset..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn modules_import_only_from_below() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, text) in files() {
        let module = file.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let below = allowed
            .get(module)
            .unwrap_or_else(|| panic!("{module} is not in the table of this test"));
        for import in imported(&text) {
            if import != module && allowed.contains_key(import.as_str()) && !below.contains(&import.as_str())
            {
                wrong.push(format!(
                    "src/{file} imports crate::{import}; {module} may import {below:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_at_home() {
    let mut wrong = Vec::new();
    for (file, text) in files() {
        for (outside, homes) in HOMES {
            let names = |line: &str| {
                let line = line.trim_start();
                line.starts_with(&format!("use {outside}::")) || line.starts_with(&format!("use {outside};"))
            };
            if text.lines().any(names) && !homes.iter().any(|home| file.starts_with(home)) {
                wrong.push(format!("src/{file} uses {outside}; its home is {homes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_hot_path_reads_no_clock_and_takes_no_lock() {
    for (file, text) in files()
        .iter()
        .filter(|(file, _)| file.starts_with("routing/") && !file.contains("audience"))
    {
        for forbidden in [
            "Mutex",
            "RwLock",
            "std::fs",
            "std::time",
            "tokio",
            "async ",
            "Timestamp::now",
        ] {
            assert!(!text.contains(forbidden), "src/{file} has {forbidden}");
        }
    }
}

#[test]
fn grouped_imports_are_seen() {
    let text = "use crate::{\n    domain::{id::A, b},\n    store::c,\n};\nuse crate::clock;";
    assert_eq!(
        imported(text),
        ["clock", "domain", "store"].map(str::to_owned).into()
    );
}
