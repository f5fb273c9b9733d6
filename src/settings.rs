//! The settings file as written, turned into settings that can be relied on.
//!
//! Owns every setting, its default, its unit and its bounds, and is the only reader of the environment. Opens no
//! port and touches no path it names. `app` and the command line call it before anything else starts, so that a
//! wrong setting ends the process with every mistake named.

pub mod auth;
mod gates;
mod notifications;

use crate::{
    definitions::{
        document::{Content, Document, Lines},
        load::DefinitionDirs,
        mistake::{Mistake, Mistakes},
        reader::{Field, Report, Table},
    },
    domain::{
        allocation::Holdout,
        continuous_aa::ContinuousAa,
        duration_text,
        id::{Environment, LayerName, PromptName},
        prompt::Gate,
        rollout::Patience,
    },
    notices,
};
use auth::Auth;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the settings are when nobody says otherwise.
pub const DEFAULT_FILE: &str = "config/serin.toml";

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The environment of decisions that name none, and of experiments that name none.
    pub environment: Environment,
    /// The listener for gateways.
    pub data_plane: DataPlane,
    /// The listener for people and CI.
    pub control_plane: ControlPlane,
    /// Where state is kept.
    pub store: Store,
    /// The folders of prompts and experiments.
    pub definitions: DefinitionDirs,
    /// The prompts whose experiments show a continuous A/A test.
    pub continuous_aa: ContinuousAa,
    /// Whether a changed file is applied at once.
    pub watch: bool,
    /// How outcomes are taken.
    pub outcomes: Outcomes,
    /// How long silence is borne.
    pub patience: Patience,
    /// Who may use the control plane.
    pub auth: Auth,
    /// The evidence that environments ask for before a version is served there; those that are not named are open.
    pub gates: BTreeMap<Environment, Gate>,
    /// Units kept out of every experiment; absent: none.
    pub holdout: Option<Holdout>,
    /// Who is told of transitions.
    pub notifications: notices::Options,
}

/// The listener for gateways: decisions, outcomes, prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlane {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The largest body of outcomes, in bytes.
    pub max_body_bytes: usize,
    /// Connections at a time; more are answered and closed.
    pub max_connections: usize,
    /// The longest time a request's head may take.
    pub header_timeout: Duration,
    /// The longest time a whole request may take.
    pub request_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
}

/// The listener for people and CI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Address and port; port 0 takes a free one. A loopback address, as long as there are no tokens.
    pub listen: SocketAddr,
}

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The embedded store's file.
    pub path: PathBuf,
}

/// How outcomes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// A receipt older than this is refused.
    pub receipt_lifetime: Duration,
    /// How often counts are stored and the journal is cut.
    pub checkpoint_every: Duration,
    /// Days for which counts by minute are kept.
    pub timeseries_days: u32,
}

impl Settings {
    /// Reads a settings file; every absent key takes its default. Relative paths stay as written, so they are taken
    /// from the working directory.
    ///
    /// # Errors
    /// Every mistake in the file, or that it is missing or unreadable.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::read(Document::open(path), path)
    }

    /// Reads settings from text; `file` is the name that mistakes carry. Empty text gives the defaults.
    ///
    /// # Errors
    /// Every mistake in the text.
    ///
    /// ```
    /// let settings = serin::settings::Settings::parse("", "defaults".as_ref()).unwrap();
    /// assert_eq!(settings.data_plane.listen.port(), 8787);
    /// ```
    pub fn parse(text: &str, file: &Path) -> Result<Self, Mistakes> {
        Self::read(Document::toml(text, file), file)
    }

    fn read(document: Result<Document, Vec<Mistake>>, file: &Path) -> Result<Self, Mistakes> {
        let document = document.map_err(Mistakes)?;
        let report = Report::default();
        let settings = Table::root(&document.root, &report).and_then(|root| resolve(root, &report));
        let problems = report.into_problems();
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(located(problems, &document.lines, file)),
        }
    }
}

