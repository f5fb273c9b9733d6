//! The OpenAPI 3.1 document of this API, from the same table as its routes.
//!
//! Owns what holds for many calls at once: the least role of each, the answers to those who are not let in, the one
//! shape of an error, and the headers of every change.

use super::{Shared, access::Least, calls::calls};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hyper::header::CONTENT_TYPE;
use std::collections::BTreeMap;
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, InfoBuilder, KnownFormat, LicenseBuilder, ObjectBuilder,
    OpenApi, OpenApiBuilder, PathItem, Paths, Ref, RefOr, Required, ResponseBuilder, SchemaFormat,
    SecurityRequirement, Type,
    extensions::Extensions,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::Schema,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

/// The name of the one security scheme.
const SCHEME: &str = "token";
/// The name of the one shape of an error.
const PROBLEM: &str = "Problem";
/// The member of a call that says its least role.
const ROLE: &str = "x-required-role";
/// Calls that only look, although what they look with comes in a body.
const LOOKS: [&str; 1] = ["/api/v1/prompts/{name}/render"];
/// What the address of every call on an experiment that is there begins with.
const ONE_EXPERIMENT: &str = "/api/v1/experiments/{id}";

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::from([(PROBLEM.to_owned(), problem())]);
    for (least, (shapes, mut documented, _)) in calls() {
        schemas.extend(shapes);
        for (path, item) in &mut documented.paths {
            for (operation, changes) in operations(item) {
                let changes = changes && !LOOKS.contains(&path.as_str());
                complete(path, operation, least, changes);
            }
        }
        paths.merge(documented);
    }
    let mut components = Components::new();
    components.schemas = schemas;
    components.add_security_scheme(SCHEME, scheme());
    let info = InfoBuilder::new()
        .title("Serin control plane")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Prompts and experiments on them: versions and deployments, their life, their results and the log of every \
             change. Errors are RFC 9457 problems \
             with a stable `code`. While the settings have no tokens, no call needs one and the listener serves \
             loopback only.",
        ))
        .license(Some(
            LicenseBuilder::new()
                .name("Apache-2.0")
                .identifier(Some("Apache-2.0"))
                .build(),
        ))
        .build();
    let tags = [
        ("experiments", "What is tried, its life, and what came of it"),
        (
            "prompts",
            "Versions, the evidence for them, what each environment serves, and how they do",
        ),
        ("system", "The log, the keys, the process itself"),
    ];
    let tag = |(name, description)| {
        TagBuilder::new()
            .name(name)
            .description(Some(description))
            .build()
    };
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components))
        .tags(Some(tags.map(tag)))
        .build()
}

/// The document as text.
///
/// # Errors
/// When a part of it has no JSON form, which its tests rule out.
pub fn document_json() -> Result<String, serde_json::Error> {
    document().to_pretty_json()
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "system",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn read(State(shared): State<Shared>) -> Response {
    ([(CONTENT_TYPE, "application/json")], shared.document.clone()).into_response()
}

/// The operations at an address, and whether each by its method may change something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let changes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    let changes = changes.into_iter().flatten().map(|operation| (operation, true));
    item.get
        .iter_mut()
        .map(|operation| (operation, false))
        .chain(changes)
}

