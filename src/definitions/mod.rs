//! Prompt and experiment files as people write them, turned into the domain's designs.
//!
//! Owns the file formats: where files lie, how they are read, and that every mistake in them is told at once, with
//! file, line and field. A set of files is good as a whole or not at all; this module never applies anything, never
//! keeps a last good set and never answers an unreadable folder with an empty one: that would stop every experiment.
//!
//! In reading order: a [`mistake`] is what goes wrong; a [`document`] is a file or a JSON body as a tree with lines;
//! `reader` takes fields from that tree and collects what is wrong; [`experiment`] and [`prompt`] say which fields
//! there are; [`load`] reads whole folders; [`watch`] tells when to do so again; [`git`] reads histories. The command
//! line and the running server call [`load::load`], the HTTP API [`experiment::experiment_from_json`], and the settings
//! share the reader.
//! there are; [`registration`] and [`evaluation`] are the same for what only bodies say; [`load`] reads whole folders;
//! [`watch`] tells when to do so again. The command line and the running server call [`load::load`], the HTTP API
//! [`experiment::experiment_from_json`], [`registration::registration_from_json`] and
//! [`evaluation::evaluation_from_json`], and the settings share the reader.

pub mod document;
pub mod evaluation;
pub mod exclusions;
pub mod experiment;
pub mod git;
pub mod load;
pub mod mistake;
pub mod owner;
pub mod plan;
pub mod prompt;
pub(crate) mod reader;
pub mod reconcile;
pub mod registration;
pub mod set;
mod walk;
pub mod watch;
pub mod written;
