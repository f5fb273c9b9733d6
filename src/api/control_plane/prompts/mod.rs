//! The prompt registry over HTTP: versions, the evidence for them, and what each environment serves.
//!
//! Owns addresses, bodies and shapes. Judges nothing: what may be registered, reviewed or deployed is the control
//! plane's to decide, and it is told here in the words of its rejection.
//!
//! In reading order: `addresses` takes names out of addresses and `selection` versions out of queries; `view` and `detail` have
//! the shapes; `read`, `diff`, `render` and `history` look; `register`, `labels`, `evidence` and `deploy` change.

mod addresses;
pub(super) mod deploy;
mod detail;
pub(super) mod diff;
pub(super) mod evidence;
pub(super) mod history;
pub(super) mod labels;
pub(super) mod read;
pub(super) mod register;
pub(super) mod render;
mod selection;
mod view;

pub(super) use addresses::{Tails, existing};
