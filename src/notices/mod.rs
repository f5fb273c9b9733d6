//! Telling people: signed webhooks for every transition of an experiment, and alerts in Alertmanager.
//!
//! The control log is the outbox. Each webhook has a cursor, "taken through this entry", and is sent one message after
//! the other, again and again until it takes it; so whatever the log has is told, in order, at least once, and a new
//! webhook begins where the log ends. Alerts are no messages but a state, derived from the catalog in force. Every
//! endpoint has a task of its own and none waits for another. Changes nothing, and nobody waits for it: it reads the
//! log like any other reader, after the fact. `app` runs it on a thread of its own.

pub mod address;
pub mod alertmanager;
mod backoff;
mod client;
mod message;
mod news;
pub mod signature;
pub mod status;
pub mod transition;
pub mod webhook;

use crate::{
    clock::Clock,
    control_plane::ControlPlane,
    domain::id::Revision,
    store::{error::StoreError, sqlite::cursors::Cursors},
};
use alertmanager::{Alerting, Alertmanager};
use backoff::Backoff;
use client::Client;
use news::{News, ended};
use signature::SecretError;
use status::{Standing, Status};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};
use webhook::{Outbox, Webhook};

/// Attempts under way may still succeed for so long after the end was asked for; what does not is sent after the next
/// start.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The first pause before the cursors' file is tried again.
const REOPEN: Duration = Duration::from_secs(1);
/// The longest such pause.
const REOPEN_AT_MOST: Duration = Duration::from_secs(30);

/// Who is told, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Receivers of messages.
    pub webhooks: Vec<Webhook>,
    /// Receivers of alerts.
    pub alertmanagers: Vec<Alertmanager>,
    /// The pause after a first failure.
    pub retry_min: Duration,
    /// The longest pause between two attempts.
    pub retry_max: Duration,
    /// How often an alert is sent again while it fires.
    pub repeat: Duration,
}

/// Why nobody could be told.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A secret cannot be used.
    #[error("the secret of webhook `{webhook}`: {error}")]
    Secret {
        /// Whose.
        webhook: String,
        /// Why.
        error: SecretError,
    },
    /// An endpoint has https, and there is nothing to judge its certificate by.
    #[error("the certificates of this system, for endpoints with https: {0}")]
    Roots(io::Error),
}

/// Everything that is needed to tell people, before it runs.
pub struct Notices {
    outboxes: Vec<Outbox>,
    alertings: Vec<Alerting>,
    statuses: Arc<[Arc<Status>]>,
    plane: Arc<ControlPlane>,
    cursors: PathBuf,
    begin: Revision,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices")
            .field("statuses", &self.statuses)
            .finish_non_exhaustive()
    }
}

