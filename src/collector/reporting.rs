//! Whether what was decided is reported back, and how soon: of one arm in one epoch.
//!
//! A version that dies before it reports must not look clean, so requests are compared with the receipts that something
//! was reported for. A request is judged once it is old enough for its sender to have said something; until then it waits
//! in one of two young slots, by the minute of its decision. Judges nothing. Additive, and a part of the arm's counters.

use super::codec::{FormatError, Reader, Writer};
use crate::{
    domain::guardrail::MISSING_AFTER_S,
    routing::hash::{BUCKETS, bucket},
};

/// Units are told apart by this many groups: what the error of a share is read from.
pub const GROUPS: usize = 128;
/// Delays are counted in powers of two: up to 1 s, 2 s, 4 s … 2²² s.
const DELAYS: usize = 24;
/// Minutes whose requests are not judged yet: the present one and the one before.
const YOUNG: usize = 2;

/// Requests and, of those, the ones that something was reported for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reported {
    /// Decisions that were counted.
    pub requests: u32,
    /// Of those, the receipts of at least one outcome.
    pub reported: u32,
}

/// The requests of some minutes, by group of units; nothing is held for none.
#[derive(Debug, Clone, Default, PartialEq)]
struct Groups(Vec<Reported>);

impl Groups {
    fn at(&mut self, group: usize) -> &mut Reported {
        if self.0.is_empty() {
            self.0 = vec![Reported::default(); GROUPS];
        }
        &mut self.0[group % GROUPS]
    }

    fn add(&mut self, other: &Self) {
        for (group, more) in other.0.iter().enumerate() {
            if *more != Reported::default() {
                let sum = self.at(group);
                sum.requests = sum.requests.saturating_add(more.requests);
                sum.reported = sum.reported.saturating_add(more.reported);
            }
        }
    }

    fn encode(&self, out: &mut Writer<'_>) {
        let filled = || {
            (0_u8..)
                .zip(&self.0)
                .filter(|(_, of)| **of != Reported::default())
        };
        out.u8(filled().count() as u8);
        for (group, of) in filled() {
            out.u8(group);
            out.u32(of.requests);
            out.u32(of.reported);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut groups = Self::default();
        for _ in 0..reader.u8()? {
            let group = usize::from(reader.u8()?);
            if group >= GROUPS {
                return Err(reader.damaged("there is no such group of units"));
            }
            *groups.at(group) = Reported {
                requests: reader.u32()?,
                reported: reader.u32()?,
            };
        }
        Ok(groups)
    }
}

/// What is known of one arm's requests and reports. Times are Unix seconds; 0 is never.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reporting {
    /// The last outcome.
    pub last_outcome: u32,
    /// The first request since the last outcome.
    pub unreported_since: u32,
    /// How many there were since then.
    pub unreported: u32,
    settled: Groups,
    /// By the number of the minute, even and odd ones.
    young: [(u32, Groups); YOUNG],
    /// First outcomes of receipts by delay, where any came with a receipt.
    delays: Vec<u32>,
}

fn group(unit_hash: u64) -> usize {
    bucket(unit_hash) / (BUCKETS / GROUPS)
}

impl Reporting {
    /// Counts a request of a unit, decided at `now`.
    #[inline]
    pub fn request(&mut self, now: u32, unit_hash: u64) {
        if self.unreported_since == 0 {
            self.unreported_since = now;
        }
        self.unreported = self.unreported.saturating_add(1);
        let sum = self.minute(now, now).at(group(unit_hash));
        sum.requests = sum.requests.saturating_add(1);
    }

    /// Counts the first outcome of a receipt, or one without a receipt, of a request decided at `second`.
    #[inline]
    pub fn report(&mut self, now: u32, second: u32, unit_hash: u64, receipt: bool) {
        let sum = self.minute(now, second).at(group(unit_hash));
        sum.reported = sum.reported.saturating_add(1);
        if receipt {
            if self.delays.is_empty() {
                self.delays = vec![0; DELAYS];
            }
            let delay = now.saturating_sub(second);
            let place = (u32::BITS - delay.saturating_sub(1).leading_zeros()) as usize;
            let count = &mut self.delays[place.min(DELAYS - 1)];
            *count = count.saturating_add(1);
        }
    }

