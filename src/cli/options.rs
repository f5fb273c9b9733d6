//! Values of options that more than one command takes, and how a wrong combination of them ends.

use super::Arguments;
use clap::{CommandFactory as _, error::ErrorKind};

/// NAME=VALUE; the name may hold `=` itself.
pub(super) fn named<T>(
    written: &str,
    value: impl Fn(&str) -> Result<T, String>,
) -> Result<(String, T), String> {
    match written.rsplit_once('=') {
        Some((name, of)) if !name.is_empty() => Ok((name.to_owned(), value(of)?)),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// A number greater than 0.
pub(super) fn positive(written: &str) -> Result<f64, String> {
    bounded(written, "finite and greater than 0", |value| {
        value > 0.0 && value.is_finite()
    })
}

/// A number between 0 and 1, neither included.
pub(super) fn share(written: &str) -> Result<f64, String> {
    bounded(written, "greater than 0 and less than 1", |value| {
        value > 0.0 && value < 1.0
    })
}

/// An effect as a share of control's mean: 0.05 is 5 %.
pub(super) fn effect(written: &str) -> Result<f64, String> {
    bounded(written, "greater than 0 and at most 10 (0.05 is 5 %)", |value| {
        value > 0.0 && value <= 10.0
    })
}

/// A number with a bound, which a wrong one is told.
pub(super) fn bounded(written: &str, bound: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match written.parse() {
        Ok(value) if holds(value) => Ok(value),
        _ => Err(format!("must be a number {bound}")),
    }
}

/// Ends the program as wrong usage does: the message, how to get help, exit code 2.
pub(super) fn usage(message: &str) -> ! {
    Arguments::command()
        .error(ErrorKind::ArgumentConflict, message)
        .exit()
}
