//! What comes along with every change: who asks, whether it may come again, and what it was based on.
//!
//! Owns the headers `Idempotency-Key`, `If-Match`, `ETag` and `Idempotency-Replayed`. Judges neither keys nor
//! revisions: the control plane does, where nothing can come in between.

use super::{access::Caller, body, internal};
use crate::{
    api::problem::Problem,
    control_plane::Submitted,
    domain::{
        command::{Idempotency, Origin},
        id::Revision,
        token::Role,
    },
};
use axum::{extract::Request, response::Response};
use hyper::{
    StatusCode,
    header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH},
    http::request::Parts,
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The name of a request that may be sent again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The most characters of a key.
const LONGEST_KEY: usize = 255;

/// Everything of a request for a change but the change.
#[derive(Debug, Clone)]
pub(super) struct Change {
    actor: Arc<str>,
    role: Role,
    idempotency: Option<Idempotency>,
    based_on: Option<Revision>,
}

impl Change {
    /// Takes a request apart: this, and the object in its body when it has one.
    ///
    /// # Errors
    /// Headers that are not what they must be, and those of [`body`].
    pub(super) async fn read(request: Request) -> Result<(Self, Option<Map<String, Value>>), Problem> {
        Self::read_up_to(request, body::MAX_BYTES).await
    }

    /// The same for a body that may be larger.
    ///
    /// # Errors
    /// As for [`Change::read`].
    pub(super) async fn read_up_to(
        request: Request,
        most_bytes: usize,
    ) -> Result<(Self, Option<Map<String, Value>>), Problem> {
        let (head, body) = request.into_parts();
        // The gate puts it there; a way around the gate must not be a way in.
        let caller = head.extensions.get::<Caller>().ok_or_else(internal)?;
        let (actor, role) = (Arc::clone(&caller.actor), caller.role);
        let key = key(&head.headers)?;
        let based_on = based_on(&head.headers)?;
        let bytes = body::bytes(&head.headers, body, most_bytes).await?;
        let idempotency = key.map(|key| Idempotency {
            key,
            request: digest(&head, &bytes),
        });
        let change = Self {
            actor,
            role,
            idempotency,
            based_on,
        };
        Ok((change, body::object(&bytes)?))
    }

    /// Who asks.
    pub(super) fn actor(&self) -> &str {
        &self.actor
    }

    /// What the caller may do.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Who asks, with the reason.
    pub(super) fn origin(&self, reason: impl Into<String>) -> Origin {
        Origin::new(&*self.actor, reason).once(self.idempotency.clone())
    }

    /// The revision that the experiment must still be at.
    pub(super) fn based_on(&self) -> Option<Revision> {
        self.based_on
    }

    /// Takes the revision in the body too.
    ///
    /// # Errors
    /// When the header says another one.
    pub(super) fn also_based_on(&mut self, revision: Option<Revision>) -> Result<(), Problem> {
        match (self.based_on, revision) {
            (Some(header), Some(body)) if header != body => Err(bad_precondition(format!(
                "`If-Match` says revision {header} and the body {body}"
            ))),
            (header, body) => {
                self.based_on = header.or(body);
                Ok(())
            }
        }
    }

    /// For a change of something that has no revision of its own.
    ///
    /// # Errors
    /// When it was said to be based on one.
    pub(super) fn is_based_on_nothing(&self) -> Result<(), Problem> {
        match self.based_on {
            None => Ok(()),
            Some(_) => Err(bad_precondition(
                "this changes no experiment that is there already, so there is no revision to compare with"
                    .to_owned(),
            )),
        }
    }
}

/// Marks the answer to a change that had been made before.
pub(super) fn marked(mut response: Response, submitted: &Submitted) -> Response {
    if submitted.replayed {
        let headers = response.headers_mut();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Gives an answer about one experiment the tag that a later `If-Match` takes.
pub(super) fn tagged(mut response: Response, revision: Revision) -> Response {
    // Digits in quotes are a header's value.
    if let Ok(tag) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => &[],
    };
    let visible = key.iter().all(u8::is_ascii_graphic);
    if visible && (1..=LONGEST_KEY).contains(&key.len()) {
        return Ok(Some(String::from_utf8_lossy(key).into_owned()));
    }
    let detail = format!("`Idempotency-Key` must be one of 1 to {LONGEST_KEY} visible ASCII characters");
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "BAD_IDEMPOTENCY_KEY",
        detail,
    ))
}

/// `*` asks that there be something, which every change of an experiment asks anyway.
fn based_on(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default().trim(),
        (Some(_), Some(_)) => "",
    };
    if value == "*" {
        return Ok(None);
    }
    let number = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = number.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let revision = digits.and_then(|digits| digits.parse().ok()).map(Revision);
    let wrong =
        || bad_precondition("`If-Match` must be the `ETag` of the experiment, such as \"17\"".to_owned());
    revision.map(Some).ok_or_else(wrong)
}

fn bad_precondition(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_PRECONDITION", detail)
}

/// Tells a request from every other: what is asked for, of what, based on what, and with which body.
fn digest(head: &Parts, body: &[u8]) -> String {
    let mut hasher = Sha256::new();
    let if_match = head.headers.get(IF_MATCH).map_or(&[][..], HeaderValue::as_bytes);
    let method = head.method.as_str().as_bytes();
    let address = head.uri.to_string();
    for part in [method, address.as_bytes(), if_match, body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn keys_are_visible_and_short() {
        let read = |values: &[&str]| key(&headers(IDEMPOTENCY_KEY, values)).map_err(|problem| problem.code);
        assert_eq!(read(&[]), Ok(None));
        let longest = "k".repeat(LONGEST_KEY);
        for good in ["1", "a-b:c/\"d\"", &longest] {
            assert_eq!(read(&[good]), Ok(Some(good.to_owned())));
        }
        for bad in ["", "a b", "ü", &format!("{longest}k")] {
            assert_eq!(read(&[bad]), Err("BAD_IDEMPOTENCY_KEY"), "{bad}");
        }
        assert_eq!(read(&["a", "a"]), Err("BAD_IDEMPOTENCY_KEY"));
    }

    #[test]
    fn a_precondition_is_one_revision() {
        let read = |values: &[&str]| based_on(&headers(IF_MATCH, values)).map_err(|problem| problem.code);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&["\"17\""]), Ok(Some(Revision(17))));
        for bad in [
            "17",
            "W/\"17\"",
            "\"\"",
            "\"+1\"",
            "\"a\"",
            "\"1\", \"2\"",
            "\"99999999999999999999\"",
            "ü",
        ] {
            assert_eq!(read(&[bad]), Err("BAD_PRECONDITION"), "{bad}");
        }
        assert_eq!(read(&["\"1\"", "\"1\""]), Err("BAD_PRECONDITION"));
    }

    #[test]
    fn another_request_has_another_digest() {
        let of = |method: &str, address: &str, if_match: &str, body: &[u8]| {
            let request = Request::builder()
                .method(method)
                .uri(address)
                .header(IF_MATCH, if_match);
            let (head, _) = request.body(axum::body::Body::empty()).unwrap().into_parts();
            digest(&head, body)
        };
        let one = of("POST", "/a", "*", b"{}");
        assert_eq!(one, of("POST", "/a", "*", b"{}"));
        assert_eq!(one.len(), 64);
        for other in [
            of("PUT", "/a", "*", b"{}"),
            of("POST", "/a?b", "*", b"{}"),
            of("POST", "/a", "\"1\"", b"{}"),
            of("POST", "/a", "*", b"{} "),
        ] {
            assert_ne!(one, other);
        }
    }
}
