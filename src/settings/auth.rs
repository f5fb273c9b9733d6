//! Who may use the control plane: the `[auth]` section.
//!
//! Owns the form of the tokens as written. Keeps no token, and repeats none in a mistake.

use super::located;
use crate::{
    definitions::{
        document::Document,
        mistake::Mistakes,
        reader::{Field, Report, Table},
    },
    domain::{
        id::TokenName,
        token::{Role, Token, TokenHash, Tokens},
    },
};
use std::path::Path;

/// The tokens, and what is open without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// None: the control plane serves loopback only, and everyone who reaches it may do everything.
    pub tokens: Tokens,
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
}

impl Auth {
    /// Reads this section alone, so that a mistake elsewhere in the file does not keep a token from being taken back.
    ///
    /// # Errors
    /// Every mistake in the section, or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let document = Document::open(path).map_err(Mistakes)?;
        let report = Report::default();
        let auth = Table::root(&document.root, &report).map(|mut root| read(root.section("auth")));
        let problems = report.into_problems();
        match auth {
            Some(auth) if problems.is_empty() => Ok(auth),
            _ => Err(located(problems, &document.lines, path)),
        }
    }
}

/// Takes the section; what is wrong in it is left out and reported.
pub(super) fn read(mut section: Table<'_>) -> Auth {
    let written = section.optional("tokens").and_then(|field| field.list());
    let mut tokens: Vec<Token> = Vec::new();
    for field in written.unwrap_or_default() {
        let Some(token) = token(&field) else { continue };
        if tokens.iter().any(|known| known.name == token.name) {
            field.wrong(format_args!("there is a token `{}` already", token.name));
        } else if let Some(known) = tokens.iter().find(|known| known.hash == token.hash) {
            field.wrong(format_args!(
                "`{}` has the same token: who did something could not be told",
                known.name
            ));
        } else {
            tokens.push(token);
        }
    }
    let open_metrics = section
        .optional("open_metrics")
        .is_none_or(|field| field.boolean().unwrap_or(true));
    section.finish();
    Auth {
        tokens: Tokens(tokens),
        open_metrics,
    }
}

fn token(field: &Field<'_>) -> Option<Token> {
    let mut table = field.table()?;
    let name = table
        .required("name", "who holds the token; the audit log has this name")
        .and_then(|field| field.name(TokenName::new));
    let role = table
        .required("role", "viewer, experimenter, operator or admin")
        .and_then(|field| field.choice(&Role::WORDS));
    let hash = table
        .required("hash", "what `serin token` prints, never the token itself")
        .and_then(|field| hash(&field));
    let expires = table.optional("expires").map(|field| field.timestamp());
    table.finish();
    let expires = match expires {
        Some(written) => Some(written?),
        None => None,
    };
    Some(Token {
        name: name?,
        role: role?,
        hash: hash?,
        expires,
    })
}

fn hash(field: &Field<'_>) -> Option<TokenHash> {
    TokenHash::parse(field.text()?)
        .map_err(|problem| field.wrong(problem))
        .ok()
}
