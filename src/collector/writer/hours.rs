//! Minutes in the store: read back before an hour is counted into again, and deleted when they are too old.

use super::Writer;
use crate::{
    collector::{intake::unix_second, state::Counts},
    store::{error::StoreError, sqlite::journal::Journal},
};

const HOURS_PER_DAY: u32 = 24;
const HOUR_S: u32 = 3_600;

impl Writer {
    /// Sees to it that an hour can be counted into, before anything of it is journalled.
    pub(super) fn open_hour(&mut self, hour: u32) -> Result<(), StoreError> {
        // Only this thread opens and gives up hours. One that is open and not the latest may be given up by the very
        // commit that journals the entry, so being open is not enough.
        if self.shared.counts.read().is_latest(hour) {
            return Ok(());
        }
        read_back(hour, &mut self.shared.counts.write(), &self.journal)
    }

    /// Once per round: whether anything is too old.
    pub(super) fn look_for_old_minutes(&mut self) {
        let hour = unix_second(self.clock.now()) / HOUR_S;
        let oldest = hour.saturating_sub(self.options.timeseries_days.saturating_mul(HOURS_PER_DAY));
        self.minutes_before = self.if_there_are_minutes_before(oldest);
    }

    /// After a commit that deleted some.
    pub(super) fn keep_looking_for_old_minutes(&mut self) {
        self.minutes_before = self.if_there_are_minutes_before(self.minutes_before);
    }

    fn if_there_are_minutes_before(&self, hour: u32) -> u32 {
        let found = hour > 0
            && self.journal.has_minutes_before(hour).unwrap_or_else(|error| {
                // The next round looks again.
                tracing::warn!(%error, "the outcome store could not be searched for old minutes");
                false
            });
        if found { hour } else { 0 }
    }
}

/// Makes an hour the latest, and takes back what is stored of one that is not open; all of it or nothing.
pub(super) fn read_back(hour: u32, counts: &mut Counts, journal: &Journal) -> Result<(), StoreError> {
    if counts.is_open(hour) {
        counts.open_hour(hour);
        return Ok(());
    }
    let read = journal.minutes_of(hour, |row| Ok(counts.restore_chunk(&row)?));
    match read {
        Ok(()) => counts.open_hour(hour),
        Err(_) => counts.forget_hour(hour),
    }
    read
}
