//! What a client says of itself: Langfuse's clients send a pair of keys with the scheme Basic.
//!
//! The public key is the name of a token and the secret key is the token. Only the token is secret, so it is taken in
//! either place, and as `Bearer` too.

use crate::api::access::{Refused, authorization};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::HeaderMap;
use std::borrow::Cow;

/// What came in the `Authorization` header.
pub(super) struct Presented<'a>(Cow<'a, [u8]>);

impl<'a> Presented<'a> {
    /// Of a request.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, Refused> {
        let (scheme, rest) = authorization(headers)?;
        if scheme.eq_ignore_ascii_case(b"bearer") && !rest.is_empty() {
            Ok(Self(Cow::Borrowed(rest)))
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            let pair = STANDARD.decode(rest).map_err(|_| Refused::Unreadable)?;
            Ok(Self(Cow::Owned(pair)))
        } else {
            Err(Refused::Unreadable)
        }
    }

    /// What may be a token, the likeliest first. A token has no colon.
    pub(super) fn possible_tokens(&self) -> Vec<&[u8]> {
        let mut parts: Vec<&[u8]> = self.0.splitn(2, |byte| *byte == b':').collect();
        parts.reverse();
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{AUTHORIZATION, HeaderValue};

    fn tokens(header: &str) -> Result<Vec<String>, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        let presented = Presented::read(&headers)?;
        let tokens = presented.possible_tokens().into_iter();
        Ok(tokens
            .map(|token| String::from_utf8_lossy(token).into_owned())
            .collect())
    }

    #[test]
    fn the_secret_key_comes_first() {
        let pair = format!("Basic {}", STANDARD.encode("app:serin_x"));
        assert_eq!(tokens(&pair).unwrap(), ["serin_x", "app"]);
        assert_eq!(tokens("bearer serin_x").unwrap(), ["serin_x"]);
        let alone = format!("BASIC  {} ", STANDARD.encode("serin_x"));
        assert_eq!(tokens(&alone).unwrap(), ["serin_x"]);
    }

    #[test]
    fn anything_else_is_unreadable() {
        for header in ["", "Bearer", "Basic YTpi!", "Digest YTpi", "serin_x"] {
            assert_eq!(tokens(header), Err(Refused::Unreadable), "{header}");
        }
        assert!(matches!(
            Presented::read(&HeaderMap::new()),
            Err(Refused::Missing)
        ));
    }
}