impl Notices {
    /// Reads the secrets and what https needs. New webhooks begin after the log's present end, so this is called
    /// before anything is changed. `cursors` is the file that remembers what was taken.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare(
        options: &Options,
        plane: &Arc<ControlPlane>,
        clock: &Clock,
        cursors: PathBuf,
    ) -> Result<Self, PrepareError> {
        let addresses = options.webhooks.iter().map(|webhook| &webhook.url);
        let secure = addresses
            .chain(options.alertmanagers.iter().map(|receiver| &receiver.url))
            .any(address::Address::is_https);
        let client = Client::new(secure).map_err(PrepareError::Roots)?;
        let backoff = Backoff {
            least: options.retry_min,
            most: options.retry_max,
        };
        let mut outboxes = Vec::new();
        for webhook in &options.webhooks {
            let secrets = webhook.secrets.load().map_err(|error| PrepareError::Secret {
                webhook: webhook.name.clone(),
                error,
            })?;
            outboxes.push(Outbox {
                webhook: webhook.clone(),
                secrets,
                client: client.clone(),
                backoff,
                plane: Arc::clone(plane),
                clock: clock.clone(),
                status: Arc::new(Status::new(&webhook.name, Standing::Through(0.into()))),
            });
        }
        let alertings: Vec<Alerting> = options
            .alertmanagers
            .iter()
            .map(|receiver| Alerting {
                receiver: receiver.clone(),
                client: client.clone(),
                backoff: Backoff {
                    // Its state may have changed since, and it forgets what it does not hear of.
                    most: options.retry_max.min(options.repeat),
                    ..backoff
                },
                repeat: options.repeat,
                plane: Arc::clone(plane),
                clock: clock.clone(),
                status: Arc::new(Status::new(&receiver.name, Standing::Waiting(0.into()))),
            })
            .collect();
        let statuses = outboxes
            .iter()
            .map(|outbox| &outbox.status)
            .chain(alertings.iter().map(|alerting| &alerting.status))
            .map(Arc::clone)
            .collect();
        Ok(Self {
            outboxes,
            alertings,
            statuses,
            plane: Arc::clone(plane),
            cursors,
            begin: plane.view().catalog.revision,
        })
    }

    /// How each endpoint is doing, for metrics.
    #[must_use]
    pub fn statuses(&self) -> Arc<[Arc<Status>]> {
        Arc::clone(&self.statuses)
    }

    /// Tells until `end` says so, and then for at most two seconds more, for what is under way.
    pub async fn run(self, mut end: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for alerting in self.alertings {
            let news = News::of(&self.plane, &end);
            tasks.spawn(alerting.run(news));
        }
        if !self.outboxes.is_empty() {
            let names: Vec<String> = self
                .outboxes
                .iter()
                .map(|outbox| outbox.webhook.name.clone())
                .collect();
            if let Some((cursors, positions)) = open(self.cursors, names, self.begin, &mut end).await {
                for (outbox, position) in self.outboxes.into_iter().zip(positions) {
                    let news = News::of(&self.plane, &end);
                    tasks.spawn(outbox.run(position, cursors.clone(), news));
                }
            }
        }
        loop {
            tokio::select! {
                () = ended(&mut end) => break,
                Some(finished) = tasks.join_next() => {
                    if let Err(error) = finished {
                        tracing::error!(%error, "somebody is no longer told until the next start");
                    }
                }
            }
        }
        let finished = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, finished).await.is_err() {
            tracing::warn!("an endpoint did not answer before the end; it is told after the next start");
        }
    }
}

/// Opens the file of cursors and finds everybody's place. A disk that is full now must not keep the server from
/// starting, so this is tried until it works; none when the end came first.
async fn open(
    path: PathBuf,
    names: Vec<String>,
    begin: Revision,
    end: &mut watch::Receiver<bool>,
) -> Option<(SharedCursors, Vec<Revision>)> {
    let mut pause = REOPEN;
    loop {
        let (path, names) = (path.clone(), names.clone());
        let opened = off_the_runtime(move || {
            let mut cursors = Cursors::open(&path)?;
            let positions = cursors.begin(&names, begin)?;
            Ok((cursors, positions))
        });
        match opened.await {
            Ok((cursors, positions)) => return Some((SharedCursors::new(cursors), positions)),
            Err(error) => {
                tracing::error!(%error, ?pause, "nobody is told: the file that remembers what was taken cannot be used");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = ended(end) => return None,
        }
        pause = (pause * 2).min(REOPEN_AT_MOST);
    }
}

/// The one file of cursors, shared by the tasks of all webhooks.
#[derive(Debug, Clone)]
struct SharedCursors(Arc<parking_lot::Mutex<Cursors>>);

impl SharedCursors {
    fn new(cursors: Cursors) -> Self {
        Self(Arc::new(parking_lot::Mutex::new(cursors)))
    }

    /// Remembers that everything through an entry was taken.
    async fn advance(&self, name: &str, through: Revision) -> Result<(), StoreError> {
        let (cursors, name) = (Arc::clone(&self.0), name.to_owned());
        off_the_runtime(move || cursors.lock().advance(&name, through)).await
    }
}

/// What may wait for a disk or a lock, away from the thread that all endpoints share.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let finished = tokio::task::spawn_blocking(work).await;
    finished.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
}
