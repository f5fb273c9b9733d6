//! Prompts for Langfuse's clients, so that an application changes an address and no code.
//!
//! Owns the read-only part of that product's API under [`ROOT`]: one prompt, the list of prompts, and the project that
//! a client asks for when it checks its keys. Answers from the table that decisions read, so no store is on the way.
//! Never splits users: the protocol has none, so a label or a version is all that can be asked for. Called by the data
//! plane, for whatever is below [`ROOT`].

mod credentials;
mod list;
mod refusal;
mod version;

use super::{
    access::{Access, Refused},
    server::Body,
};
use crate::{clock::Clock, domain::token::Role, routing::live::LiveTable};
use bytes::Bytes;
use credentials::Presented;
use hyper::{
    Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use refusal::Refusal;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// What the addresses of this API begin with.
pub const ROOT: &str = "/api/public/";

/// Below [`ROOT`]: the list of prompts, and with a name behind it one prompt.
const PROMPTS: &str = "v2/prompts";
const PROJECTS: &str = "projects";
/// The id and the name of the one project, and of its organization: Serin has no projects, and clients need one.
const PROJECT: &str = "serin";

/// The handler of these addresses.
#[derive(Debug)]
pub struct PromptFetch {
    access: Arc<Access>,
    clock: Clock,
}

impl PromptFetch {
    /// For the holders of these tokens, whatever their role; for everyone while there are none.
    #[must_use]
    pub fn new(access: Arc<Access>, clock: Clock) -> Self {
        Self { access, clock }
    }

    /// Answers a request whose address begins with [`ROOT`]; bodies are not read.
    pub(super) async fn answer(&self, live: &LiveTable, request: &Parts) -> Response<Body> {
        match self.answered(live, request).await {
            Ok(body) => respond(StatusCode::OK, body),
            Err(refusal) => refused(&refusal),
        }
    }

    async fn answered(&self, live: &LiveTable, request: &Parts) -> Result<Vec<u8>, Refusal> {
        let below = request.uri.path().strip_prefix(ROOT).unwrap_or_default();
        let name = below
            .strip_prefix(PROMPTS)
            .and_then(|rest| rest.strip_prefix('/'));
        if name.is_none() && below != PROMPTS && below != PROJECTS {
            return Err(Refusal::NothingHere);
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Refusal::ReadOnly);
        }
        let presented = Presented::read(&request.headers);
        let tokens = presented.as_ref().map(Presented::possible_tokens);
        let tokens = tokens.as_deref().map_err(|refused| Refused::clone(refused));
        self.access.admit(Role::Viewer, tokens, self.clock.now())?;
        let query = request.uri.query().unwrap_or_default();
        match name {
            Some(name) => {
                let name = percent_decode_str(name).decode_utf8();
                let name =
                    name.map_err(|_| Refusal::BadRequest("the name in the path is not UTF-8".to_owned()))?;
                version::fetched(&live.load(), &name, &version::Asked::read(query)?)
            }
            None if below == PROMPTS => {
                let asked = list::Asked::read(query)?;
                let table = Arc::clone(&live.load());
                // It looks at every prompt, and no decision should wait for that.
                let listed = tokio::task::spawn_blocking(move || list::listed(&table, &asked)).await;
                listed.map_err(|error| {
                    tracing::error!(%error, "listing prompts failed");
                    Refusal::Failed
                })
            }
            None => Ok(projects()),
        }
    }
}

fn projects() -> Vec<u8> {
    written(&json!({"data": [{
        "id": PROJECT,
        "name": PROJECT,
        "metadata": {},
        "organization": {"id": PROJECT, "name": PROJECT},
    }]}))
}

/// Names, numbers, texts and configs always have a JSON form.
fn written(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let body = json!({"message": refusal.to_string(), "error": refusal.name()});
    let mut response = respond(refusal.status(), written(&body));
    let more = match refusal.status() {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Basic realm=\"serin\", charset=\"UTF-8\"")),
        StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "GET, HEAD")),
        _ => None,
    };
    if let Some((name, value)) = more {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
