//! The hot path: no IO, no lock, no clock, no heap, no failure.

pub mod audience;
pub mod hash;
pub mod receipt;
