//! Who may make which call.
//!
//! Owns the check in front of every handler. Which role a call needs is said in the table of calls and nowhere else;
//! whose token it is, [`Access`] says. The router puts a gate before each call.

use super::{Shared, refusal};
use crate::{
    api::{
        access::{Refused, bearer},
        metrics::Refusal,
    },
    domain::{Timestamp, token::Role},
};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use hyper::header::HeaderMap;

pub use crate::api::access::Access;
pub(super) use crate::api::access::Caller;

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

fn admit(access: &Access, least: Least, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Refused> {
    let needed = match least {
        Least::Nothing => return Ok(Caller::nobody_in_particular()),
        Least::Scrape if access.metrics_are_open() => return Ok(Caller::nobody_in_particular()),
        Least::Scrape => Role::Viewer,
        Least::Role(role) => role,
    };
    let token = bearer(headers);
    let presented = token.as_ref().map(std::slice::from_ref).map_err(Clone::clone);
    access.admit(needed, presented, now)
}

fn counted_as(refused: &Refused) -> Refusal {
    match refused {
        Refused::Missing => Refusal::Missing,
        Refused::Unreadable | Refused::Unknown => Refusal::Unknown,
        Refused::Expired(_) => Refusal::Expired,
        Refused::TooLow { .. } => Refusal::Forbidden,
    }
}

/// What stands before a call. Behind it the request's extensions have the [`Caller`].
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Shared,
    pub(super) least: Least,
}

pub(super) async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let state = &gate.shared.state;
    match admit(&state.access, gate.least, request.headers(), state.clock.now()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => {
            state.metrics.refused(counted_as(&refused));
            refusal::not_admitted(&refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        id::TokenName,
        token::{Token, TokenHash, Tokens},
    };
    use hyper::header::{AUTHORIZATION, HeaderValue};
    use std::sync::Arc;

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
        let caller = admit(access, least, &headers, Timestamp::UNIX_EPOCH)?;
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
