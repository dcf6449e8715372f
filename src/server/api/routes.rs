//! Routes of all endpoints, each behind the check of its roles.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::routing::get;
use http::{Method, StatusCode, Uri};

use super::access::guard;
use super::extract::{drain, with_type};
use super::openapi::describe;
use super::problem::Problem;
use super::table::ENDPOINTS;
use crate::error::Code;
use crate::server::shared::ServerShared;

/// Router of the whole API.
pub(in crate::server) fn router(shared: Arc<ServerShared>) -> Router {
    describe(ENDPOINTS);
    let mut router = Router::new().route(
        "/healthz",
        get(|| async { with_type(StatusCode::OK, "text/plain; charset=utf-8", "serving\n") }),
    );
    for endpoint in ENDPOINTS {
        let (access, reads_body) = (endpoint.access, endpoint.body.is_some());
        let guarded =
            (endpoint.route)().layer(from_fn(move |request, next| guard(access, reads_body, request, next)));
        router = router.route(endpoint.path, guarded);
    }
    router.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(shared)
}

async fn unknown(uri: Uri, body: Body) -> Problem {
    drain(body).await;
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, Code::refused("server.no_such_path"), format!("there is no {path}"))
}

async fn not_allowed(method: Method, body: Body) -> Problem {
    drain(body).await;
    let code = Code::refused("server.method_not_allowed");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, code, format!("{method} is not supported here"))
}
