//! What comes of submitting a command: done, done before, refused, or not written.

use super::{catalog::Catalog, decide::Rejection, done::Done};
use crate::{
    domain::{
        Timestamp,
        command::{Command, Origin},
        event::Recorded,
        id::{ExperimentId, Revision},
    },
    store::{ControlLog, error::StoreError},
};
use std::sync::Arc;

/// Why a command did not go through.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// Refused: the caller can mend it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Not written: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The experiment changed since the caller looked at it.
    #[error("{}", stale(.id, *.present, *.based_on))]
    Stale {
        /// Which.
        id: ExperimentId,
        /// Its last change; none when it does not exist.
        present: Option<Revision>,
        /// The one the caller knew.
        based_on: Revision,
    },
    /// Another request was done under the same idempotency key.
    #[error("another request was done under the idempotency key `{0}`: take a new key for a new request")]
    KeyReused(String),
}

fn stale(id: &ExperimentId, present: Option<Revision>, based_on: Revision) -> String {
    match present {
        Some(present) => format!(
            "experiment `{id}` is at revision {present} and not at {based_on}: look at what changed, then decide again"
        ),
        None => format!("experiment `{id}` does not exist, so it is not at revision {based_on}"),
    }
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The log after it.
    pub revision: Revision,
    /// What happened; empty when nothing had to.
    pub events: Vec<Arc<Recorded>>,
    /// It had been done before under its idempotency key: these are the revision and the events of that time.
    pub replayed: bool,
}

impl Submitted {
    pub(super) fn now(revision: Revision, events: Vec<Arc<Recorded>>) -> Self {
        Self {
            revision,
            events,
            replayed: false,
        }
    }
}

/// A refused command of a set, by its place in it.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedCommand {
    /// Index into the submitted set.
    pub index: usize,
    /// Why.
    pub rejection: Rejection,
}

/// Why a set of commands did not go through; nothing of it was done.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitAllError {
    /// At least one was refused.
    Rejected(Vec<RefusedCommand>),
    /// Not written.
    Store(StoreError),
}

/// Why nothing was appended.
pub(super) enum Halted<E> {
    /// It was done before.
    Done(Done),
    /// Refused before anything was decided.
    Refused(SubmitError),
    /// Whoever makes the commands refused, or the control plane did.
    Failed(E),
}

impl<E: From<SubmitAllError>> From<SubmitAllError> for Halted<E> {
    fn from(error: SubmitAllError) -> Self {
        Self::Failed(error.into())
    }
}

/// Whether a command may go on to be decided: it was not done before, and its experiment is as its sender knows it.
pub(super) fn permitted(
    catalog: &Catalog,
    origin: &Origin,
    command: &Command,
    based_on: Option<Revision>,
    now: Timestamp,
) -> Result<(), Halted<SubmitAllError>> {
    // First of all: after the first time the experiment is at another revision, by that very request.
    new_request(catalog, origin, now)?;
    let (Some(based_on), Some(id)) = (based_on, command.experiment()) else {
        return Ok(());
    };
    let present = catalog.experiments.get(id).map(|experiment| experiment.revision);
    if present == Some(based_on) {
        return Ok(());
    }
    Err(Halted::Refused(SubmitError::Stale {
        id: id.clone(),
        present,
        based_on,
    }))
}

/// Whether a request was not done before.
pub(super) fn new_request<E>(catalog: &Catalog, origin: &Origin, now: Timestamp) -> Result<(), Halted<E>> {
    match done_before(catalog, origin, now) {
        Ok(None) => Ok(()),
        Ok(Some(done)) => Err(Halted::Done(done.clone())),
        Err(reused) => Err(Halted::Refused(reused)),
    }
}

/// What was done under the key of a request; an error when that was another request.
fn done_before<'c>(
    catalog: &'c Catalog,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<&'c Done>, SubmitError> {
    let Some(idempotency) = &origin.idempotency else {
        return Ok(None);
    };
    match catalog.done.find(&origin.actor, &idempotency.key, now) {
        Some(done) if *done.request != *idempotency.request => {
            Err(SubmitError::KeyReused(idempotency.key.clone()))
        }
        done => Ok(done),
    }
}

/// What a request did when it was done.
pub(super) fn replayed(log: &dyn ControlLog, done: &Done) -> Result<Submitted, StoreError> {
    let before = Revision(done.first.0.saturating_sub(1));
    let count = usize::try_from(done.last.0 - before.0).unwrap_or(usize::MAX);
    // A freeze that is not written yet has no entry.
    let events = log.read(before, count)?;
    Ok(Submitted {
        revision: done.last,
        events: events.into_iter().map(Arc::new).collect(),
        replayed: true,
    })
}
