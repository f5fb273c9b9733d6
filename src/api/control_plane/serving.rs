//! The router behind the server shell, whose time limits fire and whose drain is orderly.

use super::{events::Streams, guard::REQUEST_LIMIT};
use crate::api::server::{self, DrainReport, Handler, Limits, ServerStats};
use axum::{
    Extension, Router,
    body::Body,
    handler::Handler as _,
    routing::{MethodRouter, any_service},
};
use hyper::{Request, Response, body::Incoming};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};

/// People, CI and a scraper or two.
const MAX_CONNECTIONS: usize = 512;
/// Reports in flight may finish.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the API until `shutdown` completes, then lets requests in flight finish and ends event streams.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> DrainReport {
    let limits = Limits {
        max_connections: MAX_CONNECTIONS,
        // The router answers before the shell has to cut.
        request_timeout: REQUEST_LIMIT + Duration::from_secs(1),
        drain_timeout: DRAIN,
        ..Limits::default()
    };
    let (drain, draining) = watch::channel(false);
    // Streams know of the drain before the shell looks at their connections, so each ends with its last piece.
    let shutdown = async move {
        shutdown.await;
        drain.send_replace(true);
    };
    let routes = Routes(any_service(router.layer(Extension(Streams::new(draining)))));
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
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(Body::new);
        self.0.clone().call(request, ()).await
    }
}
