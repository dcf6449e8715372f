//! `Idempotency-Key` on requests that create: a repeated one has the result of the first, also after a restart.
//!
//! A request is looked for, carried out and recorded under the lock of the home. So a repeated one waits for the first,
//! and one that was begun and has no result was lost with its process.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};

use super::caller::RequestContext;
use super::extract::with_type;
use super::precondition;
use super::problem::Problem;
use crate::ca::Authority;
use crate::error::Code;
use crate::profile::ProfileSet;
use crate::server::shared::ServerShared;
use crate::store::EarlierRequest;
use crate::x509::Sha256;

/// Name of the header field.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest key.
const MAX_KEY: usize = 255;

/// Result of a request that created something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredResult {
    pub(super) body: String,
    pub(super) location: String,
    pub(super) etag: String,
}

/// Creates by `work`, unless this request was carried out before.
pub(super) async fn once(
    shared: &Arc<ServerShared>,
    context: &RequestContext,
    headers: &HeaderMap,
    endpoint: &str,
    body: &[u8],
    work: impl FnOnce(&mut Authority, &ProfileSet) -> Result<StoredResult, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let key = key_of(headers)?;
    let caller = context.caller.name().unwrap_or_default();
    let request = key.map(|key| Sha256::of(format!("{caller}\0{endpoint}\0{key}").as_bytes()));
    let body = Sha256::of(body);
    let result = shared.home.change(context.actor(), move |authority, profiles| match request {
        Some(request) => first_or_stored(authority, profiles, &request, &body, work),
        None => work(authority, profiles),
    });
    Ok(created(result.await?))
}

fn first_or_stored(
    authority: &mut Authority,
    profiles: &ProfileSet,
    request: &Sha256,
    body: &Sha256,
    work: impl FnOnce(&mut Authority, &ProfileSet) -> Result<StoredResult, Problem>,
) -> Result<StoredResult, Problem> {
    match authority.begin_request(request, body)? {
        EarlierRequest::None => {
            let result = work(authority, profiles);
            let text = result.as_ref().ok().and_then(|result| serde_json::to_string(result).ok());
            authority.finish_request(request, text.as_deref())?;
            result
        }
        EarlierRequest::Done(text) => serde_json::from_str(&text).map_err(|_| lost()),
        EarlierRequest::Lost => Err(lost()),
        EarlierRequest::Different => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Code::refused("server.idempotency_reused"),
            "an earlier request with this Idempotency-Key had another body",
        )),
    }
}

fn lost() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        Code::refused("server.idempotency_lost"),
        "the server ended while it carried out a request with this Idempotency-Key: look for its result",
    )
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