fn located(problems: Vec<crate::domain::problem::Problem>, lines: &Lines, file: &Path) -> Mistakes {
    let mistake = |problem| Mistake::located(file, lines, problem);
    Mistakes::sorted(problems.into_iter().map(mistake).collect())
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What a person wrote, with defaults for what is absent and stand-ins next to what is wrong.
fn resolve(mut root: Table<'_>, report: &Report) -> Option<Settings> {
    let environment = root.optional("environment");
    let environment = environment.map_or_else(
        || Environment::new("production").ok(),
        |field| field.name(Environment::new),
    );
    let data_plane = data_plane(root.section("data_plane"));
    let written = root.section("auth");
    // Where a token is wrong that is told, and not also that there is none.
    let has_tokens = written.has_items("tokens");
    let auth = auth::read(written);
    let control_plane = control_plane(root.section("control_plane"), &data_plane, has_tokens, report);
    let store = store(root.section("store"));
    let mut section = root.section("prompts");
    let prompts = path(&mut section, "dir", "config/prompts");
    let continuous_aa = section.optional("continuous_aa");
    let continuous_aa = continuous_aa.and_then(|field| continuous_aa_of(&field));
    section.finish();
    let mut section = root.section("experiments");
    let experiments = path(&mut section, "dir", "config/experiments");
    let watch = section
        .optional("watch")
        .is_none_or(|field| field.boolean().unwrap_or(true));
    section.finish();
    let mut section = root.section("outcomes");
    let outcomes = Outcomes {
        receipt_lifetime: duration(&mut section, "receipt_lifetime", 7 * DAY, 60 * SECOND..=90 * DAY),
        checkpoint_every: duration(
            &mut section,
            "checkpoint_every",
            10 * SECOND,
            100 * MILLISECOND..=HOUR,
        ),
        timeseries_days: u32::try_from(whole(&mut section, "timeseries_days", 90, 1..=3_650)).unwrap_or(90),
    };
    section.finish();
    let patience = patience(root.section("guardrails"), report);
    let holdout = root.optional("holdout").and_then(|field| holdout(&field));
    let gates = gates::read(root.section("environments"));
    let notifications = notifications::read(root.section("notifications"));
    root.finish();
    Some(Settings {
        environment: environment?,
        data_plane,
        control_plane,
        store,
        definitions: DefinitionDirs { prompts, experiments },
        continuous_aa: continuous_aa.unwrap_or_default(),
        watch,
        outcomes,
        patience,
        auth,
        gates,
        holdout,
        notifications,
    })
}

fn data_plane(mut section: Table<'_>) -> DataPlane {
    let timeouts = 10 * MILLISECOND..=HOUR;
    let data_plane = DataPlane {
        listen: address(section.optional("listen"), 8787),
        max_body_bytes: whole(&mut section, "max_body_bytes", 1_048_576, 1_024..=67_108_864),
        max_connections: whole(&mut section, "max_connections", 10_000, 1..=1_000_000),
        header_timeout: duration(&mut section, "header_timeout", 5 * SECOND, timeouts.clone()),
        request_timeout: duration(&mut section, "request_timeout", 10 * SECOND, timeouts.clone()),
        idle_timeout: duration(&mut section, "idle_timeout", 60 * SECOND, timeouts),
    };
    section.finish();
    data_plane
}

fn control_plane(
    mut section: Table<'_>,
    data_plane: &DataPlane,
    has_tokens: bool,
    report: &Report,
) -> ControlPlane {
    let listen = address(section.optional("listen"), 8788);
    let field = section.path_of("listen");
    section.finish();
    // Whoever reaches this listener may change what users see, and without tokens it asks nobody who they are.
    if !has_tokens && !listen.ip().to_canonical().is_loopback() {
        report.add(
            field,
            format_args!(
                "must be a loopback address such as 127.0.0.1:8788, found {listen}: there are no tokens, so \
                 anyone who reaches it could change what users get; `serin token` makes one"
            ),
        );
    } else if listen == data_plane.listen && listen.port() != 0 {
        report.add(field, format_args!("{listen} is `data_plane.listen` already"));
    }
    ControlPlane { listen }
}

fn store(mut section: Table<'_>) -> Store {
    let path = path(&mut section, "path", "data/serin.db");
    if let Some(redis) = section.optional("redis") {
        redis
            .wrong("a shared store is not supported by this release; leave out `redis` and use `store.path`");
    }
    section.finish();
    Store { path }
}

fn patience(mut section: Table<'_>, report: &Report) -> Patience {
    let default = Patience::default();
    let least = SECOND..=7 * DAY;
    let patience = Patience {
        hold_after: duration(
            &mut section,
            "hold_without_data",
            default.hold_after,
            least.clone(),
        ),
        freeze_after: duration(&mut section, "freeze_without_data", default.freeze_after, least),
    };
    if patience.freeze_after <= patience.hold_after {
        report.add(
            section.path_of("freeze_without_data"),
            format_args!(
                "must be longer than `hold_without_data` ({}), found {}",
                duration_text::format(patience.hold_after),
                duration_text::format(patience.freeze_after)
            ),
        );
    }
    section.finish();
    patience
}

fn continuous_aa_of(field: &Field<'_>) -> Option<ContinuousAa> {
    match field.content() {
        Content::Text(word) if word == "all" => Some(ContinuousAa::All),
        Content::Text(word) if word == "none" => Some(ContinuousAa::Only(BTreeSet::new())),
        Content::List(_) => {
            let names = field.list()?.into_iter();
            // All of them are read before one can be missing, so that every mistake is told.
            let names: Vec<_> = names.map(|field| field.name(PromptName::new)).collect();
            let names: Option<BTreeSet<_>> = names.into_iter().collect();
            names.map(ContinuousAa::Only)
        }
        _ => field.expected("\"all\", \"none\" or a list of prompts such as [\"support_reply\"]"),
    }
}

fn holdout(field: &Field<'_>) -> Option<Holdout> {
    let mut table = field.table()?;
    let name = table
        .required("name", "the holdout's name; a new name draws new units")
        .and_then(|field| field.name(LayerName::new));
    let share = table
        .required("share", "a number from 0 to less than 1")
        .and_then(|field| {
            let share = field.number()?;
            if (0.0..1.0).contains(&share) {
                return Some(share);
            }
            field.expected("a number from 0 to less than 1")
        });
    table.finish();
    Some(Holdout {
        name: name?,
        share: share?,
    })
}

fn address(field: Option<Field<'_>>, port: u16) -> SocketAddr {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let written = field.and_then(|field| {
        let address = field.text()?.parse().ok();
        address.or_else(|| {
            field.expected("an IP address and a port such as \"127.0.0.1:8787\" or \"[::1]:8787\"")
        })
    });
    written.unwrap_or(default)
}

