//! `Idempotency-Key` on requests that create: a repeated one has the result of the first.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION};

use super::caller::RequestContext;
use super::extract::with_type;
use super::precondition;
use super::problem::Problem;
use crate::error::Code;
use crate::server::idempotency::{Earlier, StoredResult};
use crate::server::shared::ServerShared;

/// Name of the header field.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest key.
const MAX_KEY: usize = 255;

/// Creates by `work`, unless this request was carried out before.
pub(super) async fn once(
    shared: &Arc<ServerShared>,
    context: &RequestContext,
    headers: &HeaderMap,
    endpoint: &str,
    body: &[u8],
    work: impl Future<Output = Result<StoredResult, Problem>>,
) -> Result<Response, Problem> {
    let Some(key) = key_of(headers)? else { return Ok(created(work.await?)) };
    let caller = context.caller.name().unwrap_or_default();
    match shared.idempotency.begin((&caller, endpoint, &key), body, shared.clock.monotonic()) {
        Earlier::None(ticket) => {
            let result = work.await?;
            ticket.finish(result.clone());
            Ok(created(result))
        }
        Earlier::Done(result) => Ok(created(result)),
        Earlier::InFlight => Err(Problem::new(
            StatusCode::CONFLICT,
            Code::refused("server.idempotency_in_flight"),
            "a request with this Idempotency-Key is in flight",
        )),
        Earlier::Different => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Code::refused("server.idempotency_reused"),
            "an earlier request with this Idempotency-Key had another body",
        )),
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=MAX_KEY).contains(&text.len()) && keys.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        let code = Code::usage("server.idempotency_key");
        let detail = format!("Idempotency-Key: one value of 1 to {MAX_KEY} visible characters was expected");
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    })
}

fn created(result: StoredResult) -> Response {
    let StoredResult { body, location, etag } = result;
    let mut response = with_type(StatusCode::CREATED, "application/json", body);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(ETAG, precondition::header(&etag));
    response
}
