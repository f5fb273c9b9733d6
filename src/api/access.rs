//! Who may use this server: the tokens in force, for every listener that asks for one.
//!
//! Never keeps, logs or repeats a token. `app` makes an [`Access`] and replaces its tokens when the settings change; the
//! control plane's gate and the prompt fetch of the data plane ask it. What role a call needs is said where the call is.

use crate::domain::{
    Timestamp,
    token::{Role, TokenError, Tokens},
};
use hyper::header::{AUTHORIZATION, HeaderMap};
use parking_lot::RwLock;
use std::sync::Arc;

/// The actor of changes while there are no tokens.
const NOBODY_IN_PARTICULAR: &str = "api";

/// Who makes a call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The actor of what is done.
    pub(super) actor: Arc<str>,
    /// What it may do; everything while there are no tokens.
    pub(super) role: Role,
}

impl Caller {
    /// Somebody who need not say who they are.
    pub(super) fn nobody_in_particular() -> Self {
        Self {
            actor: Arc::from(NOBODY_IN_PARTICULAR),
            role: Role::Admin,
        }
    }
}

/// Who may use this server now; share it with an [`Arc`].
#[derive(Debug)]
pub struct Access(RwLock<Arc<Rules>>);

#[derive(Debug)]
struct Rules {
    /// None: there never was a token, so everyone may do everything.
    tokens: Option<Tokens>,
    open_metrics: bool,
}

impl Default for Access {
    /// Open to everyone.
    fn default() -> Self {
        Self::new(Tokens::default(), true)
    }
}

impl Access {
    /// Without tokens everyone may do everything; with them, only their holders.
    #[must_use]
    pub fn new(tokens: Tokens, open_metrics: bool) -> Self {
        Self(RwLock::new(Arc::new(Rules {
            tokens: (!tokens.is_empty()).then_some(tokens),
            open_metrics,
        })))
    }

    /// Other tokens from now on; true when something changed. What was closed stays closed: whoever takes the last
    /// token back does not mean that from now on nobody needs one. Only a restart opens it.
    pub fn replace(&self, tokens: Tokens, open_metrics: bool) -> bool {
        let mut rules = self.0.write();
        let open = rules.tokens.is_none() && tokens.is_empty();
        let tokens = (!open).then_some(tokens);
        let changed = rules.tokens != tokens || rules.open_metrics != open_metrics;
        *rules = Arc::new(Rules { tokens, open_metrics });
        changed
    }

    /// Whether nobody needs a token.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.read().tokens.is_none()
    }

    /// Whether whoever scrapes metrics needs no token.
    pub(super) fn metrics_are_open(&self) -> bool {
        self.0.read().open_metrics
    }

    /// Who presents these, one of which must be a token with the role `needed` or a higher one. While there are no
    /// tokens nothing need be presented.
    pub(super) fn admit(
        &self,
        needed: Role,
        presented: Result<&[&[u8]], Refused>,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let rules = Arc::clone(&*self.0.read());
        let Some(tokens) = &rules.tokens else {
            return Ok(Caller::nobody_in_particular());
        };
        let mut refused = Refused::Unknown;
        for token in presented? {
            match tokens.holder(token, now) {
                Ok(holder) if holder.role < needed => {
                    return Err(Refused::TooLow {
                        name: Arc::from(holder.name.as_str()),
                        role: holder.role,
                        needed,
                    });
                }
                Ok(holder) => {
                    return Ok(Caller {
                        actor: Arc::from(holder.name.as_str()),
                        role: holder.role,
                    });
                }
                Err(TokenError::Expired(at)) => refused = Refused::Expired(at),
                Err(TokenError::Unknown) => {}
            }
        }
        Err(refused)
    }
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no token.
    Missing,
    /// There is something else where a token should be.
    Unreadable,
    /// Nobody has the token.
    Unknown,
    /// The token was good until then.
    Expired(Timestamp),
    /// The holder may do less.
    TooLow {
        /// The token's name.
        name: Arc<str>,
        /// Its role.
        role: Role,
        /// The role the call needs.
        needed: Role,
    },
}

/// The scheme and the rest of the one `Authorization` header.
pub(super) fn authorization(headers: &HeaderMap) -> Result<(&[u8], &[u8]), Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refused::Missing),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => return Err(Refused::Unreadable),
    };
    let space = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(space.unwrap_or(value.len()));
    Ok((scheme, rest.trim_ascii()))
}

/// The token in an `Authorization` header with the scheme `Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&[u8], Refused> {
    let (scheme, token) = authorization(headers)?;
    if scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(Refused::Unreadable)
    }
}
