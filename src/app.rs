//! The composition root: builds every part, names the concrete stores, starts the threads, drains on shutdown.
//!
//! Order of the start: lock and read the stores, read the definition files, bind the ports, serve. Whatever refuses
//! does so before a port is bound. Order of the end: stop accepting, answer what is in flight, store everything.

mod files;
mod judged;
mod telling;
mod tokens;

use crate::{
    api::{
        access::Access,
        control_plane::{self, ControlState},
        data_plane::DataPlane,
        metrics::Metrics,
        prompt_fetch::PromptFetch,
        server::{self, Limits, ServerStats},
    },
    clock::Clock,
    collector::{Collector, CollectorOptions, intake::Intake},
    control_plane::{ControlPlane, View},
    definitions::mistake::Mistakes,
    guardrails::{aa::Aa, watch::Watch},
    notices::PrepareError,
    routing::{live::LiveTable, receipt::ReceiptKeys, table::RoutingTable},
    settings::Settings,
    store::{
        error::StoreError,
        sqlite::{control_log::SqliteLog, journal::Journal},
    },
};
use std::{
    fs::{File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Connections the kernel may hold for the accept loop: with the usual 128 a burst of gateways waits a second for its
/// handshakes to be repeated.
const BACKLOG: u32 = 4096;

/// How often, and how long apart, the store's lock is asked for before another process is said to have it.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Why the server does not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files have mistakes, and there is no earlier good state to start from.
    #[error("mistakes in the prompts and experiments, and the store has no earlier good state\n{0}")]
    Definitions(Mistakes),
    /// The store cannot be read or written.
    #[error("{path}: {error}")]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// Another process has the store.
    #[error("{0}: another serin is using this store")]
    Locked(PathBuf),
    /// The receivers of notifications cannot be told.
    #[error("notifications: {0}")]
    Notifications(#[from] PrepareError),
    /// A listener could not be bound.
    #[error("cannot listen on {address} ({plane}): {error}")]
    Bind {
        /// Which one.
        plane: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The system refused a thread or a file.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Why the server did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// What was counted last could not be stored; the journal has it.
    #[error("the last checkpoint failed: {0}")]
    Store(#[from] StoreError),
    /// A thread ended in a panic.
    #[error("thread {0} had panicked")]
    Panicked(&'static str),
    /// The system refused.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where decisions and outcomes are served.
    pub data_plane: SocketAddr,
    /// Where people are served.
    pub control_plane: SocketAddr,
    /// Told to end: first the data plane, then everything else.
    end_data: watch::Sender<bool>,
    end_rest: watch::Sender<bool>,
    data: JoinHandle<()>,
    rest: Vec<(&'static str, JoinHandle<()>)>,
    collector: Collector,
    termination: Termination,
    _lock: File,
}

/// Starts everything and returns when both ports are bound.
///
/// # Errors
/// [`StartError`]; with mistakes in the files only on a first start, later ones begin with the last good state.
pub fn start(settings: Settings) -> Result<Running, StartError> {
    start_all(settings, None)
}

/// The same, and from then on the tokens in the file that the settings are from are followed.
///
/// # Errors
/// As [`start`].
pub fn start_from(settings: Settings, file: &Path) -> Result<Running, StartError> {
    start_all(settings, Some(file.to_owned()))
}

fn start_all(settings: Settings, file: Option<PathBuf>) -> Result<Running, StartError> {
    // First of all: a signal right after the ports are told must drain too.
    let termination = Termination::listen()?;
    let clock = Clock::System;
    let lock = lock(&settings.store.path)?;
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let table = Arc::new(LiveTable::new(RoutingTable::empty(settings.environment.clone())));
    let plane = Arc::new(open_control_plane(&settings, &table, &clock)?);
    let notices = telling::prepare(&settings, &plane, &clock)?;
    let reloads = metrics.reloads();
    files::prepare(&settings, &plane, &clock, &reloads)?;
    let collector = open_collector(&settings, &plane, &clock, &metrics)?;

    let stats = Arc::new(ServerStats::default());
    if let Err(error) = server::raise_descriptor_limit() {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
    let (end_data, data_ended) = watch::channel(false);
    let (end_rest, rest_ended) = watch::channel(false);
    let data_runtime = runtime::Builder::new_multi_thread()
        .thread_name("serin-data")
        .enable_all()
        .build()?;
    let control_runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let guard_runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let data_listener = bind(&data_runtime, "data plane", settings.data_plane.listen)?;
    let control_listener = bind(&control_runtime, "control plane", settings.control_plane.listen)?;
    let addresses = (data_listener.local_addr()?, control_listener.local_addr()?);

    metrics.show_server(Arc::clone(&stats), settings.data_plane.max_connections);
    plane.subscribe(metrics.subscriber());
    let limits = limits(&settings);
    let auth = &settings.auth;
    let access = Arc::new(Access::new(auth.tokens.clone(), auth.open_metrics));
    let handler = DataPlane::new(
        Arc::clone(&table),
        collector.clone(),
        clock.clone(),
        settings.data_plane.max_body_bytes,
        settings.data_plane.request_timeout,
        metrics.responses(),
        PromptFetch::new(Arc::clone(&access), clock.clone()),
    );
    let data = spawn("serin-data", move || {
        data_runtime.block_on(server::serve(
            data_listener,
            handler,
            limits,
            ended(data_ended),
            stats,
        ));
    })?;

    let assess = judged::assessor(collector.clone(), clock.clone());
    let assess_reporting = judged::reporting_assessor(collector.clone(), clock.clone());
    plane.witness_ends(judged::witness(
        collector.clone(),
        Arc::clone(&assess),
        Arc::clone(&assess_reporting),
    ));
    let aa = Arc::new(Aa::new(settings.continuous_aa.clone()));
    let followed = file.map(|file| (file, Arc::clone(&access), metrics.auth_reloads()));
    let state = ControlState {
        plane: Arc::clone(&plane),
        collector: collector.clone(),
        environment: settings.environment.clone(),
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        table: Arc::clone(&table),
        assess,
        assess_reporting,
        assess_aa: judged::aa_assessor(Arc::clone(&aa), collector.clone(), clock.clone()),
        access,
    };
    let watched = settings.watch.then(|| {
        (
            settings.definitions.clone(),
            settings.environment.clone(),
            Arc::clone(&plane),
            clock.clone(),
        )
    });
    let control_ended = rest_ended.clone();
    let control = spawn("serin-control", move || {
        control_runtime.block_on(async move {
            if let Some((dirs, environment, plane, clock)) = watched {
                tokio::spawn(files::follow(dirs, environment, plane, clock, reloads));
            }
            if let Some((file, access, reloads)) = followed {
                tokio::spawn(tokens::follow(file, access, reloads));
            }
            control_plane::serve(
                control_listener,
                control_plane::router(state),
                ended(control_ended),
            )
            .await;
        });
    })?;

    let patience = settings.patience;
    let mut rest = vec![("serin-control", control)];
    if let Some(notices) = notices {
        metrics.show_notices(notices.statuses());
        rest.push(("serin-notices", telling::start(notices, rest_ended.clone())?));
    }
    let replica = format!("{}@{}", std::process::id(), addresses.0);
    let time_to_freeze = metrics.time_to_freeze();
    let guard = Watch::new(
        plane,
        collector.clone(),
        clock,
        aa,
        time_to_freeze,
        replica,
        patience,
    );
    let changes = collector.subscribe_bad();
    let guardrails = spawn("serin-guardrails", move || {
        guard_runtime.block_on(async move {
            tokio::select! {
                () = guard.run(changes) => {}
                () = ended(rest_ended) => {}
            }
        });
    })?;
    rest.push(("serin-guardrails", guardrails));
    tracing::info!(data_plane = %addresses.0, control_plane = %addresses.1, "serving");
    Ok(Running {
        data_plane: addresses.0,
        control_plane: addresses.1,
        end_data,
        end_rest,
        data,
        rest,
        collector,
        termination,
        _lock: lock,
    })
}

impl Running {
    /// Serves until SIGTERM or SIGINT, then drains.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn wait(mut self) -> Result<(), StopError> {
        let Self { termination, .. } = &mut self;
        termination.wait();
        tracing::info!("asked to end: draining");
        self.stop()
    }

    /// Drains now: answers what is in flight, stores everything, ends every thread.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn stop(self) -> Result<(), StopError> {
        let mut panicked = None;
        // Nobody listening means that the thread has ended already.
        let _ = self.end_data.send(true);
        if self.data.join().is_err() {
            panicked = Some("serin-data");
        }
        let _ = self.end_rest.send(true);
        for (name, thread) in self.rest {
            if thread.join().is_err() {
                panicked = Some(name);
            }
        }
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.collector.shutdown())?;
        panicked.map_or(Ok(()), |name| Err(StopError::Panicked(name)))
    }
}

/// SIGTERM and SIGINT, caught from the moment this exists.
#[derive(Debug)]
struct Termination {
    runtime: runtime::Runtime,
    terminated: Signal,
    interrupted: Signal,
}

impl Termination {
    fn listen() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminated, interrupted) = {
            let _context = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self {
            runtime,
            terminated,
            interrupted,
        })
    }

    fn wait(&mut self) {
        let Self {
            runtime,
            terminated,
            interrupted,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        });
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

async fn ended(mut end: watch::Receiver<bool>) {
    // A dropped sender ends the server as well.
    let _ = end.wait_for(|end| *end).await;
}

fn bind(
    runtime: &runtime::Runtime,
    plane: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    let bound = runtime.block_on(async {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restarted server must not wait for the connections of the one before it.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    bound.map_err(|error| StartError::Bind {
        plane,
        address,
        error,
    })
}

fn limits(settings: &Settings) -> Limits {
    let plane = &settings.data_plane;
    Limits {
        max_connections: plane.max_connections,
        header_timeout: plane.header_timeout,
        request_timeout: plane.request_timeout,
        idle_timeout: plane.idle_timeout,
        drain_timeout: plane.request_timeout,
    }
}

/// Two processes on one store would each count what the other did not see.
fn lock(store: &Path) -> Result<File, StartError> {
    if let Some(folder) = store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| StartError::Store {
            path: folder.to_owned(),
            error: StoreError::Unavailable(error.to_string()),
        })?;
    }
    let path = store.with_extension("lock");
    let unavailable = |error: io::Error| StartError::Store {
        path: path.clone(),
        error: StoreError::Unavailable(error.to_string()),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(unavailable)?;
    // The kernel may still be clearing away a process that was just killed and is being replaced.
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
    }
    Err(StartError::Locked(store.to_owned()))
}

fn open_control_plane(
    settings: &Settings,
    table: &Arc<LiveTable>,
    clock: &Clock,
) -> Result<ControlPlane, StartError> {
    let path = &settings.store.path;
    let failed = |error| StartError::Store {
        path: path.clone(),
        error,
    };
    let log = SqliteLog::open(path).map_err(failed)?;
    let environment = settings.environment.clone();
    ControlPlane::open(Box::new(log), Arc::clone(table), environment, clock.clone()).map_err(failed)
}

fn open_collector(
    settings: &Settings,
    plane: &Arc<ControlPlane>,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Collector, StartError> {
    let path = Journal::path_beside(&settings.store.path);
    let failed = |error| StartError::Store {
        path: path.clone(),
        error,
    };
    let journal = Journal::open(&settings.store.path).map_err(failed)?;
    let lifetime = settings.outcomes.receipt_lifetime;
    let options = CollectorOptions {
        checkpoint_every: settings.outcomes.checkpoint_every,
        timeseries_days: settings.outcomes.timeseries_days,
        ..CollectorOptions::default()
    };
    let first = intake(&plane.view(), lifetime);
    let collector =
        Collector::open(journal, clock.clone(), first, options, metrics.collector()).map_err(failed)?;
    let told = collector.clone();
    plane.subscribe(Box::new(move |view| told.set_intake(intake(view, lifetime))));
    Ok(collector)
}

fn intake(view: &View, receipt_lifetime: Duration) -> Intake {
    let catalog = &view.catalog;
    Intake::compile(
        catalog.experiments.values(),
        catalog.prompts.values(),
        ReceiptKeys::new(catalog.receipt_keys.iter().copied()),
        receipt_lifetime,
    )
}
