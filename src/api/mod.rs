//! The HTTP surface: what gateways and people reach over the network, and nothing that decides anything.
//!
//! Owns the server shell ([`server`]) and the one shape of an error ([`problem`]). Never holds state of its own
//! besides open connections. Called by `app`, which hands over a bound listener and a handler.

pub mod data_plane;
pub mod problem;
mod sequence;
pub mod server;
pub mod wire;
