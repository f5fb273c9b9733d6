//! Both planes in this process, over a clock that stands still until it is moved.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::{
    process::Client,
    support::{environment, now},
};
use serde_json::Value as Json;
use serin::{
    api::{
        control_plane::{ControlState, router, serve},
        data_plane::DataPlane,
        metrics::Metrics,
        prompt_fetch::PromptFetch,
        server::{self, Limits, ServerStats},
    },
    clock::{Clock, ManualClock},
    collector::{Collector, CollectorOptions, intake::Intake},
    control_plane::{ControlPlane, View},
    domain::command::{Command, Origin},
    guardrails::reporting::reporting,
    routing::{live::LiveTable, receipt::ReceiptKeys, table::RoutingTable},
    store::{memory::MemoryLog, sqlite::journal::Journal},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// A server that judges nothing by itself.
pub struct Town {
    pub data: SocketAddr,
    pub control: SocketAddr,
    pub clock: ManualClock,
    _folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn intake(view: &View) -> Intake {
    let catalog = &view.catalog;
    Intake::compile(
        catalog.experiments.values(),
        catalog.prompts.values(),
        ReceiptKeys::new(catalog.receipt_keys.iter().copied()),
        Duration::from_secs(7 * 86_400),
    )
}

impl Town {
    /// After these commands.
    pub fn with(setup: impl IntoIterator<Item = Command>) -> Self {
        let clock = ManualClock::at(now());
        let shown = || Clock::Manual(clock.clone());
        let metrics = Arc::new(Metrics::new().unwrap());
        let table = Arc::new(LiveTable::new(RoutingTable::empty(environment())));
        let plane = ControlPlane::open(
            Box::new(MemoryLog::default()),
            Arc::clone(&table),
            environment(),
            shown(),
        );
        let plane = Arc::new(plane.unwrap());
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("serin.db")).unwrap();
        let options = CollectorOptions::default();
        let collector = Collector::open(
            journal,
            shown(),
            intake(&plane.view()),
            options,
            metrics.collector(),
        );
        let collector = collector.unwrap();
        let told = collector.clone();
        plane.subscribe(Box::new(move |view| told.set_intake(intake(view))));
        let rotate = Command::RotateReceiptKey { secret: [7; 16] };
        for command in [rotate].into_iter().chain(setup) {
            plane.submit(Origin::new("test", "setup"), command).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let bind = || {
            runtime
                .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
                .unwrap()
        };
        let (data, control) = (bind(), bind());
        let addresses = (data.local_addr().unwrap(), control.local_addr().unwrap());
        let handler = DataPlane::new(
            Arc::clone(&table),
            collector.clone(),
            shown(),
            1 << 20,
            Duration::from_secs(10),
            metrics.responses(),
            PromptFetch::new(Arc::default(), shown()),
        );
        let stats = Arc::new(ServerStats::default());
        runtime.spawn(server::serve(
            data,
            handler,
            Limits::default(),
            std::future::pending(),
            stats,
        ));
        let judged = shown();
        let state = ControlState {
            plane,
            table,
            collector: collector.clone(),
            environment: environment(),
            clock: shown(),
            metrics,
            assess: Arc::new(|_, _| Vec::new()),
            assess_aa: Arc::new(|_, _| Vec::new()),
            access: Arc::default(),
            assess_reporting: Arc::new(move |experiment| {
                reporting(experiment, &collector.arm_counts(experiment.key), judged.now())
            }),
        };
        runtime.spawn(serve(control, router(state), std::future::pending()));
        Self {
            data: addresses.0,
            control: addresses.1,
            clock,
            _folder: folder,
            _runtime: runtime,
        }
    }

    pub fn get(&self, path: &str) -> Json {
        Client::connect(self.control).get_json(path)
    }

    pub fn minutes(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }
}
