//! The router behind the server shell, whose time limits fire and whose drain is orderly.

use super::guard::REQUEST_LIMIT;
use crate::api::{
    problem::Problem,
    server::{self, Body, DrainReport, Handler, Limits, ServerStats},
};
use axum::{
    Router,
    handler::Handler as _,
    routing::{MethodRouter, any_service},
};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// People, CI and a scraper or two.
const MAX_CONNECTIONS: usize = 512;
/// Reports in flight may finish.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the API until `shutdown` completes, then lets requests in flight finish.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> DrainReport {
    let limits = Limits {
        max_connections: MAX_CONNECTIONS,
        // The router answers before the shell has to cut.
        request_timeout: REQUEST_LIMIT + Duration::from_secs(1),
        drain_timeout: DRAIN,
        ..Limits::default()
    };
    let routes = Routes(any_service(router));
    server::serve(
        listener,
        routes,
        limits,
        shutdown,
        Arc::new(ServerStats::default()),
    )
    .await
}

#[derive(Clone)]
struct Routes(MethodRouter);

impl Handler for Routes {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(axum::body::Body::new);
        let (head, body) = self.0.clone().call(request, ()).await.into_parts();
        match body.collect().await {
            Ok(body) => Response::from_parts(head, Body::new(body.to_bytes())),
            // Bodies here are whole when they are made, so none can break off.
            Err(error) => {
                tracing::error!(%error, "an answer of the control plane broke off");
                let detail = "an internal error, which has been logged";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail).into_response()
            }
        }
    }
}
