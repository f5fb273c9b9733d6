//! What was done under idempotency keys: folded from the log like everything else, so that a request that is sent
//! again is known after a restart and by every process that reads the same log.
//!
//! Forgets by the times and the order of the entries alone, so that every fold forgets the same.

use crate::domain::{Timestamp, command::Idempotency, event::Recorded, id::Revision};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The most requests that are remembered.
pub const MOST_KEYS: usize = 10_000;
/// How long a request is remembered.
pub const REMEMBERED_HOURS: i64 = 24;

/// A request that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The digest of the request.
    pub request: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// The first entry it caused.
    pub first: Revision,
    /// The last one.
    pub last: Revision,
}

/// An actor and its key.
type Key = (Arc<str>, Arc<str>);

/// The requests that are remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DoneRequests {
    by_key: HashMap<Key, Done>,
    by_age: BTreeMap<Revision, Key>,
}

impl DoneRequests {
    /// What an actor did under a key, unless that is too long ago.
    #[must_use]
    pub fn find(&self, actor: &str, key: &str, now: Timestamp) -> Option<&Done> {
        let done = self.by_key.get(&(Arc::from(actor), Arc::from(key)))?;
        (!is_old(done, now)).then_some(done)
    }

    /// Takes in an entry that a keyed request caused.
    pub(super) fn remember(&mut self, entry: &Recorded, idempotency: &Idempotency) {
        let key: Key = (Arc::from(&*entry.actor), Arc::from(&*idempotency.key));
        if let Some(done) = self.by_key.get_mut(&key) {
            let follows = done.last.0 + 1 == entry.revision.0 && done.at == entry.at;
            if follows && *done.request == *idempotency.request {
                done.last = entry.revision;
                return;
            }
            self.by_age.remove(&done.first);
        }
        self.by_age.insert(entry.revision, key.clone());
        let done = Done {
            request: Arc::from(&*idempotency.request),
            at: entry.at,
            first: entry.revision,
            last: entry.revision,
        };
        self.by_key.insert(key, done);
        self.forget(entry.at);
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_age.first_entry() {
            let is_old = self.by_key.get(oldest.get()).is_none_or(|done| is_old(done, now));
            if !is_old && self.by_key.len() <= MOST_KEYS {
                return;
            }
            self.by_key.remove(&oldest.remove());
        }
    }
}

fn is_old(done: &Done, now: Timestamp) -> bool {
    now.duration_since(done.at).as_hours() >= REMEMBERED_HOURS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{event::Event, id::ExperimentId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn remember(requests: &mut DoneRequests, revision: u64, second: i64, actor: &str, key: &str) {
        let idempotency = Idempotency {
            key: key.to_owned(),
            request: format!("request {key}"),
        };
        let entry = Recorded {
            revision: Revision(revision),
            at: at(second),
            actor: actor.to_owned(),
            reason: String::new(),
            event: Event::ExperimentStopped {
                id: ExperimentId::new("e").unwrap(),
                conclusion: None,
                results: None,
            },
            idempotency: Some(idempotency.clone()),
        };
        requests.remember(&entry, &idempotency);
    }

    #[test]
    fn the_entries_of_one_request_are_one() {
        let mut requests = DoneRequests::default();
        remember(&mut requests, 5, 0, "ci", "k");
        remember(&mut requests, 6, 0, "ci", "k");
        remember(&mut requests, 7, 0, "other", "k");
        let done = requests.find("ci", "k", at(1)).unwrap();
        assert_eq!((done.first, done.last), (Revision(5), Revision(6)));
        assert_eq!(requests.find("other", "k", at(1)).unwrap().first, Revision(7));
        assert_eq!(requests.find("ci", "other", at(1)), None);
    }

    #[test]
    fn a_day_later_it_is_forgotten() {
        const DAY: i64 = 86_400;
        let mut requests = DoneRequests::default();
        remember(&mut requests, 1, 0, "ci", "k");
        assert!(requests.find("ci", "k", at(DAY - 1)).is_some());
        assert!(requests.find("ci", "k", at(DAY)).is_none());
        // The same key may then be used again, and is another request.
        remember(&mut requests, 2, DAY, "ci", "k");
        assert_eq!(requests.find("ci", "k", at(DAY)).unwrap().first, Revision(2));
        assert_eq!((requests.by_key.len(), requests.by_age.len()), (1, 1));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut requests = DoneRequests::default();
        for revision in 1..=MOST_KEYS as u64 + 5 {
            remember(&mut requests, revision, 0, "ci", &format!("k{revision}"));
        }
        assert_eq!(
            (requests.by_key.len(), requests.by_age.len()),
            (MOST_KEYS, MOST_KEYS)
        );
        assert!(requests.find("ci", "k5", at(0)).is_none());
        assert!(requests.find("ci", "k6", at(0)).is_some());
    }
}