    /// Notes that an outcome came, whether or not it was its receipt's first.
    #[inline]
    pub fn heard(&mut self, now: u32) {
        self.last_outcome = self.last_outcome.max(now);
        self.unreported_since = 0;
        self.unreported = 0;
    }

    /// Where requests decided at `second` are counted, once what has become old enough is put away.
    fn minute(&mut self, now: u32, second: u32) -> &mut Groups {
        let present = now / MISSING_AFTER_S;
        let minute = (second / MISSING_AFTER_S).min(present);
        if is_settled(minute, present) {
            return &mut self.settled;
        }
        let place = minute as usize % YOUNG;
        if self.young[place].0 != minute {
            let (_, old) = std::mem::replace(&mut self.young[place], (minute, Groups::default()));
            self.settled.add(&old);
        }
        &mut self.young[place].1
    }

    /// The requests that are old enough at `now` and what was reported of them, by group of units; of filled groups only.
    #[must_use]
    pub fn judged(&self, now: u32) -> Vec<Reported> {
        let present = now / MISSING_AFTER_S;
        let mut all = self.settled.clone();
        for (minute, groups) in &self.young {
            if is_settled(*minute, present) {
                all.add(groups);
            }
        }
        all.0.retain(|group| *group != Reported::default());
        all.0
    }

    /// How long after the decision at most 99 % of the receipts that reported did so, in seconds, to the next power of
    /// two; none with fewer than `least` of them.
    #[must_use]
    pub fn delay_p99_s(&self, least: u32) -> Option<u32> {
        let total: u64 = self.delays.iter().map(|count| u64::from(*count)).sum();
        if total < u64::from(least.max(1)) {
            return None;
        }
        let mut sum = 0;
        let place = self.delays.iter().position(|count| {
            sum += u64::from(*count);
            sum * 100 >= total * 99
        });
        place.map(|place| 1 << place)
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.last_outcome = self.last_outcome.max(other.last_outcome);
        let last = self.last_outcome;
        let waiting = [self.waiting_after(last), other.waiting_after(last)];
        self.unreported_since = waiting
            .iter()
            .flatten()
            .map(|(since, _)| *since)
            .min()
            .unwrap_or(0);
        self.unreported = waiting
            .iter()
            .flatten()
            .fold(0, |sum, (_, n)| sum.saturating_add(*n));
        self.settled.add(&other.settled);
        for (minute, groups) in &other.young {
            let place = *minute as usize % YOUNG;
            match minute.cmp(&self.young[place].0) {
                std::cmp::Ordering::Less => self.settled.add(groups),
                std::cmp::Ordering::Equal => self.young[place].1.add(groups),
                std::cmp::Ordering::Greater => {
                    let (_, old) = std::mem::replace(&mut self.young[place], (*minute, groups.clone()));
                    self.settled.add(&old);
                }
            }
        }
        if self.delays.is_empty() {
            self.delays.clone_from(&other.delays);
        } else {
            for (count, more) in self.delays.iter_mut().zip(&other.delays) {
                *count = count.saturating_add(*more);
            }
        }
    }

