//! Segments: by which values of which attributes an experiment's results are broken down.
//!
//! Declared before the start and few, because every value looked at is one more chance of a fluke. A request carries
//! its segments as four small codes in the receipt, so that an outcome needs no context.

use super::id::AttributeName;

/// The most attributes results are broken down by.
pub const MOST_SEGMENT_ATTRIBUTES: usize = 4;
/// The most values of one attribute that are told apart by name.
pub const MOST_SEGMENT_VALUES: usize = 14;

/// Stands for every value that is not named.
const OTHER: u8 = 14;
/// Stands for an attribute that the context does not have.
const MISSING: u8 = 15;

/// An attribute with the values that are told apart, in the order in which they were first declared: neither list
/// ever loses a member, so a code never changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAttribute {
    /// The attribute of the context.
    pub attribute: AttributeName,
    /// At most [`MOST_SEGMENT_VALUES`].
    pub values: Vec<String>,
}

/// The segments of one request: four codes of four bits, one per attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentCodes(pub u16);

impl Default for SegmentCodes {
    /// Every attribute missing.
    fn default() -> Self {
        Self(u16::MAX)
    }
}

impl SegmentCodes {
    /// With the code of the attribute at `place` (below 4) set: the place of the value among the named ones, or none
    /// for a value that is not named.
    #[must_use]
    pub fn with(self, place: usize, value: Option<usize>) -> Self {
        let code = value
            .and_then(|value| u8::try_from(value).ok())
            .map_or(OTHER, |value| value.min(OTHER));
        let shift = 4 * (place % MOST_SEGMENT_ATTRIBUTES);
        Self(self.0 & !(0xf << shift) | u16::from(code) << shift)
    }

    /// The segments of the first `attributes` attributes.
    pub fn segments(self, attributes: usize) -> impl Iterator<Item = Segment> {
        (0..attributes.min(MOST_SEGMENT_ATTRIBUTES)).map(move |place| {
            let code = (self.0 >> (4 * place) & 0xf) as u8 | (place as u8) << 4;
            Segment(code)
        })
    }
}

/// One value of one attribute: the place of the attribute in the upper bits, the value's code in the lower four.
/// Below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u8);

impl Segment {
    /// The segment of a value of the attribute at `place` (below 4).
    #[must_use]
    pub fn new(place: usize, value: SegmentValue) -> Self {
        let code = match value {
            SegmentValue::Named(value) => u8::try_from(value).map_or(OTHER, |value| value.min(OTHER)),
            SegmentValue::Other => OTHER,
            SegmentValue::Missing => MISSING,
        };
        Self(((place % MOST_SEGMENT_ATTRIBUTES) as u8) << 4 | code)
    }

    /// The place of the attribute.
    #[must_use]
    pub fn attribute(self) -> usize {
        usize::from(self.0 >> 4)
    }

    /// Which value of the attribute.
    #[must_use]
    pub fn value(self) -> SegmentValue {
        match self.0 & 0xf {
            OTHER => SegmentValue::Other,
            MISSING => SegmentValue::Missing,
            place => SegmentValue::Named(usize::from(place)),
        }
    }
}

/// Which value of an attribute a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentValue {
    /// The value at this place of the named ones.
    Named(usize),
    /// One that is not named.
    Other,
    /// The context does not have the attribute.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_segments() {
        let codes = SegmentCodes::default()
            .with(0, Some(3))
            .with(1, None)
            .with(3, Some(13));
        let values: Vec<_> = codes
            .segments(4)
            .map(|segment| (segment.attribute(), segment.value()))
            .collect();
        let expected = [
            (0, SegmentValue::Named(3)),
            (1, SegmentValue::Other),
            (2, SegmentValue::Missing),
            (3, SegmentValue::Named(13)),
        ];
        assert_eq!(values, expected);
        for segment in codes.segments(4) {
            assert_eq!(Segment::new(segment.attribute(), segment.value()), segment);
        }
        assert_eq!(
            codes.with(0, Some(99)).segments(1).next().unwrap().value(),
            SegmentValue::Other
        );
        assert!(codes.segments(4).all(|segment| segment.0 < 64));
        assert_eq!(codes.segments(9).count(), 4);
    }
}
