//! Calls on one prompt: `/api/v1/prompts/{name}/{call}`.
//!
//! Owns taking the name out of the address. Names have slashes, written as they are or as `%2F`: what comes after the
//! last slash that is written as one is the call, all before it is the name. So one route takes all of them, and a new
//! call is a line in [`call`].

use super::{Shared, experiments, performance, unknown_route, wrong_method};
use crate::{
    api::problem::Problem,
    control_plane::View,
    domain::{id::PromptName, prompt::Prompt},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::Method,
    response::Response,
};
use hyper::{
    StatusCode,
    header::{ALLOW, HeaderValue},
};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// What every address here begins with.
const BASE: &str = "/api/v1/prompts/";
/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

pub(super) async fn call(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let path = request.uri().path().strip_prefix(BASE).unwrap_or_default();
    let Some((name, call)) = path.rsplit_once('/') else {
        return Err(unknown_route().await);
    };
    let name = percent_decode_str(name).decode_utf8().map_err(|_| {
        let detail = "the address is not UTF-8 after decoding its percent signs";
        Problem::new(StatusCode::BAD_REQUEST, "BAD_ADDRESS", detail)
    })?;
    let name = name.into_owned();
    match (call, request.method()) {
        ("performance", &(Method::GET | Method::HEAD)) => {
            performance::read(shared, name, request.uri()).await
        }
        ("performance", _) => Ok(only("GET,HEAD", request.method().clone()).await),
        ("experiments", &Method::POST) => experiments::create_for_prompt(shared, name, request).await,
        ("experiments", _) => Ok(only("POST", request.method().clone()).await),
        _ => Err(unknown_route().await),
    }
}

/// The prompt with this name.
pub(super) fn existing(view: &View, name: &str) -> Result<Arc<Prompt>, Problem> {
    let known = PromptName::new(name).ok();
    let found = known.and_then(|known| view.catalog.prompts.get(&known));
    found.cloned().ok_or_else(|| {
        let name: String = name.chars().take(LONGEST_ECHO).collect();
        let detail = format!("prompt `{name}` does not exist");
        Problem::new(StatusCode::NOT_FOUND, "PROMPT_NOT_FOUND", detail)
    })
}

async fn only(allowed: &'static str, method: Method) -> Response {
    let mut response = wrong_method(method).await.into_response().map(Body::new);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
