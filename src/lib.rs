//! Serin, the canary router for prompts.
//!
//! The story, in reading order: [`domain`] has the nouns; [`routing`] answers which version a unit gets, from one
//! immutable table; [`control_plane`] folds the control log into that table; [`store`] keeps the log and the counts;
//! [`collector`] counts what happened; [`stats`] is the mathematics; [`report`] says which version is better;
//! [`guardrails`] watch the counts and ask for a freeze; [`notices`] tell people; [`definitions`] turn files into
//! commands; [`api`] is the HTTP surface; [`app`] composes the parts; [`simulation`] measures how often they are wrong;
//! [`cli`] is what a person types. [`preflight`] says beforehand what the guardrails will be able to find.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod control_plane;
pub mod definitions;
pub mod domain;
pub mod guardrails;
pub mod notices;
pub mod preflight;
pub mod report;
pub mod routing;
pub mod settings;
pub mod simulation;
pub mod stats;
pub mod store;
pub mod telemetry;