fn path(section: &mut Table<'_>, key: &'static str, default: &str) -> PathBuf {
    let written = section.optional(key).and_then(|field| {
        let text = field.text()?;
        if text.is_empty() {
            return field.expected("a path");
        }
        Some(text)
    });
    PathBuf::from(written.unwrap_or(default))
}

fn whole(section: &mut Table<'_>, key: &'static str, default: usize, range: RangeInclusive<u64>) -> usize {
    let written = section.optional(key).and_then(|field| field.whole(range));
    written
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(default)
}

fn duration(
    section: &mut Table<'_>,
    key: &'static str,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Duration {
    let written = section.optional(key).and_then(|field| {
        let duration = field.duration()?;
        if range.contains(&duration) {
            return Some(duration);
        }
        let [least, most, found] = [*range.start(), *range.end(), duration].map(duration_text::format);
        field.wrong(format_args!("must be from {least} to {most}, found {found}"));
        None
    });
    written.unwrap_or(default)
}

/// Which log lines to write, from the environment variable `SERIN_LOG`, such as `info,serin::guardrails=debug`; none
/// when it is unset or empty.
#[must_use]
pub fn log_filter() -> Option<String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let filter = std::env::var("SERIN_LOG").ok()?;
    (!filter.trim().is_empty()).then_some(filter)
}

/// The token that commands send, from the environment variable `SERIN_TOKEN`; none when it is unset or empty. It has
/// no option of its own on the command line, which every other program on the machine can read.
#[must_use]
pub fn token() -> Option<String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let token = std::env::var("SERIN_TOKEN").ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}