fn complete(path: &str, operation: &mut Operation, least: Least, changes: bool) {
    let role = |role: &str| SecurityRequirement::new(SCHEME, [role]);
    let (needs, security) = match least {
        Least::Nothing => (None, vec![SecurityRequirement::default()]),
        // Both ways are possible, as the settings say.
        Least::Scrape => (
            Some("viewer"),
            vec![SecurityRequirement::default(), role("viewer")],
        ),
        Least::Role(least) => (Some(least.as_str()), vec![role(least.as_str())]),
    };
    operation.security = Some(security);
    let extensions = [(ROLE, needs.unwrap_or("none"))];
    operation.extensions = Some(Extensions::from_iter(extensions));
    let words = match (least, needs) {
        (Least::Scrape, _) => {
            "Needs no token, or with `auth.open_metrics = false` the role `viewer`.".to_owned()
        }
        (_, Some(role)) => format!("Needs the role `{role}`."),
        (_, None) => "Needs no token.".to_owned(),
    };
    let described = operation.description.take().filter(|text| !text.is_empty());
    operation.description = Some(described.map_or(words.clone(), |text| format!("{text}\n\n{words}")));
    let responses = &mut operation.responses.responses;
    let mut add = |status: &str, description: &str| {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| refusal(description).into());
    };
    if needs.is_some() {
        add(
            "401",
            "No token, or one that is wrong or expired (`UNAUTHENTICATED`)",
        );
        add("403", "The token's role is too low (`FORBIDDEN`)");
    }
    add("default", "Anything else that was refused or failed");
    if changes {
        complete_change(path, operation);
    }
}

/// What every change takes and answers besides its own.
fn complete_change(path: &str, operation: &mut Operation) {
    let header = |name: &str, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build()
    };
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(
        header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters. The same request with the same key again changes nothing and answers \
             what it did the first time; another request with it is refused (`IDEMPOTENCY_KEY_REUSED`). Remembered for \
             24 hours.",
        )
        .into(),
    );
    if path.starts_with(ONE_EXPERIMENT) {
        parameters.push(
            header(
                "If-Match",
                "The `ETag` of the experiment that this is based on: refused when it changed since \
                 (`REVISION_CONFLICT`).",
            )
            .into(),
        );
    }
    let answers_one = path.contains("/experiments");
    let sent_back = |description: &str| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(description))
            .build()
    };
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with('2')
        {
            let replayed = sent_back("`true`: this had been done before under the same key");
            response
                .headers
                .insert("Idempotency-Replayed".to_owned(), replayed.into());
            if answers_one {
                let tag = sent_back("The experiment's revision, for a later `If-Match`");
                response.headers.insert("ETag".to_owned(), tag.into());
            }
        }
    }
}

fn refusal(description: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(PROBLEM)))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
}

fn problem() -> RefOr<Schema> {
    let text = |description: &str| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(description))
    };
    let status = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .description(Some("The HTTP status"));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "RFC 9457. Some codes have further members, such as `problems`, `state` and `allowed`.",
        ))
        .property("type", text("`urn:serin:problem:` and the code in lower case"))
        .property("title", text("The same for every occurrence"))
        .property("status", status)
        .property("detail", text("What happened this time"))
        .property("code", text("Stable, in upper snake case"))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("code")
        .into()
}

fn scheme() -> SecurityScheme {
    let http = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("serin_…")
        .description(Some(
            "Made by `serin token`. Roles: viewer < experimenter < operator < admin; each may do what those before it may.",
        ))
        .build();
    SecurityScheme::Http(http)
}

#[cfg(test)]
mod tests {
    use super::{super::calls::Call, *};

    #[test]
    fn no_two_shapes_share_a_name() {
        let mut known = BTreeMap::new();
        for (_, (shapes, _, _)) in calls() {
            for (name, shape) in shapes {
                let shape = serde_json::to_value(&shape).unwrap();
                let first = known.entry(name.clone()).or_insert_with(|| shape.clone());
                assert_eq!(*first, shape, "{name}");
            }
        }
    }

    #[test]
    fn every_call_is_in_the_document_once() {
        let mut made = Vec::new();
        let all: Vec<Call> = calls();
        for (_, (_, paths, _)) in &all {
            assert_eq!(paths.paths.len(), 1, "one address each");
            made.extend(paths.paths.keys().cloned());
        }
        let mut document = document();
        let operations: usize = document
            .paths
            .paths
            .values_mut()
            .map(|item| operations(item).count())
            .sum();
        assert_eq!(operations, made.len());
        assert!(made.iter().all(|path| document.paths.paths.contains_key(path)));
    }
}
