//! Calls on one prompt: `/api/v1/prompts/{name}/{call}`.
//!
//! Owns taking the name out of the address. Names have slashes, written as they are or as `%2F`: what comes after the
//! last slash that is written as one is the call, all before it is the name. So one route takes all of them and brings
//! each to the call's own address, where the name is one segment.

use super::unknown_route;
use crate::{
    api::problem::Problem,
    control_plane::View,
    domain::{id::PromptName, prompt::Prompt},
};
use axum::{
    extract::Request,
    handler::Handler as _,
    http::{Uri, uri::PathAndQuery},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use hyper::StatusCode;
use std::sync::Arc;

/// What every address here begins with.
const BASE: &str = "/api/v1/prompts/";
/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// Hands a request to the calls' own routes.
pub(super) async fn forward(calls: MethodRouter, mut request: Request) -> Response {
    let Some(address) = own_address(request.uri()) else {
        return IntoResponse::into_response(unknown_route().await);
    };
    *request.uri_mut() = address;
    calls.call(request, ()).await
}

/// The address with the name as one segment; none where there is no call.
fn own_address(uri: &Uri) -> Option<Uri> {
    let (name, call) = uri.path().strip_prefix(BASE)?.rsplit_once('/')?;
    let name = name.replace('/', "%2F");
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = PathAndQuery::try_from(format!("{BASE}{name}/{call}{query}")).ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_becomes_one_segment() {
        let own = |text: &str| own_address(&text.parse().unwrap()).map(|uri| uri.to_string());
        for (written, expected) in [
            (
                "/api/v1/prompts/a/performance",
                Some("/api/v1/prompts/a/performance"),
            ),
            (
                "/api/v1/prompts/a/b%20c/performance?window=1h",
                Some("/api/v1/prompts/a%2Fb%20c/performance?window=1h"),
            ),
            ("/api/v1/prompts/a%2Fb/x/y", Some("/api/v1/prompts/a%2Fb%2Fx/y")),
            (
                "http://h/api/v1/prompts/a/b/c",
                Some("http://h/api/v1/prompts/a%2Fb/c"),
            ),
            ("/api/v1/prompts/a", None),
        ] {
            assert_eq!(own(written).as_deref(), expected, "{written}");
        }
    }
}
