//! The one shape of an error on the wire: RFC 9457, `application/problem+json`.
//!
//! Owns the mapping from a problem to a response. Never decides which status an inner error deserves: handlers do,
//! and build a [`Problem`] from it. Called by the handlers of both planes and by the server shell.

use crate::api::server::{Body, BodyError};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// An error as a caller sees it.
///
/// ```
/// use serin::api::problem::Problem;
/// use hyper::StatusCode;
///
/// let problem = Problem::new(StatusCode::NOT_FOUND, "PROMPT_NOT_FOUND", "no prompt is called \"greeting\"");
/// assert_eq!(problem.to_json(), concat!(
///     r#"{"type":"urn:serin:problem:prompt-not-found","title":"Not Found","status":404,"#,
///     r#""detail":"no prompt is called \"greeting\"","code":"PROMPT_NOT_FOUND"}"#,
/// ));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status; repeated in the body.
    pub status: StatusCode,
    /// The stable code that programs match on, in upper snake case.
    pub code: &'static str,
    /// A short summary, the same for every occurrence; the status's reason phrase unless set otherwise.
    pub title: &'static str,
    /// What happened this time, for a person to read.
    pub detail: String,
    /// Further members of the object, such as a list of mistakes. Those named like one of the five standard
    /// members are left out.
    pub members: BTreeMap<String, Value>,
}

/// Members that [`Problem::members`] cannot replace.
const STANDARD_MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "code"];

/// The object as it is written, in the order RFC 9457 lists the members.
#[derive(Serialize)]
struct Wire<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(flatten)]
    members: BTreeMap<&'a str, &'a Value>,
}

impl Problem {
    /// A problem titled after its status.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            members: BTreeMap::new(),
        }
    }

    /// Adds a member to the object.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The body of the response.
    #[must_use]
    pub fn to_json(&self) -> String {
        let wire = Wire {
            r#type: format!(
                "urn:serin:problem:{}",
                self.code.to_ascii_lowercase().replace('_', "-")
            ),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            members: self
                .members
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .filter(|(name, _)| !STANDARD_MEMBERS.contains(name))
                .collect(),
        };
        // Text, numbers and JSON values always serialise; an empty object keeps the status readable regardless.
        serde_json::to_string(&wire).unwrap_or_else(|_| String::from("{}"))
    }

    /// The response that carries it. It must not be cached: the next attempt may well succeed.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        self.into_response_of()
    }

    /// The same with another type of body.
    pub(crate) fn into_response_of<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::from(self.to_json())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        self.into_response().map(axum::body::Body::new)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
            BodyError::Timeout => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
            BodyError::Disconnected => (StatusCode::BAD_REQUEST, "BODY_INCOMPLETE"),
        };
        Self::new(status, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn members_follow_the_standard_ones_and_never_replace_them() {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID", "two mistakes")
            .with("mistakes", vec!["a", "b"])
            .with("status", 200);
        let json: Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!(json["status"], 422);
        assert_eq!(json["title"], "Unprocessable Entity");
        assert_eq!(json["mistakes"], serde_json::json!(["a", "b"]));
        assert_eq!(problem.to_json().matches("\"status\"").count(), 1);
    }

    #[tokio::test]
    async fn both_servers_send_the_same_response() {
        let problem = Problem::from(BodyError::TooLarge);
        let ours = problem.clone().into_response();
        let axums = IntoResponse::into_response(problem);
        assert_eq!(ours.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(ours.headers(), axums.headers());
        assert_eq!(ours.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(ours.headers()[CACHE_CONTROL], "no-store");
        let ours = ours.into_body().collect().await.unwrap().to_bytes();
        let axums = axums.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(ours, axums);
    }
}
