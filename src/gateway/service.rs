//! One request, from its head to the head of its response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Version, request};
use hyper::body::{Body, Incoming};

use super::body::{RequestBody, ResponseBody};
use super::connection::Connection;
use super::forward::{Lease, Upstream};
use super::path::RequestPath;
use super::policy::{self, Decision, Terms};
use super::problem::{Problem, own_response};
use super::registry::Order;
use super::telemetry::RequestRecord;
use super::{framing, headers, own};

/// The number of the request: ours alone, upstream and in the response.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers `request`; every request gets exactly one response and one line in the log.
pub async fn respond(connection: &Connection, request: Request<Incoming>) -> Response<ResponseBody> {
    let id = connection.worker.request_ids.next();
    let telemetry = &connection.worker.gateway.telemetry;
    let method = request.method().clone();
    let mut record = RequestRecord::begin(telemetry, &connection.session, id, &method, request.uri());
    let mut response = match answer(connection, request, &mut record).await {
        Ok(Answer::Own(text)) => {
            record.answered(StatusCode::OK);
            own_response(StatusCode::OK, "application/json", text, &method, record)
        }
        Ok(Answer::Upstream(response, lease)) => {
            record.answered(response.status());
            response.map(|body| ResponseBody::upstream(body, lease, record))
        }
        Err(problem) => problem.into_response(&method, record),
    };
    response.headers_mut().insert(X_REQUEST_ID, id.to_header());
    response
}

/// What a request is answered with when nothing is wrong.
enum Answer {
    /// One of the gateway's own resources.
    Own(Bytes),
    /// The response of the service behind, and the connection that its body comes on.
    Upstream(Response<Incoming>, Lease),
}

async fn answer(
    connection: &Connection,
    request: Request<Incoming>,
    record: &mut RequestRecord,
) -> Result<Answer, Problem> {
    if let Order::Cut(reason) = connection.session.order() {
        return Err(Problem::Cut { reason: reason.code() });
    }
    let (head, body) = request.into_parts();
    let host = framing::check(&head)?;
    if connection.required_host.as_ref().is_some_and(|required| !host.agrees_with(required)) {
        return Err(Problem::Misdirected);
    }
    let path = RequestPath::from_uri(&head.uri)?;
    if policy::is_reserved(path.path()) {
        return own::resource(&connection.session, &head.method, path.path()).map(Answer::Own);
    }
    let (upstream, terms) = decide(connection, &head, &path, record)?;
    let at_most = connection.worker.gateway.limits.request_body;
    if body.size_hint().lower() > at_most {
        return Err(Problem::BodyTooLarge { at_most });
    }
    let body = RequestBody::new(body, at_most);
    record.forwarded(&upstream.name, body.upload());
    let request = to_upstream(connection, head, &host, &path, body, record);
    let (mut response, lease) = upstream.send(connection.worker.index, terms, request).await?;
    headers::to_downstream(response.headers_mut());
    Ok(Answer::Upstream(response, lease))
}

/// Asks the policy in force now, not the one of the connection's beginning.
fn decide(
    connection: &Connection,
    head: &request::Parts,
    path: &RequestPath,
    record: &mut RequestRecord,
) -> Result<(Arc<Upstream>, Terms), Problem> {
    let state = connection.worker.gateway.state.load();
    let caller = connection.session.peer.as_ref().map(|peer| &peer.identity);
    let decision = state.policy.decide(caller, &head.method, path);
    if let Some(shadow) = &state.shadow {
        record.compared(decision.verdict(), shadow.decide(caller, &head.method, path).verdict());
    }
    match decision {
        Decision::Permit(terms) => {
            record.permitted(terms.rule());
            let upstream = state.upstreams.get(terms.upstream().0).ok_or(Problem::NotFound)?;
            Ok((Arc::clone(upstream), terms))
        }
        Decision::Deny(denial) => {
            record.denied(denial);
            Err(Problem::Denied(denial))
        }
    }
}

/// The request as it is sent upstream: framed anew, the path as it was judged, the caller as we know it.
fn to_upstream(
    connection: &Connection,
    mut head: request::Parts,
    host: &framing::Host,
    path: &RequestPath,
    body: RequestBody,
    record: &RequestRecord,
) -> Request<RequestBody> {
    let session = &connection.session;
    let caller = session.peer.as_ref().map(|peer| &peer.headers);
    headers::to_upstream(&mut head.headers, host, caller, &session.address);
    head.headers.insert(X_REQUEST_ID, record.id().to_header());
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said in words, since hyper takes a GET without a length for one without a body.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = path.to_path_and_query().into();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers;
    request
}
