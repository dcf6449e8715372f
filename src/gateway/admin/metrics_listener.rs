//! Metrics listener of the gateway. Upstreams fetch the JWK Set of assertions here, without a certificate.

use std::sync::Arc;

use http::StatusCode;

use crate::gateway::control::published_keys;
use crate::gateway::control::reload::Control;
use crate::gateway::shared::Phase;
use crate::gateway::telemetry::metrics::Metrics;
use crate::serving::metrics_listener::{METRICS, PlainResponse, TEXT, response, serve};

/// Serve the metrics listener until the gateway stops.
pub async fn run(control: Arc<Control>, listener: std::net::TcpListener) {
    let mut phase = control.shared.phase.subscribe();
    tokio::select! {
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
        Err(error) = serve(listener, move |path| answer(&control, path)) => {
            tracing::error!(%error, "metrics cannot be served");
        }
    }
}

fn answer(control: &Control, path: &str) -> PlainResponse {
    match path {
        "/healthz" => match *control.shared.phase.borrow() {
            Phase::Serving => response(StatusCode::OK, TEXT, "serving\n"),
            _ => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        },
        "/metrics" => response(StatusCode::OK, METRICS, Metrics::scrape(control)),
        published_keys::JWKS => match published_keys::jwks(&control.shared) {
            Some(Ok(keys)) => response(StatusCode::OK, "application/json", keys),
            Some(Err(error)) => {
                tracing::error!(%error, "JWK Set cannot be serialized");
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the JWK Set cannot be serialized\n")
            }
            None => response(StatusCode::NOT_FOUND, TEXT, "assertions are not configured\n"),
        },
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "not found: /metrics, /healthz and, with assertions, /.well-known/cluster/jwks are served\n",
        ),
    }
}
