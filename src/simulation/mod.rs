//! Seeded traffic through the real code, to measure what the product promises about errors.
//!
//! Owns users that do not exist, the way they come and go, and the count of how often the product was wrong about them.
//! Everything in between is the product itself: a design goes through the control plane into a routing table, units are
//! assigned by it, outcomes are folded as the writer thread folds them, the report says what is better, the guardrails
//! freeze. What is left out is the network, the disk and the clock: time is passed in. Judges nothing by formulas of its
//! own, but for the naive ones it shows beside. Called by `serin simulate` and by the calibration tests.
//!
//! In reading order: [`random`] has the seeded numbers; [`traffic`] the users and what their requests bring; [`world`]
//! joins the real parts to one experiment; `runs` does many of them on all cores; [`tally`] makes rates with errors of
//! them and holds them against bounds; `comparison`, `ramp`, `freeze`, `split` and `rollout` are the studies (the last one of
//! whole days, which `day` serves), and [`study`] lists them.
//!
//! A run depends on the seed, its study's and case's names and its number, and on nothing else: not on the number of
//! threads, and not on which other studies are made.

mod comparison;
mod day;
mod freeze;
mod ramp;
pub mod random;
mod rollout;
mod runs;
mod split;
pub mod study;
pub mod tally;
pub mod traffic;
pub mod world;

pub use runs::{Plan, Progress, Size};
pub use study::Study;
pub use tally::{Bound, Row};
pub use world::SimulationError;
