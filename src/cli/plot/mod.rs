//! Pictures as SVG: what a figure looks like, and nothing about what it means.
//!
//! Owns the canvas, the colours and the axes; takes figures that others computed. Called by `serin analyze` and
//! `serin plan`. Colours are those of Okabe & Ito, which colour-blind people can tell apart, and no line is told from
//! another by its colour alone.

mod axis;
pub(super) mod forest;
pub(super) mod intervals;
mod paper;
pub(super) mod power;

/// How a metric's numbers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// A rate: differences in percentage points.
    Points,
    /// A number in the metric's own unit.
    Number,
}

impl Scale {
    /// What the numbers are multiplied with.
    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Points => 100.0,
            Self::Number => 1.0,
        }
    }
}
