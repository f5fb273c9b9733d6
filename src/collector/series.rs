//! Counts by minute as they are read: which series there are, and what a window of time has of them.
//!
//! Owns the sum of what is stored and what is still in memory. Asks the writer thread for stored hours in small
//! pages, so that counting never waits long, and never for more than an answer may hold.

use super::{
    Collector, Message, SubmitError,
    codec::FormatError,
    minutes::{Chunk, MINUTES},
    state::chunk_of,
};
use crate::{
    domain::id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
    stats::quantile::Sketch,
    store::{error::StoreError, sqlite::journal::MinuteCursor},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

/// The most steps of one window.
pub const MOST_STEPS: u32 = 5_000;
/// Stored hours that one question to the writer thread brings.
pub(super) const PAGE: u32 = 128;
/// Series that are no metric, as they are stored: behind all metrics.
const REQUESTS: u32 = 1 << 16;
const OUTCOMES: u32 = REQUESTS + 1;

/// What is counted by minute for each arm of each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Requests that used the arm.
    Requests,
    /// Outcomes accepted, however many metrics each had.
    Outcomes,
    /// The values of a metric, clipped as its cells count them.
    Metric(MetricKey),
}

impl Series {
    /// As it is stored.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Requests => REQUESTS,
            Self::Outcomes => OUTCOMES,
            Self::Metric(key) => u32::from(key.0),
        }
    }

    /// From what [`Series::code`] gave.
    pub(super) fn from_code(code: u32) -> Result<Self, FormatError> {
        match (code, u16::try_from(code)) {
            (REQUESTS, _) => Ok(Self::Requests),
            (OUTCOMES, _) => Ok(Self::Outcomes),
            (_, Ok(key)) => Ok(Self::Metric(MetricKey(key))),
            _ => Err(FormatError::Damaged {
                what: "hour of minutes",
                problem: "there is no such series",
            }),
        }
    }
}

/// A window of time, in minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first minute.
    pub from: u32,
    /// The minute after the last one.
    pub to: u32,
    /// Minutes that are added up to one point, at least 1; a point begins at a multiple of it.
    pub step: u32,
}

impl Window {
    fn steps(self) -> u32 {
        let step = self.step.max(1);
        self.to.saturating_sub(1) / step + 1 - self.from / step
    }
}

/// What one step of a window had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesPoint {
    /// The minute at which the step begins, since 1970.
    pub minute: u32,
    /// How many requests, outcomes or values.
    pub n: u64,
    /// The sum of the values; 0 for requests and outcomes.
    pub sum: f64,
}

/// One series of one arm in one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRow {
    /// The epoch.
    pub epoch: Epoch,
    /// The arm.
    pub arm: ArmIndex,
    /// What was counted.
    pub series: Series,
    /// Ascending; only steps with something in them.
    pub points: Vec<SeriesPoint>,
    /// The raw values of all hours that the window touches, for a metric that is a number.
    pub sketch: Option<Sketch>,
}

/// What a window has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesWindow {
    /// By epoch, arm and series; only those with something in them.
    pub rows: Vec<SeriesRow>,
    /// Hours since 1970 of which the window has a part only; sketches are of whole hours, and have all of these.
    pub partial_hours: Vec<u32>,
}

/// Why a window was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// It has more steps than an answer may.
    #[error("the window has {found} steps, at most {MOST_STEPS} are read at a time: take a longer step")]
    TooLong {
        /// How many it has.
        found: u32,
    },
    /// The store failed, or the process is ending.
    #[error(transparent)]
    Collector(#[from] SubmitError),
}

impl Collector {
    /// What a window of time has of one series of an experiment, or of all, on every arm in every epoch. What was
    /// acknowledged before the call is in it.
    ///
    /// # Errors
    /// [`SeriesError`]: too long a window, or the store cannot be read.
    pub async fn series(
        &self,
        experiment: ExperimentKey,
        only: Option<Series>,
        window: Window,
    ) -> Result<SeriesWindow, SeriesError> {
        if window.from >= window.to {
            return Ok(SeriesWindow::default());
        }
        if window.steps() > MOST_STEPS {
            return Err(SeriesError::TooLong {
                found: window.steps(),
            });
        }
        let mut sums = Sums::new(window);
        // An hour in memory is whole, and what is stored of it is a part of it. One that opens after this moment may
        // be read from the store, or not yet.
        let (wanted, open) = {
            let counts = self.0.shared.counts.read();
            for open in counts.open_chunks(experiment) {
                if only.is_none_or(|only| only == open.series) {
                    sums.add((open.epoch, open.arm, open.series), open.hour, open.chunk);
                }
            }
            let wanted = match only {
                Some(only) => BTreeSet::from([only]),
                None => counts.series(experiment),
            };
            (wanted, counts.open_hours())
        };
        for series in wanted {
            let mut after = MinuteCursor::from_hour(window.from / MINUTES);
            loop {
                let (answer, answered) = oneshot::channel();
                let question = Message::Minutes {
                    series: (experiment.0, series.code()),
                    after,
                    last: (window.to - 1) / MINUTES,
                    answer,
                };
                let rows = self.ask(question, answered).await??;
                for row in rows.iter().filter(|row| !open.contains(&row.hour)) {
                    let chunk = chunk_of(row)
                        .map_err(StoreError::from)
                        .map_err(SubmitError::from)?;
                    sums.add((Epoch(row.epoch), ArmIndex(row.arm), series), row.hour, &chunk);
                }
                match rows.last() {
                    Some(last) if rows.len() == PAGE as usize => after = MinuteCursor::behind(last),
                    _ => break,
                }
            }
        }
        Ok(sums.finish())
    }
}

