//! What is kept: the control log, and the journal of outcomes with the checkpoint of everything counted.
//!
//! Only the folder of a concrete store knows its client library.

pub mod error;
pub mod sqlite;
