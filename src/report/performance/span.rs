//! The window of an answer, the one of the same length right before it, and how both are cut into blocks.

use crate::{
    collector::series::Window,
    domain::{Timestamp, duration_text},
};
use std::time::Duration;

/// Blocks that a window is cut into, where minutes allow: enough for a steady error, few enough to be long.
const BLOCKS: u32 = 48;
/// Counts are kept by the minute, sketches by the hour.
const HOUR: u32 = 60;

/// Two windows of one length, the second right behind the first, in minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first minute.
    pub from: u32,
    /// The minute after the last.
    pub to: u32,
    /// Minutes in a block, at least 1; blocks begin at multiples of it, so that the outermost may be shorter.
    pub block: u32,
    /// The first minute of which counts are kept.
    pub kept_from: u32,
}

impl Span {
    /// The window of `length` minutes before minute `to`, at least one, where `kept` minutes are kept.
    ///
    /// ```
    /// use serin::report::performance::Span;
    /// let span = Span::before(10_000, 1_440, 129_600);
    /// assert_eq!((span.from, span.to, span.block), (8_560, 10_000, 30));
    /// ```
    #[must_use]
    pub fn before(to: u32, length: u32, kept: u32) -> Self {
        Self {
            from: to.saturating_sub(length.max(1)),
            to,
            block: length.div_ceil(BLOCKS).max(1),
            kept_from: to.saturating_sub(kept),
        }
    }

    /// Minutes in the window.
    #[must_use]
    pub fn length(self) -> u32 {
        self.to - self.from
    }

    /// The window itself.
    #[must_use]
    pub fn current(self) -> Window {
        self.window(self.from, self.to)
    }

    /// The window before, as far as it lies in whole hours that the window has no part of: sketches are of whole hours,
    /// and none may be in both.
    #[must_use]
    pub fn whole_hours_before(self) -> Window {
        self.window(self.first_before(), self.hour().max(self.first_before()))
    }

    /// The rest of the window before: its minutes in the hour in which the window begins.
    #[must_use]
    pub fn rest_before(self) -> Window {
        self.window(self.hour().max(self.first_before()), self.from)
    }

    /// Whether counts of the whole window before are still kept.
    #[must_use]
    pub fn has_before(self) -> bool {
        self.from
            .checked_sub(self.length())
            .is_some_and(|first| first >= self.kept_from)
    }

    /// Of the blocks between two minutes, where each begins and how many of its minutes lie between them.
    pub(super) fn blocks(self, from: u32, to: u32) -> impl Iterator<Item = (u32, u32)> {
        let block = self.block;
        let starts = (from / block..to.div_ceil(block)).map(move |index| index * block);
        starts.map(move |start| (start, to.min(start + block) - from.max(start)))
    }

    /// The first minute of the window before; the window's own where nothing of it is kept.
    #[must_use]
    pub fn first_before(self) -> u32 {
        if self.has_before() {
            self.from - self.length()
        } else {
            self.from
        }
    }

    /// The first minute of the hour in which the window begins.
    fn hour(self) -> u32 {
        self.from - self.from % HOUR
    }

    /// The first and the last minute of the hours that the window touches.
    pub(super) fn hours(self) -> (u32, u32) {
        (self.hour(), self.to.next_multiple_of(HOUR))
    }

    fn window(self, from: u32, to: u32) -> Window {
        Window {
            from,
            to,
            step: self.block,
        }
    }
}

/// The time at which a minute begins.
pub(super) fn at(minute: u32) -> Timestamp {
    // Every minute of 32 bits is within the years that a timestamp has.
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

/// A number of minutes as people write it.
pub(super) fn long(minutes: u32) -> String {
    duration_text::format(Duration::from_secs(u64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_in_one_window_only() {
        // 10:17, with the first minute of the hour being 600.
        let span = Span::before(617, 120, 10_000);
        assert_eq!((span.from, span.block, span.length()), (497, 3, 120));
        let ends = |window: Window| (window.from, window.to);
        assert_eq!(ends(span.current()), (497, 617));
        assert_eq!(ends(span.whole_hours_before()), (377, 480));
        assert_eq!(ends(span.rest_before()), (480, 497));
        assert_eq!(span.hours(), (480, 660));
        // Shorter than what is gone of the hour: nothing is left that is of other hours.
        let short = Span::before(650, 15, 10_000);
        assert_eq!(ends(short.whole_hours_before()), (620, 620));
        assert_eq!(ends(short.rest_before()), (620, 635));
        assert_eq!(short.block, 1);
    }

    #[test]
    fn a_window_before_the_first_count_is_none() {
        let span = Span::before(10_000, 600, 1_000);
        assert!(!span.has_before());
        assert_eq!(
            (span.whole_hours_before().to, span.rest_before().to),
            (9_400, 9_400)
        );
        assert_eq!(span.rest_before().from, 9_400);
        assert!(Span::before(10_000, 500, 1_000).has_before());
        assert!(!Span::before(100, 80, 1_000).has_before());
    }

    #[test]
    fn blocks_cover_every_minute_once() {
        let span = Span::before(617, 120, 10_000);
        let blocks: Vec<_> = span.blocks(497, 617).collect();
        assert_eq!(blocks.iter().map(|(_, minutes)| minutes).sum::<u32>(), 120);
        assert_eq!((blocks[0], blocks[1]), ((495, 1), (498, 3)));
        assert_eq!(blocks.last(), Some(&(615, 2)));
    }
}
