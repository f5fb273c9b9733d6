//! What every request goes through: no web page gets in by way of a browser, nothing is cached, nothing takes for
//! ever.
//!
//! While there are no tokens, the loopback address is all that protects this listener, and a browser on the same
//! machine can reach it. A page whose name suddenly resolves to 127.0.0.1 is told by its `Host`; a page that posts
//! across origins is told by its `Origin`, which every browser sends along then. With tokens neither can do anything:
//! no browser sends a token along by itself, and the listener may have any name.

use super::access::Access;
use crate::api::problem::Problem;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN},
    http::uri::Authority,
};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// The longest time a request may take, its body included.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.is_open()
        && let Err(problem) = admitted(&request)
    {
        return problem.into_response().map(axum::body::Body::new);
    }
    let answered = tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        let detail = "the answer took too long; a change that was asked for may still happen";
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "TOOK_TOO_LONG", detail);
        problem.into_response().map(axum::body::Body::new)
    });
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admitted(request: &Request) -> Result<(), Problem> {
    let forbidden = |code, detail| Err(Problem::new(StatusCode::FORBIDDEN, code, detail));
    // Both are looked at: a proxy may fill in either, and a browser has no say in the first.
    let in_address = request.uri().authority();
    let host = only(request.headers(), &HOST);
    let host_is_fine = match host {
        Header::Absent => true,
        Header::Unreadable => false,
        Header::Is(host) => host.parse().is_ok_and(|host: Authority| is_loopback(host.host())),
    };
    if !host_is_fine || in_address.is_some_and(|authority| !is_loopback(authority.host())) {
        return forbidden(
            "BAD_HOST",
            "only requests to localhost or a loopback address are answered, while there are no tokens",
        );
    }
    let origin_is_fine = match only(request.headers(), &ORIGIN) {
        Header::Absent => true,
        Header::Unreadable => false,
        Header::Is(origin) => match host {
            Header::Is(host) => origin.strip_prefix("http://") == Some(host),
            _ => false,
        },
    };
    if !origin_is_fine && !request.method().is_safe() {
        return forbidden("BAD_ORIGIN", "a page of another origin may not change anything");
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Header<'a> {
    Absent,
    /// More than one, or not text.
    Unreadable,
    Is(&'a str),
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Header<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Header::Absent,
        (Some(value), None) => value.to_str().map_or(Header::Unreadable, Header::Is),
        (Some(_), Some(_)) => Header::Unreadable,
    }
}

/// Names that no resolver can be made to answer with somebody else's page.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&str, &str)], method: &str) -> Option<&'static str> {
        let mut request = Request::builder().method(method).uri("/api/v1/experiments");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        admitted(&request).err().map(|problem| problem.code)
    }

    #[test]
    fn only_loopback_hosts_are_answered() {
        for host in [
            "localhost:8788",
            "LOCALHOST",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8788",
            "localhost.",
        ] {
            assert_eq!(refused(&[("host", host)], "GET"), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8788",
            "[::2]",
            "user@localhost:1@evil",
            "",
        ] {
            assert_eq!(refused(&[("host", host)], "GET"), Some("BAD_HOST"), "{host}");
        }
        assert_eq!(refused(&[], "GET"), None);
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(refused(&twice, "GET"), Some("BAD_HOST"));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let host = ("host", "localhost:8788");
        let from = |origin| [host, ("origin", origin)];
        assert_eq!(refused(&from("http://localhost:8788"), "POST"), None);
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "null",
            "https://localhost:8788",
        ] {
            assert_eq!(refused(&from(origin), "POST"), Some("BAD_ORIGIN"), "{origin}");
            assert_eq!(refused(&from(origin), "GET"), None, "{origin}");
        }
    }
}
