//! Counts by minute: the current hour of each series, as it grows and as it is stored.
//!
//! Owns the layout of one hour of one series, a [`Chunk`]: number and sum of each minute that had anything, and for
//! metrics that are numbers one sketch of the hour. Additive like cells. Does no IO and reads no clock; the minute is
//! that of the journal entry, so that a replay counts it into the same one.

use super::{
    codec::{FormatError, Reader, Writer},
    series::Series,
    state::Stored,
};
use crate::{
    domain::id::{ArmIndex, Epoch, ExperimentKey},
    stats::quantile::Sketch,
};

const WHAT: &str = "hour of minutes";
const VERSION: u8 = 1;
const HAS_SKETCH: u8 = 1;
const WHOLE_SUMS: u8 = 2;
/// Sums up to here are whole numbers that a double holds exactly.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Minutes in a chunk.
pub(super) const MINUTES: u32 = 60;
const HOUR_S: u32 = 3_600;

/// One hour of one series, which is stored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    pub(super) experiment: ExperimentKey,
    pub(super) epoch: Epoch,
    pub(super) arm: ArmIndex,
    pub(super) series: Series,
    /// Hours since 1970.
    pub(super) hour: u32,
}

/// A minute, as a chunk counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Hours since 1970.
    pub(super) hour: u32,
    /// Of the hour: 0 to 59.
    pub(super) minute: u8,
}

impl Moment {
    /// The minute of a Unix second.
    pub(super) fn of(second: u32) -> Self {
        let minute = (second % HOUR_S / 60) as u8;
        Self {
            hour: second / HOUR_S,
            minute,
        }
    }
}

/// What one minute had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) sum: f64,
    /// Four billion in one minute are more than any machine takes; it stays there rather than turn over.
    pub(super) n: u32,
    pub(super) minute: u8,
}

/// One hour of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chunk {
    /// Ascending by minute; only minutes with something in them.
    points: Vec<Point>,
    /// Of the raw values, for a metric that is a number.
    sketch: Option<Box<Sketch>>,
}

impl Chunk {
    /// Counts `n` things with this sum.
    #[inline]
    pub(super) fn add(&mut self, minute: u8, n: u32, sum: f64) {
        match self.points.last_mut() {
            Some(point) if point.minute == minute => {
                point.n = point.n.saturating_add(n);
                point.sum += sum;
            }
            _ => self.add_elsewhere(Point { sum, n, minute }),
        }
    }

    /// Adds a raw value to the sketch of the hour.
    #[inline]
    pub(super) fn add_to_sketch(&mut self, value: f64) {
        // Only values that are not finite are refused, and none gets this far.
        let _ = self.sketch.get_or_insert_default().add(value);
    }

    /// The minutes with something in them, ascending.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The sketch of the hour.
    pub(super) fn sketch(&self) -> Option<&Sketch> {
        self.sketch.as_deref()
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Appends the bytes; equal chunks give equal bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let whole = self
            .points
            .iter()
            .all(|point| (0.0..=LARGEST_WHOLE).contains(&point.sum) && point.sum.fract() == 0.0);
        let filled = self
            .points
            .iter()
            .fold(0_u64, |bits, point| bits | 1 << point.minute);
        let mut out = Writer(out);
        out.u8(VERSION);
        let sketch = self.sketch.as_ref().map_or(0, |_| HAS_SKETCH);
        out.u8(if whole { sketch | WHOLE_SUMS } else { sketch });
        out.u64(filled);
        for point in &self.points {
            out.varint(u64::from(point.n));
            if whole {
                out.varint(point.sum as u64);
            } else {
                out.f64(point.sum);
            }
        }
        if let Some(sketch) = &self.sketch {
            out.block(|out| sketch.encode(out));
        }
    }

    /// Reads what [`Chunk::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.version(VERSION)?;
        let flags = reader.u8()?;
        let filled = reader.u64()?;
        if flags & !(HAS_SKETCH | WHOLE_SUMS) != 0 || filled >> MINUTES != 0 {
            return Err(reader.damaged("there are no such minutes or parts"));
        }
        let mut points = Vec::with_capacity(filled.count_ones() as usize);
        for minute in (0..60).filter(|minute| filled >> minute & 1 == 1) {
            let n = u32::try_from(reader.varint()?).map_err(|_| reader.damaged("a count is too large"))?;
            let sum = if flags & WHOLE_SUMS == 0 {
                reader.f64()?
            } else {
                reader.varint()? as f64
            };
            if !sum.is_finite() {
                return Err(reader.damaged("a sum is not finite"));
            }
            points.push(Point { sum, n, minute });
        }
        let sketch = if flags & HAS_SKETCH == 0 {
            None
        } else {
            Some(Box::new(reader.sketch()?))
        };
        reader.end()?;
        Ok(Self { points, sketch })
    }

    #[cold]
    fn add_elsewhere(&mut self, more: Point) {
        match self
            .points
            .binary_search_by_key(&more.minute, |point| point.minute)
        {
            Ok(place) => {
                let point = &mut self.points[place];
                point.n = point.n.saturating_add(more.n);
                point.sum += more.sum;
            }
            Err(place) => {
                if self.points.len() == self.points.capacity() {
                    // Thousands of series have a few minutes each: no room for minutes that never come.
                    self.points.reserve_exact((self.points.len() / 4).max(2));
                }
                self.points.insert(place, more);
            }
        }
    }
}

