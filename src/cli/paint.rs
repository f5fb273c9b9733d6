//! Colours: whether there are any.

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use std::io;

/// Paints, or leaves text as it is where the reader is no terminal or wants no colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// In colours.
    Colours,
    /// Text only.
    Nothing,
}

impl Paint {
    /// What fits standard output, by `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and whether it is a terminal.
    pub(super) fn for_output() -> Self {
        match AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => Self::Nothing,
            _ => Self::Colours,
        }
    }

    /// The text in a style.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Colours if !text.is_empty() => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }
}
