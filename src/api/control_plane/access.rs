//! Who may make which call.
//!
//! Owns the tokens in force and the check in front of every handler. Which role a call needs is said in the table
//! of calls and nowhere else. Never keeps, logs or repeats a token. `app` makes an [`Access`] and replaces its tokens
//! when the settings change; the router puts a gate before each call.

use super::{Shared, refusal};
use crate::{
    api::metrics::Refusal,
    domain::{
        Timestamp,
        token::{Role, TokenError, Tokens},
    },
};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use hyper::header::{AUTHORIZATION, HeaderMap};
use parking_lot::RwLock;
use std::sync::Arc;

/// The actor of changes while there are no tokens.
const NOBODY_IN_PARTICULAR: &str = "api";

/// What a call asks of its caller at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Least {
    /// Nothing: whoever looks after the process must be answered.
    Nothing,
    /// Nothing while metrics are open, else the least role.
    Scrape,
    /// A token with this role or a higher one.
    Role(Role),
}

/// Who makes a call; in the request's extensions behind the gate.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The actor of what is done.
    pub(super) actor: Arc<str>,
    /// What it may do; everything while there are no tokens.
    pub(super) role: Role,
}

/// Who may use the control plane now; share it with an [`Arc`].
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

    fn admit(&self, least: Least, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Refused> {
        let rules = Arc::clone(&*self.0.read());
        let nobody = || Caller {
            actor: Arc::from(NOBODY_IN_PARTICULAR),
            role: Role::Admin,
        };
        let needed = match least {
            Least::Nothing => return Ok(nobody()),
            Least::Scrape if rules.open_metrics => return Ok(nobody()),
            Least::Scrape => Role::Viewer,
            Least::Role(role) => role,
        };
        let Some(tokens) = &rules.tokens else {
            return Ok(nobody());
        };
        let token = presented(headers)?;
        let holder = tokens.holder(token, now).map_err(|error| match error {
            TokenError::Unknown => Refused::Unknown,
            TokenError::Expired(at) => Refused::Expired(at),
        })?;
        if holder.role < needed {
            return Err(Refused::TooLow {
                name: Arc::from(holder.name.as_str()),
                role: holder.role,
                needed,
            });
        }
        Ok(Caller {
            actor: Arc::from(holder.name.as_str()),
            role: holder.role,
        })
    }
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no token.
    Missing,
    /// There is something else where a token should be.
    Unreadable,
    Unknown,
    Expired(Timestamp),
    TooLow {
        name: Arc<str>,
        role: Role,
        needed: Role,
    },
}

impl Refused {
    fn counted_as(&self) -> Refusal {
        match self {
            Self::Missing => Refusal::Missing,
            Self::Unreadable | Self::Unknown => Refusal::Unknown,
            Self::Expired(_) => Refusal::Expired,
            Self::TooLow { .. } => Refusal::Forbidden,
        }
    }
}

/// The token in the `Authorization` header.
fn presented(headers: &HeaderMap) -> Result<&[u8], Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refused::Missing),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => return Err(Refused::Unreadable),
    };
    let space = value.iter().position(|byte| *byte == b' ');
    let (scheme, token) = value.split_at(space.unwrap_or(value.len()));
    let token = token.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(Refused::Unreadable)
    }
}

/// What stands before a call.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Shared,
    pub(super) least: Least,
}

pub(super) async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let state = &gate.shared.state;
    match state
        .access
        .admit(gate.least, request.headers(), state.clock.now())
    {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => {
            state.metrics.refused(refused.counted_as());
            refusal::not_admitted(&refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        id::TokenName,
        token::{Token, TokenHash},
    };
    use hyper::header::HeaderValue;

    fn tokens(roles: &[Role]) -> Tokens {
        let token = |role: &Role| Token {
            name: TokenName::new(&format!("the-{role}")).unwrap(),
            role: *role,
            hash: TokenHash::of(role.as_str().as_bytes()),
            expires: None,
        };
        Tokens(roles.iter().map(token).collect())
    }

    fn asked(access: &Access, least: Least, authorization: &[&str]) -> Result<String, Refused> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let caller = access.admit(least, &headers, Timestamp::UNIX_EPOCH)?;
        Ok(caller.actor.to_string())
    }

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        let roles = Role::WORDS.map(|(_, role)| role);
        let access = Access::new(tokens(&roles), true);
        for role in roles {
            for needed in roles {
                let found = asked(&access, Least::Role(needed), &[&format!("Bearer {role}")]);
                let expected = if role >= needed {
                    Ok(format!("the-{role}"))
                } else {
                    let name = Arc::from(format!("the-{role}"));
                    Err(Refused::TooLow { name, role, needed })
                };
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_token_comes_in_one_form() {
        let access = Access::new(tokens(&[Role::Viewer]), false);
        let found = |values: &[&str]| asked(&access, Least::Scrape, values);
        for good in ["Bearer viewer", "bearer viewer", "BEARER   viewer "] {
            assert_eq!(found(&[good]), Ok("the-viewer".to_owned()), "{good}");
        }
        assert_eq!(found(&[]), Err(Refused::Missing));
        for bad in ["viewer", "Bearer", "Bearer ", "Basic viewer", ""] {
            assert_eq!(found(&[bad]), Err(Refused::Unreadable), "{bad}");
        }
        let twice = ["Bearer viewer", "Bearer viewer"];
        assert_eq!(found(&twice), Err(Refused::Unreadable));
        for wrong in ["Bearer viewe", "Bearer viewerr", "Bearer viewer viewer"] {
            assert_eq!(found(&[wrong]), Err(Refused::Unknown), "{wrong}");
        }
    }

    #[test]
    fn what_was_closed_stays_closed() {
        let access = Access::default();
        let anyone = |access: &Access| asked(access, Least::Role(Role::Admin), &[]);
        assert_eq!(anyone(&access), Ok("api".to_owned()));
        assert!(!access.replace(Tokens::default(), true));
        assert!(access.is_open());
        assert!(access.replace(tokens(&[Role::Viewer]), true));
        assert_eq!(anyone(&access), Err(Refused::Missing));
        assert!(access.replace(Tokens::default(), true), "taken back");
        assert_eq!(anyone(&access), Err(Refused::Missing));
        let before = asked(&access, Least::Role(Role::Viewer), &["Bearer viewer"]);
        assert_eq!(before, Err(Refused::Unknown));
        assert!(!access.is_open());
        assert_eq!(asked(&access, Least::Nothing, &[]), Ok("api".to_owned()));
        assert_eq!(asked(&access, Least::Scrape, &[]), Ok("api".to_owned()));
    }
}
