//! Parts of a request as typed values; a value that is not understood is a problem, never passed over.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;
use crate::ca::Target;
use crate::error::Code;

/// Most bytes of a body that are discarded.
const DRAIN_BYTES: usize = 64 << 10;

/// Longest time in which a body is discarded.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Read the query of a URI.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::<T>::try_from_uri(uri).map(|Query(query)| query).map_err(|error| {
        let text = error.body_text();
        let cause = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match cause.split_once("unknown field ") {
            Some((_, unknown)) => bad_query(&format!("unknown parameter {unknown}")),
            None => bad_query(&format!("the query is not understood: {cause}")),
        }
    })
}

/// Parse a value of the query.
pub(super) fn parsed<T, E: std::fmt::Display>(
    key: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Problem> {
    text.map(parse).transpose().map_err(|error| bad_query(&format!("{key}: {error}")))
}

/// A query that is not understood.
pub(super) fn bad_query(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::usage("server.query"), detail)
}

/// A body that is not understood.
pub(super) fn bad_body(detail: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::usage("server.body"), detail.to_string())
}

/// Read a body of at most `limit` bytes.
pub(super) async fn body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let is_json = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    let mut body = body;
    if !is_json {
        drain(body).await;
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::usage("server.content_type"),
            "the body must be application/json",
        ));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            drain(body).await;
            Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::refused("server.body_too_large"),
                format!("the body has more than {limit} bytes"),
            ))
        }
        Err(_) => Err(bad_body("the body was not received")),
    }
}

/// Discard a body that no handler reads, within limits. Some clients take a response that comes before the end of their
/// body for a failure of the connection.
pub(super) async fn drain(body: Body) {
    let _ = timeout(DRAIN_TIMEOUT, Limited::new(body, DRAIN_BYTES).collect()).await;
}

/// Parse a body; an empty one counts as `{}`.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body }).map_err(bad_body)
}

/// Parse the serial number, or role and name, in a path.
pub(super) fn target(text: &str) -> Result<Target, Problem> {
    text.parse().map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, Code::usage("server.serial_number"), format!("{error}"))
    })
}

/// A value as JSON.
pub(super) fn respond(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(value).map_err(|error| {
        let code = Code::environment("server.json");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            format!("the result cannot be serialized: {error}"),
        )
    })?;
    Ok(with_type(status, "application/json", text))
}

/// A body with its media type.
pub(super) fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
