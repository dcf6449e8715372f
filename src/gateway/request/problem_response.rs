//! Problems as responses (RFC 9457). The client gets a short fixed text; the causes go to the log.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use crate::error::{Coded, with_causes};
use crate::gateway::control::error::PushError;
use crate::gateway::message::json;
use crate::gateway::request::challenge;
use crate::gateway::request::problem::{RequestProblem, Side};
use crate::gateway::request::response_body::ResponseBody;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::error::ForwardError;
use crate::revocation::CrlError;
use crate::serving::request_id::RequestId;
use crate::x509::KeyIdentifier;
use crate::x509::crl::CrlNumber;

/// Body for a problem that cannot be serialized.
const FALLBACK_BODY: &[u8] = b"{\"code\":\"gateway.internal\"}\n";

/// Response with a body of the gateway. Caches must not store it.
pub fn own_response(
    status: StatusCode,
    content_type: &'static str,
    text: Bytes,
    method: &Method,
    record: Box<RequestRecord>,
) -> Response<Box<ResponseBody>> {
    let length = HeaderValue::from(text.len());
    // A response to HEAD has all headers, but no body.
    let text = if method == Method::HEAD { Bytes::new() } else { text };
    let mut response = Response::new(ResponseBody::own(text, record));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn log(problem: &RequestProblem, record: &RequestRecord) {
    tracing::warn!(request_id = record.id().as_str(), code = problem.code(), "{}", with_causes(problem));
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: RequestId,
    #[serde(flatten)]
    conflict: Option<Conflict<'a>>,
}

/// Issuer and CRL numbers of a refused push.
#[derive(Serialize)]
struct Conflict<'a> {
    issuer: &'a KeyIdentifier,
    current: CrlNumber,
    offered: CrlNumber,
}

/// CRL numbers of a refused push, for the operator's program.
fn conflict(problem: &RequestProblem) -> Option<Conflict<'_>> {
    match problem {
        RequestProblem::Push(PushError::Crl(CrlError::Rollback { issuer, current, offered })) => {
            Some(Conflict { issuer, current: *current, offered: *offered })
        }
        RequestProblem::Push(PushError::Crl(CrlError::NumberReused { issuer, number })) => {
            Some(Conflict { issuer, current: *number, offered: *number })
        }
        _ => None,
    }
}

/// Turn `problem` into a response, and record it. Problems of the gateway or the upstream are logged with
/// their causes.
#[must_use]
pub fn problem_response(
    problem: &RequestProblem,
    method: &Method,
    mut record: Box<RequestRecord>,
) -> Response<Box<ResponseBody>> {
    let status = problem.status();
    record.answered(status);
    record.fail(problem.code());
    if problem.side() != Side::Downstream {
        log(problem, &record);
    }
    let body = ProblemBody {
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: &problem.to_string(),
        code: problem.code(),
        request_id: record.id(),
        conflict: conflict(problem),
    };
    let has_user = record.user().is_some();
    // The status and the code are enough if the body cannot be serialized.
    let text = json::line(&body).unwrap_or(Bytes::from_static(FALLBACK_BODY));
    let mut response = own_response(status, "application/problem+json", text, method, record);
    if matches!(problem, RequestProblem::Framing(_)) {
        // The start of the next request is unknown.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if matches!(
        problem,
        RequestProblem::Push(PushError::Busy)
            | RequestProblem::Forward(ForwardError::Busy)
            | RequestProblem::TooManyRequests
    ) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    challenge::add(response.headers_mut(), problem, has_user);
    if let RequestProblem::MethodNotAllowed { allow } = problem {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}