/// A chunk in memory, and how much of it is stored.
#[derive(Debug, Default)]
pub(super) struct Growing {
    pub(super) stored: Stored,
    pub(super) chunk: Chunk,
}

const _: () = assert!(size_of::<Growing>() <= 48, "there are thousands of them");

/// The chunks of one hour of one arm.
#[derive(Debug, Default)]
pub(super) struct ArmHour {
    hour: u32,
    pub(super) requests: Growing,
    pub(super) outcomes: Growing,
    /// As the cells of the arm.
    metrics: Vec<Growing>,
}

impl ArmHour {
    /// The chunk of the metric whose cell is at `place`, created when it is new.
    #[inline]
    pub(super) fn metric(&mut self, place: usize) -> &mut Growing {
        if place >= self.metrics.len() {
            self.metrics.reserve_exact(place + 1 - self.metrics.len());
            self.metrics.resize_with(place + 1, Growing::default);
        }
        &mut self.metrics[place]
    }

    /// The chunks of metrics that there are, by place.
    pub(super) fn metrics(&self) -> &[Growing] {
        &self.metrics
    }
}

/// The hours of one arm that are in memory: as a rule the present one.
#[derive(Debug, Default)]
pub(super) struct ArmHours(Vec<ArmHour>);

impl ArmHours {
    /// An hour, created when it is new.
    #[inline]
    pub(super) fn at(&mut self, hour: u32) -> &mut ArmHour {
        let place = self.0.iter().rposition(|known| known.hour == hour);
        let place = place.unwrap_or_else(|| {
            self.0.reserve_exact(1);
            self.0.push(ArmHour {
                hour,
                ..ArmHour::default()
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// An hour that is in memory.
    pub(super) fn get(&self, hour: u32) -> Option<&ArmHour> {
        self.0.iter().find(|known| known.hour == hour)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, hour: u32) -> Option<&mut ArmHour> {
        self.0.iter_mut().find(|known| known.hour == hour)
    }

    /// Gives an hour's memory back.
    pub(super) fn forget(&mut self, hour: u32) {
        self.0.retain(|known| known.hour != hour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(points: impl IntoIterator<Item = (u8, f64)>, values: &[f64]) -> Chunk {
        let mut chunk = Chunk::default();
        for (minute, sum) in points {
            chunk.add(minute, 1, sum);
        }
        for value in values {
            chunk.add_to_sketch(*value);
        }
        chunk
    }

    fn bytes(chunk: &Chunk) -> Vec<u8> {
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        bytes
    }

    #[test]
    fn minutes_come_back_in_any_order_of_adding() {
        for chunk in [
            Chunk::default(),
            chunk([(0, 0.0), (59, 1.0), (59, 1.0), (7, 0.0)], &[]),
            chunk((0..60).rev().map(|minute| (minute, 0.1)), &[0.1, -4.0, 1e9]),
            chunk([(3, -1.0)], &[]),
            chunk([(3, 1e300)], &[]),
        ] {
            assert!(chunk.points().is_sorted_by(|a, b| a.minute < b.minute));
            let bytes = bytes(&chunk);
            assert_eq!(Chunk::decode(&bytes).unwrap(), chunk);
            assert!(Chunk::decode(&bytes[..bytes.len() - 1]).is_err());
            assert!(Chunk::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        let up = chunk([(1, 2.0), (2, 3.0), (1, 4.0)], &[1.0, 2.0]);
        let down = chunk([(2, 3.0), (1, 4.0), (1, 2.0)], &[2.0, 1.0]);
        assert_eq!(up, down);
        assert_eq!(bytes(&up), bytes(&down));
    }

    #[test]
    fn a_rate_takes_little_room() {
        let full = chunk((0..60).map(|minute| (minute, 1.0)), &[]);
        assert!(bytes(&full).len() <= 10 + 60 * 2);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let good = bytes(&chunk([(1, 2.0)], &[2.0]));
        for (at, to) in [(0, 9), (1, 4), (9, 0xff)] {
            let mut changed = good.clone();
            changed[at] = to;
            assert!(Chunk::decode(&changed).is_err(), "{at}");
        }
        let last = good.len() - 1;
        let mut changed = good;
        changed[last] ^= 1;
        assert!(Chunk::decode(&changed).is_err());
    }

    #[test]
    fn seconds_fall_into_their_minutes() {
        let moment = |second| {
            let moment = Moment::of(second);
            (moment.hour, moment.minute)
        };
        assert_eq!(moment(0), (0, 0));
        assert_eq!(moment(3_599), (0, 59));
        assert_eq!(moment(3_600), (1, 0));
        assert_eq!(moment(u32::MAX), (1_193_046, 28));
    }
}
