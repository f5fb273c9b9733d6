//! JSON bodies within bounds, with every refusal in words.

use super::refusal;
use crate::{
    api::problem::Problem,
    definitions::{
        document::Document,
        reader::{Report, Table},
    },
    domain::problem::Problem as Mistake,
};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    StatusCode,
    body::Body as _,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// The largest body of most calls.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// The whole body.
///
/// # Errors
/// Another content type than JSON, and a body that is too large or too slow.
pub(super) async fn bytes(headers: &HeaderMap, body: Body, most_bytes: usize) -> Result<Bytes, Problem> {
    if !body.is_end_stream() && !may_be_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "the body must be JSON, sent with `Content-Type: application/json`",
        ));
    }
    gathered(body, most_bytes).await
}

/// The object in a body; none when it is empty.
///
/// # Errors
/// What is no JSON or no object.
pub(super) fn object(bytes: &[u8]) -> Result<Option<Map<String, Value>>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(other) => Err(refusal::invalid_body(&[Mistake::new(
            "",
            format!("the body must be a JSON object, not {}", kind(&other)),
        )])),
        Err(error) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "BAD_JSON",
            format!("the body is not JSON: {error}"),
        )
        .with("line", error.line())
        .with("column", error.column())),
    }
}

/// The object in a body that must have one.
///
/// # Errors
/// When it is empty; `meant` is what it must be.
pub(super) fn required(
    object: Option<Map<String, Value>>,
    meant: &str,
) -> Result<Map<String, Value>, Problem> {
    let empty = || {
        let detail = format!("the body is empty; it must be {meant} as a JSON object");
        Problem::new(StatusCode::BAD_REQUEST, "BAD_JSON", detail)
    };
    object.ok_or_else(empty)
}

/// What the members of a body say.
///
/// # Errors
/// Every member that is wrong, missing or unknown, named.
pub(super) fn members<T>(
    body: Map<String, Value>,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<T, Problem> {
    let document = Document::json(&Value::Object(body));
    let report = Report::default();
    let members = Table::root(&document.root, &report).and_then(|mut root| {
        let members = read(&mut root);
        root.finish();
        members
    });
    let mistakes = report.into_problems();
    match members {
        Some(members) if mistakes.is_empty() => Ok(members),
        _ => Err(refusal::invalid_body(&mistakes)),
    }
}

/// JSON, nothing said, or what curl says of `--data` when it is not told: whoever meant a form gets `BAD_JSON`.
/// Pages of other sites are kept out by their `Origin`, not by this.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let essence = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let accepted: [&[u8]; 2] = [b"application/json", b"application/x-www-form-urlencoded"];
    accepted
        .iter()
        .any(|accepted| essence.eq_ignore_ascii_case(accepted))
        || essence.ends_with(b"+json")
}

async fn gathered(body: Body, most_bytes: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > most_bytes as u64 {
        return Err(too_large(most_bytes));
    }
    let gathered = tokio::time::timeout(DEADLINE, Limited::new(body, most_bytes).collect()).await;
    match gathered {
        Ok(Ok(gathered)) => Ok(gathered.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most_bytes)),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "BODY_INCOMPLETE",
            "the body is incomplete or badly framed",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "REQUEST_TIMEOUT",
            "the body did not arrive in time",
        )),
    }
}

fn too_large(most_bytes: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "BODY_TOO_LARGE",
        format!("the body is larger than {most_bytes} bytes"),
    )
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
