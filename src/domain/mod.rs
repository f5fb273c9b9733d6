//! The nouns of Serin and their rules: plain data, no IO, no async, no clock.
//!
//! Everything else imports this module and it imports nothing of the crate. What is stored or exchanged derives
//! serde here, because these types are the promised formats: events, commands and experiment specifications.

pub mod allocation;
pub mod audience;
pub mod check;
pub mod command;
pub mod continuous_aa;
pub mod duration_text;
pub mod event;
pub mod experiment;
pub mod guardrail;
pub mod id;
pub mod metric;
pub mod problem;
pub mod prompt;
pub mod rollout;
pub mod segment;
pub mod token;

/// A moment in time, in UTC.
pub use jiff::Timestamp;
