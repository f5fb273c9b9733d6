//! What wakes an endpoint: an entry of the log, time, or the end.

use crate::{control_plane::ControlPlane, domain::event::Recorded};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// How often an endpoint is woken when nobody announces anything: a freeze that the log could not take is in force
/// without an entry.
const LOOK: Duration = Duration::from_secs(1);

/// Wakes one endpoint.
pub(super) struct News {
    events: broadcast::Receiver<Arc<Recorded>>,
    end: watch::Receiver<bool>,
}

/// Why somebody was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The log has grown.
    Entry,
    /// Time has passed.
    Time,
    /// It is time to end.
    End,
}

impl News {
    /// Hears of everything from now on.
    pub(super) fn of(plane: &ControlPlane, end: &watch::Receiver<bool>) -> Self {
        Self {
            events: plane.events(),
            end: end.clone(),
        }
    }

    /// Waits for an entry of the log, at most for a moment.
    pub(super) async fn wait(&mut self) -> Woken {
        tokio::select! {
            biased;
            () = ended(&mut self.end) => Woken::End,
            _ = self.events.recv() => {
                // What else was announced is in the log by now, and will be found there.
                self.events = self.events.resubscribe();
                Woken::Entry
            }
            () = tokio::time::sleep(LOOK) => Woken::Time,
        }
    }

    /// Waits so long, whatever happens meanwhile.
    pub(super) async fn pause(&mut self, pause: Duration) -> Woken {
        tokio::select! {
            biased;
            () = ended(&mut self.end) => Woken::End,
            () = tokio::time::sleep(pause) => Woken::Time,
        }
    }

    /// Whether it is time to end.
    pub(super) fn is_over(&self) -> bool {
        *self.end.borrow() || self.end.has_changed().is_err()
    }
}

/// Waits for the end.
pub(super) async fn ended(end: &mut watch::Receiver<bool>) {
    // A dropped sender is the end as well.
    let _ = end.wait_for(|end| *end).await;
}