    /// The requests that wait, when the last outcome of all came at `last`: since when, and how many.
    fn waiting_after(&self, last: u32) -> Option<(u32, u32)> {
        (self.unreported_since > last).then_some((self.unreported_since, self.unreported))
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        for number in [self.last_outcome, self.unreported_since, self.unreported] {
            out.u32(number);
        }
        self.settled.encode(out);
        for (minute, groups) in &self.young {
            out.u32(*minute);
            groups.encode(out);
        }
        out.u8(self.delays.len() as u8);
        for count in &self.delays {
            out.u32(*count);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut reporting = Self {
            last_outcome: reader.u32()?,
            unreported_since: reader.u32()?,
            unreported: reader.u32()?,
            settled: Groups::read(reader)?,
            ..Self::default()
        };
        for young in &mut reporting.young {
            *young = (reader.u32()?, Groups::read(reader)?);
        }
        let delays = usize::from(reader.u8()?);
        if delays != 0 && delays != DELAYS {
            return Err(reader.damaged("the delays have another number of classes"));
        }
        for _ in 0..delays {
            reporting.delays.push(reader.u32()?);
        }
        Ok(reporting)
    }
}

fn is_settled(minute: u32, present: u32) -> bool {
    minute + YOUNG as u32 <= present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::hash::mix;

    fn total(groups: &[Reported]) -> (u32, u32) {
        groups
            .iter()
            .fold((0, 0), |(a, b), of| (a + of.requests, b + of.reported))
    }

    #[test]
    fn a_request_is_judged_once_it_is_old_enough_however_late_its_outcome_comes() {
        let mut reporting = Reporting::default();
        for n in 0..100_u32 {
            reporting.request(6_000 + n, mix(u64::from(n)));
        }
        assert!(
            reporting.judged(6_119).is_empty(),
            "the first minute ends at 6060"
        );
        assert_eq!(total(&reporting.judged(6_120)), (60, 0));
        for n in 0..30 {
            reporting.report(6_110, 6_000 + n, mix(u64::from(n)), true);
        }
        assert_eq!(total(&reporting.judged(6_120)), (60, 30));
        // After two minutes, and after everything has been put away.
        reporting.report(9_000, 6_031, mix(31), true);
        reporting.request(9_000, mix(1));
        assert_eq!(total(&reporting.judged(9_000)), (100, 31));
        assert_eq!(
            reporting.judged(9_000).iter().map(|of| of.requests).max(),
            Some(4)
        );
    }

    #[test]
    fn silence_begins_with_the_first_request_that_nobody_reported() {
        let mut reporting = Reporting::default();
        reporting.request(100, 1);
        reporting.request(105, 2);
        assert_eq!((reporting.unreported_since, reporting.unreported), (100, 2));
        reporting.heard(110);
        assert_eq!((reporting.unreported_since, reporting.last_outcome), (0, 110));
        assert_eq!(reporting.unreported, 0);
        reporting.request(300, 1);
        let mut other = Reporting::default();
        other.request(90, 1);
        reporting.merge(&other);
        assert_eq!(
            (reporting.unreported_since, reporting.unreported),
            (300, 1),
            "what came after 90 was reported at 110"
        );
    }

    #[test]
    fn delays_are_found_to_a_power_of_two() {
        let mut reporting = Reporting::default();
        assert_eq!(reporting.delay_p99_s(1), None);
        for n in 0..99 {
            reporting.report(1_000 + n % 2, 1_000, 7, true);
        }
        assert_eq!(
            (reporting.delay_p99_s(99), reporting.delay_p99_s(100)),
            (Some(1), None)
        );
        for delay in [3, 4, 5] {
            reporting.report(1_000 + delay, 1_000, 7, true);
        }
        assert_eq!(reporting.delay_p99_s(1), Some(4));
        reporting.report(u32::MAX, 1_000, 7, true);
        reporting.report(u32::MAX, 1_000, 7, true);
        assert_eq!(reporting.delay_p99_s(1), Some(1 << 23));
    }

    #[test]
    fn comes_back_as_it_went_and_adds_up() {
        let count = |from: u32, to: u32| {
            let mut reporting = Reporting::default();
            for n in from..to {
                reporting.request(n, mix(u64::from(n)));
                if n % 3 == 0 {
                    reporting.report(n + 2, n, mix(u64::from(n)), n % 2 == 0);
                    reporting.heard(n + 2);
                }
            }
            reporting
        };
        let whole = count(5_000, 5_400);
        let mut bytes = Vec::new();
        whole.encode(&mut Writer(&mut bytes));
        let mut reader = Reader::new("reporting", &bytes);
        assert_eq!(Reporting::read(&mut reader).unwrap(), whole);
        reader.end().unwrap();
        let mut merged = count(5_200, 5_400);
        merged.merge(&count(5_000, 5_200));
        assert_eq!(total(&merged.judged(6_000)), total(&whole.judged(6_000)));
        assert_eq!(merged.judged(5_300), whole.judged(5_300));
    }
}
