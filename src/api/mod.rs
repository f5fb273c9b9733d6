//! The HTTP surface: what gateways and people reach over the network, and nothing that decides anything.
//!
//! Owns the server shell ([`server`]), what gateways call ([`data_plane`], its JSON in [`wire`]), what people call
//! ([`control_plane`], [`metrics`]), who may call ([`access`]), prompts in the shape of another product's clients
//! ([`prompt_fetch`]) and the one shape of an error everywhere else ([`problem`]). Holds no state of its own besides
//! open connections. Called by `app`, which hands over bound listeners.

pub mod access;
pub mod control_plane;
pub mod data_plane;
pub mod metrics;
pub mod problem;
pub mod prompt_fetch;
mod sequence;
pub mod server;
pub mod wire;
