//! Which piece of the counts a stored row is.

use super::codec::FormatError;
use crate::{
    domain::{
        id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
        segment::Segment,
    },
    store::sqlite::journal::STATE_KEY,
};

/// Stands for all parts of a unit sample in one row.
pub(super) const WHOLE_SAMPLE: u8 = u8::MAX;

/// Kinds from here on are segments; below are the others.
const FIRST_SEGMENT: u8 = 64;
/// The last one.
const LAST_SEGMENT: u8 = 127;

/// A piece that is stored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub(super) experiment: ExperimentKey,
    /// 0 for guard evidence, which spans epochs.
    pub(super) epoch: Epoch,
    pub(super) arm: ArmIndex,
    pub(super) piece: Piece,
}

/// What a piece holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// Requests and accepted outcomes.
    Counters,
    /// The sums of a metric.
    Cell(MetricKey),
    /// A part of the unit sample, or [`WHOLE_SAMPLE`].
    Units(u8),
    /// The evidence of a guarded measure.
    Guard(MetricKey),
    /// The sums of a metric in one segment.
    SegmentCell(MetricKey, Segment),
}

impl RowKey {
    pub(super) fn to_bytes(self) -> [u8; STATE_KEY] {
        let (kind, detail) = match self.piece {
            Piece::Counters => (1, 0),
            Piece::Cell(metric) => (2, metric.0),
            Piece::Units(part) => (3, u16::from(part)),
            Piece::Guard(metric) => (4, metric.0),
            Piece::SegmentCell(metric, segment) => (FIRST_SEGMENT + (segment.0 & 63), metric.0),
        };
        let mut bytes = [0; STATE_KEY];
        // Big-endian, so that the rows of an experiment are neighbours.
        bytes[..4].copy_from_slice(&self.experiment.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[8] = self.arm.0;
        bytes[9] = kind;
        bytes[10..].copy_from_slice(&detail.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; STATE_KEY]) -> Result<Self, FormatError> {
        let [e0, e1, e2, e3, p0, p1, p2, p3, arm, kind, d0, d1] = bytes;
        let detail = u16::from_be_bytes([d0, d1]);
        let piece = match kind {
            1 => Piece::Counters,
            2 => Piece::Cell(MetricKey(detail)),
            3 => Piece::Units(d1),
            4 => Piece::Guard(MetricKey(detail)),
            FIRST_SEGMENT..=LAST_SEGMENT => {
                Piece::SegmentCell(MetricKey(detail), Segment(kind - FIRST_SEGMENT))
            }
            found => {
                return Err(FormatError::Version {
                    what: "state key",
                    found,
                    known: LAST_SEGMENT,
                });
            }
        };
        Ok(Self {
            experiment: ExperimentKey(u32::from_be_bytes([e0, e1, e2, e3])),
            epoch: Epoch(u32::from_be_bytes([p0, p1, p2, p3])),
            arm: ArmIndex(arm),
            piece,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        for piece in [
            Piece::Counters,
            Piece::Cell(MetricKey(258)),
            Piece::Units(WHOLE_SAMPLE),
            Piece::Units(3),
            Piece::Guard(MetricKey(9)),
            Piece::SegmentCell(MetricKey(258), Segment(0)),
            Piece::SegmentCell(MetricKey(7), Segment(63)),
        ] {
            let key = RowKey {
                experiment: ExperimentKey(1 << 20),
                epoch: Epoch(77),
                arm: ArmIndex(2),
                piece,
            };
            assert_eq!(RowKey::from_bytes(key.to_bytes()).unwrap(), key);
        }
        for kind in [0, 5, 9, 63, 128, 255] {
            let mut bytes = [0; STATE_KEY];
            bytes[9] = kind;
            assert!(RowKey::from_bytes(bytes).is_err(), "{kind}");
        }
    }
}