/// Adds chunks up.
struct Sums {
    window: Window,
    rows: BTreeMap<(Epoch, ArmIndex, Series), RowSums>,
}

#[derive(Default)]
struct RowSums {
    /// By the minute at which a step begins.
    points: BTreeMap<u32, (u64, f64)>,
    sketch: Option<Sketch>,
}

impl Sums {
    fn new(window: Window) -> Self {
        Self {
            window,
            rows: BTreeMap::new(),
        }
    }

    fn add(&mut self, key: (Epoch, ArmIndex, Series), hour: u32, chunk: &Chunk) {
        let Window { from, to, step } = self.window;
        let begins = hour * MINUTES;
        if begins + MINUTES <= from || begins >= to {
            return;
        }
        let sums = self.rows.entry(key).or_default();
        for point in chunk.points() {
            let minute = begins + u32::from(point.minute);
            if (from..to).contains(&minute) {
                let (n, sum) = sums.points.entry(minute - minute % step.max(1)).or_default();
                *n += u64::from(point.n);
                *sum += point.sum;
            }
        }
        if let Some(sketch) = chunk.sketch() {
            sums.sketch.get_or_insert_default().merge(sketch);
        }
    }

    fn finish(self) -> SeriesWindow {
        let Window { from, to, .. } = self.window;
        let row = |((epoch, arm, series), sums): (_, RowSums)| SeriesRow {
            epoch,
            arm,
            series,
            points: sums
                .points
                .into_iter()
                .map(|(minute, (n, sum))| SeriesPoint { minute, n, sum })
                .collect(),
            sketch: sums.sketch,
        };
        // A window may touch an hour only where that has nothing.
        let rows = self
            .rows
            .into_iter()
            .map(row)
            .filter(|row| !row.points.is_empty());
        let cut = [from, to].into_iter().filter(|edge| edge % MINUTES != 0);
        let partial_hours: BTreeSet<u32> = cut.map(|edge| edge / MINUTES).collect();
        SeriesWindow {
            rows: rows.collect(),
            partial_hours: partial_hours.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        for series in [
            Series::Requests,
            Series::Outcomes,
            Series::Metric(MetricKey(0)),
            Series::Metric(MetricKey(u16::MAX)),
        ] {
            assert_eq!(Series::from_code(series.code()).unwrap(), series);
        }
        assert!(Series::from_code(OUTCOMES + 1).is_err());
    }

    #[test]
    fn windows_cut_minutes_and_name_the_hours_they_cut() {
        let mut chunk = Chunk::default();
        for minute in [0, 29, 30, 59] {
            chunk.add(minute, 2, 3.0);
            chunk.add_to_sketch(1.0);
        }
        let key = (Epoch(1), ArmIndex(0), Series::Metric(MetricKey(1)));
        let read = |from, to, step| {
            let mut sums = Sums::new(Window { from, to, step });
            for hour in [9, 10, 11, 12] {
                sums.add(key, hour, &chunk);
            }
            let window = sums.finish();
            let row = &window.rows[0];
            let points: Vec<_> = row.points.iter().map(|point| (point.minute, point.n)).collect();
            (points, row.sketch.as_ref().unwrap().count(), window.partial_hours)
        };
        let all = vec![
            (600, 2),
            (629, 2),
            (630, 2),
            (659, 2),
            (660, 2),
            (689, 2),
            (690, 2),
            (719, 2),
        ];
        assert_eq!(read(600, 720, 1), (all, 8, vec![]));
        assert_eq!(read(600, 720, 60), (vec![(600, 8), (660, 8)], 8, vec![]));
        assert_eq!(read(630, 661, 30), (vec![(630, 4), (660, 2)], 8, vec![10, 11]));
        assert_eq!(read(630, 659, 1), (vec![(630, 2)], 4, vec![10]));
    }

    #[test]
    fn steps_are_those_that_are_touched() {
        let steps = |from, to, step| Window { from, to, step }.steps();
        assert_eq!(steps(0, 60, 1), 60);
        assert_eq!(steps(59, 61, 60), 2);
        assert_eq!(steps(60, 120, 60), 1);
    }
}
