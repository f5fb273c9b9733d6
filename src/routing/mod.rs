//! The hot path: no IO, no lock, no clock, no heap, no failure.
//!
//! Owns what a decision is made of: draws ([`hash`]), the compiled predicate ([`audience`]), the immutable table
//! ([`table`]), the walk ([`assign`]), its explanation ([`explain`]), pre-serialised answers ([`answer`]), what
//! travels of a request's context ([`profile`]), signed receipts ([`receipt`]) and the one swapped pointer
//! ([`live`]). It never reads a store or a clock. The control plane compiles the table; the HTTP surface walks it.

pub mod answer;
pub mod archive;
pub mod assign;
pub mod audience;
pub mod drain;
pub mod explain;
pub mod hash;
pub mod live;
pub mod profile;
pub mod receipt;
pub mod table;
