//! Addresses of prompts: `/api/v1/prompts/{name}` and the calls below it.
//!
//! Owns taking the name out of the address. Names have slashes, written as they are or as `%2F`, and routes know only
//! segments: so before anything is routed, the name becomes one segment. Where a name could also be the beginning of a
//! call, it is the call: whoever means the name writes its slashes as `%2F`.

use super::super::{Segment, Shared, change::Change, segment, unreadable_address};
use crate::{
    api::problem::Problem,
    control_plane::{SubmitError, View, decide::find_version},
    domain::{
        id::PromptName,
        prompt::{Prompt, PromptVersion, VersionRef},
    },
};
use axum::{
    extract::{Path, Request, rejection::PathRejection},
    http::{Uri, uri::PathAndQuery},
};
use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What every address here begins with.
const BASE: &str = "/api/v1/prompts/";
/// The name in the address of a route.
const NAME: &str = "{name}";
/// What is written with percent signs in a segment: all but RFC 3986's unreserved characters.
const OUTSIDE_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// What may follow a name in an address: segments, each a word or `{anything}`. The longest come first.
#[derive(Debug, Clone)]
pub(in super::super) struct Tails(Vec<Vec<String>>);

impl Tails {
    /// Those of the routes on one prompt among these.
    pub(in super::super) fn of<'a>(routes: impl Iterator<Item = &'a String>) -> Self {
        let tail = |route: &'a String| {
            let tail = route.strip_prefix(BASE)?.strip_prefix(NAME)?.strip_prefix('/')?;
            Some(tail.split('/').map(str::to_owned).collect())
        };
        let mut tails: Vec<Vec<String>> = routes.filter_map(tail).collect();
        tails.sort_by_key(|tail| std::cmp::Reverse(tail.len()));
        Self(tails)
    }

    /// The address with the name as one segment; none where it is one already, or where no prompt is named.
    pub(in super::super) fn one_segment(&self, uri: &Uri) -> Option<Uri> {
        let segments: Vec<&str> = uri.path().strip_prefix(BASE)?.split('/').collect();
        let fits = |tail: &&Vec<String>| {
            let matched = segments.iter().rev().zip(tail.iter().rev());
            segments.len() > tail.len()
                && matched
                    .clone()
                    .all(|(segment, word)| word.starts_with('{') || segment == word)
        };
        let in_tail = self.0.iter().find(fits).map_or(0, Vec::len);
        let (name, tail) = segments.split_at(segments.len() - in_tail);
        if name.len() < 2 {
            return None;
        }
        let mut path = format!("{BASE}{}", name.join("%2F"));
        for segment in tail {
            path.push('/');
            path.push_str(segment);
        }
        if let Some(query) = uri.query() {
            path.push('?');
            path.push_str(query);
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The address of a prompt, its name as one segment.
pub(super) fn address(name: &PromptName) -> String {
    format!("{BASE}{}", utf8_percent_encode(name.as_str(), OUTSIDE_SEGMENT))
}

/// The prompt with this name.
pub(in super::super) fn existing(view: &View, name: &str) -> Result<Arc<Prompt>, Problem> {
    let known = PromptName::new(name).ok();
    let found = known.and_then(|known| view.catalog.prompts.get(&known));
    found.cloned().ok_or_else(|| {
        let name: String = name.chars().take(LONGEST_ECHO).collect();
        let detail = format!("prompt `{name}` does not exist");
        Problem::new(StatusCode::NOT_FOUND, "PROMPT_NOT_FOUND", detail)
    })
}

/// Takes apart a change of a prompt that is there: its name, what comes along with the change, and the body.
pub(super) async fn asked_of_prompt(
    shared: &Shared,
    name: Segment,
    request: Request,
) -> Result<(PromptName, Change, Option<Map<String, Value>>), Problem> {
    let name = existing(&shared.state.plane.view(), &segment(name)?)?
        .name
        .clone();
    let (change, body) = Change::read(request).await?;
    change.is_based_on_nothing()?;
    Ok((name, change, body))
}

/// A name and a version in an address, percent-decoded.
pub(super) type VersionAddress = Result<Path<(String, String)>, PathRejection>;

/// The prompt and the version in an address. What can be no version names none.
pub(super) fn existing_version(
    view: &View,
    address: VersionAddress,
) -> Result<(Arc<Prompt>, Arc<PromptVersion>), Problem> {
    let Path((name, version)) = address.map_err(unreadable_address)?;
    let prompt = existing(view, &name)?;
    let reference: VersionRef = version.parse().map_err(|_| {
        let version: String = version.chars().take(LONGEST_ECHO).collect();
        let detail = format!("`{version}` is neither a semver such as 1.1.0 nor a version number such as 2");
        Problem::new(StatusCode::NOT_FOUND, "VERSION_NOT_FOUND", detail)
    })?;
    let version = find_version(&view.catalog, &prompt.name, &reference);
    Ok((prompt, version.map_err(SubmitError::from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_becomes_one_segment() {
        let routes = [
            "/api/v1/prompts/{name}",
            "/api/v1/prompts/{name}/performance",
            "/api/v1/prompts/{name}/versions/{version}/reviews",
            "/api/v1/experiments/{id}/results",
        ];
        let routes: Vec<String> = routes.map(str::to_owned).into();
        let tails = Tails::of(routes.iter());
        let moved = |text: &str| {
            tails
                .one_segment(&text.parse().unwrap())
                .map(|uri| uri.to_string())
        };
        for (written, expected) in [
            ("/api/v1/prompts/a", None),
            ("/api/v1/prompts/a/performance", None),
            ("/api/v1/prompts/performance", None),
            ("/api/v1/prompts/a%2Fb/performance", None),
            ("/api/v1/prompts/a/versions/2/reviews", None),
            ("/api/v1/prompts/a/b", Some("/api/v1/prompts/a%2Fb")),
            (
                "/api/v1/prompts/a/b%20c/performance?window=1h",
                Some("/api/v1/prompts/a%2Fb%20c/performance?window=1h"),
            ),
            (
                "/api/v1/prompts/a/b/versions/1.0.0/reviews",
                Some("/api/v1/prompts/a%2Fb/versions/1.0.0/reviews"),
            ),
            (
                "/api/v1/prompts/a%2Fb/x/performance",
                Some("/api/v1/prompts/a%2Fb%2Fx/performance"),
            ),
            (
                "http://h/api/v1/prompts/a/b/performance",
                Some("http://h/api/v1/prompts/a%2Fb/performance"),
            ),
            ("/api/v1/experiments/a/results", None),
        ] {
            assert_eq!(moved(written).as_deref(), expected, "{written}");
        }
    }
}
