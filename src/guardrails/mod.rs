//! Guardrails: watch the counts, propose commands; never touch traffic themselves.
//!
//! [`assess`] judges one experiment's counts, [`propose`] turns the worst verdict into a command, [`watch`] is the
//! task that joins the two to the control plane. [`aa`] lets the same test look for false alarms, between halves of
//! control, and [`reporting`] says what is reported back at all. A breach is judged first and in every live state; no data is an
//! answer of its own and never a pass.

pub mod aa;
pub mod assess;
pub mod clearance;
pub mod look;
pub mod propose;
pub mod reporting;
mod silence;
pub mod step;
pub mod watch;
