//! One request, from its head to the head of its response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode, Version, request};
use hyper::body::{Body, Incoming};

use crate::gateway::message::framing::{self, RequestHost};
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::message::path::RequestPath;
use crate::gateway::message::request_body::RequestBody;
use crate::gateway::message::{headers, traceparent, upgrade};
use crate::gateway::policy;
use crate::gateway::policy::{Decision, Grant};
use crate::gateway::request::authorization::Authorization;
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::Problem;
use crate::gateway::request::problem_response::{own_response, problem_response};
use crate::gateway::request::response_body::ResponseBody;
use crate::gateway::request::tunnel::Ends;
use crate::gateway::request::{tunnel, well_known};
use crate::gateway::sessions::command::Command;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::assertion::{AssertedRequest, AssertionError, X_CLUSTER_ASSERTION};
use crate::gateway::upstream::pool::{ConnectionLease, UpstreamPool, UpstreamResponse};

/// The number of the request: ours alone, upstream and in the response.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers `request`; every request gets exactly one response and one line in the log.
pub async fn respond(
    connection: &Arc<ConnectionContext>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let id = connection.worker.request_ids.next();
    let telemetry = &connection.worker.gateway.telemetry;
    let method = request.method().clone();
    let upgrades = request.headers().contains_key(UPGRADE);
    let mut record = RequestRecord::begin(telemetry, &connection.session, id, &method, request.uri());
    let mut response = match answer(connection, request, &mut record).await {
        Ok(Answer::Own(text)) => {
            record.answered(StatusCode::OK);
            own_response(StatusCode::OK, "application/json", text, &method, record)
        }
        Ok(Answer::Tunnel { response, ends, lease, exchange }) => {
            record.answered(response.status());
            let patience = connection.worker.gateway.limits.tunnel_timeout;
            tokio::spawn(tunnel::run(ends, patience, lease, exchange, record));
            response.map(|_| ResponseBody::none())
        }
        Ok(Answer::Upstream { response, lease, exchange }) => {
            record.answered(response.status());
            response.map(|body| ResponseBody::upstream(body, lease, exchange, record))
        }
        Err(problem) => problem_response(&problem, &method, record),
    };
    if upgrades && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What the caller has sent by now, taking its wish for granted, is no request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.headers_mut().insert(X_REQUEST_ID, id.to_header());
    response
}

/// What a request is answered with when nothing is wrong.
enum Answer {
    /// One of the gateway's own resources.
    Own(Bytes),
    /// The 101 of the service behind, and what becomes of the two connections.
    Tunnel { response: Response<Incoming>, ends: Ends, lease: ConnectionLease, exchange: Authorization },
    /// The response of the service behind, and the connection that its body comes on.
    Upstream { response: Response<Incoming>, lease: ConnectionLease, exchange: Authorization },
}

async fn answer(
    connection: &Arc<ConnectionContext>,
    mut request: Request<Incoming>,
    record: &mut RequestRecord,
) -> Result<Answer, Problem> {
    if let Command::Cut(reason) = connection.session.command() {
        return Err(Problem::Cut(reason));
    }
    let downstream = upgrade::is_requested(&request).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let at_most = connection.worker.gateway.limits.request_body;
    // Whatever becomes of the request, what comes of its body is read as far as its answer needs it.
    let body = RequestBody::new(
        body,
        head.version,
        at_most,
        Arc::clone(&connection.worker.gateway.clock),
        record.started(),
    );
    let (host, path) = target(&head, &connection.hosts)?;
    if policy::is_reserved(path.path()) {
        let text = well_known::answer(connection, &head.method, path.path(), body, record).await;
        return text.map(Answer::Own);
    }
    let Permitted { upstream, grant, mut exchange } = decide(connection, &head, &path, record)?;
    let downstream = downstream.filter(|_| grant.websocket());
    exchange.tunnel = downstream.is_some();
    if body.size_hint().lower() > at_most {
        return Err(Problem::BodyTooLarge { at_most });
    }
    let limits = &connection.worker.gateway.limits;
    let under_way =
        connection.session.begin_request(limits.requests_per_identity).ok_or(Problem::TooManyRequests)?;
    record.forwarded(&upstream.name, body.upload(), under_way);
    let mut request = to_upstream(connection, head, &host, &path, body, record);
    assert_caller(connection, &mut request, &host, &path, &upstream.name, record)?;
    if downstream.is_some() {
        upgrade::set_headers(request.headers_mut());
    }
    let UpstreamResponse { mut response, lease, upgrade: switched } = tokio::select! {
        biased;
        sent = upstream.send(connection.worker.index, limits.connections_per_upstream, grant, request) => sent?,
        problem = exchange.forbidden() => return Err(problem),
    };
    headers::to_downstream(response.headers_mut());
    match (downstream, switched) {
        (Some(downstream), Some(upstream)) => {
            upgrade::set_headers(response.headers_mut());
            Ok(Answer::Tunnel { response, ends: Ends { downstream, upstream }, lease, exchange })
        }
        _ => Ok(Answer::Upstream { response, lease, exchange }),
    }
}

/// For which host and path a request is, where each can be read in one way only and the host is one of
/// `hosts`.
///
/// # Errors
/// [`Problem`]: the framing or the path is ambiguous, or the host is another one.
pub fn target(head: &request::Parts, hosts: &AllowedHosts) -> Result<(RequestHost, RequestPath), Problem> {
    let host = framing::check(head)?;
    if !hosts.contain(&host) {
        return Err(Problem::Misdirected);
    }
    Ok((host, RequestPath::from_uri(&head.uri)?))
}

/// What the policy makes of a request that it permits.
struct Permitted {
    upstream: Arc<UpstreamPool>,
    grant: Grant,
    exchange: Authorization,
}

/// Asks the policy in force now, not the one of the connection's beginning.
fn decide(
    connection: &Arc<ConnectionContext>,
    head: &request::Parts,
    path: &RequestPath,
    record: &mut RequestRecord,
) -> Result<Permitted, Problem> {
    let state = connection.worker.gateway.state.load();
    let caller = connection.session.peer.as_ref().map(|peer| &peer.identity);
    let decision = state.settings.policy.decide(caller, &head.method, path);
    if let Some(shadow) = &state.settings.shadow {
        record.compared(decision.verdict(), shadow.decide(caller, &head.method, path).verdict());
    }
    match decision {
        Decision::Permit(grant) => {
            record.permitted(grant.rule());
            let upstream = state.settings.upstreams.get(grant.upstream().0).ok_or(Problem::NotFound)?;
            let exchange = Authorization {
                connection: Arc::clone(connection),
                method: head.method.clone(),
                path: path.clone(),
                tunnel: false,
                generation: state.generation,
            };
            Ok(Permitted { upstream: Arc::clone(upstream), grant, exchange })
        }
        Decision::Deny(denial) => {
            record.denied(denial);
            Err(Problem::Denied(denial))
        }
    }
}

/// The request as it is sent upstream: framed anew, the path as it was judged, the caller as we know it.
fn to_upstream(
    connection: &ConnectionContext,
    mut head: request::Parts,
    host: &RequestHost,
    path: &RequestPath,
    body: RequestBody,
    record: &RequestRecord,
) -> Request<RequestBody> {
    let session = &connection.session;
    let caller = session.peer.as_ref().map(|peer| &peer.headers);
    headers::to_upstream(&mut head.headers, host, caller, &session.address);
    head.headers.insert(X_REQUEST_ID, record.id().to_header());
    traceparent::sanitize(&mut head.headers, record.id());
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

/// Signs who calls, where the service behind is to have it signed; without it, nothing is sent there.
fn assert_caller(
    connection: &ConnectionContext,
    request: &mut Request<RequestBody>,
    host: &RequestHost,
    path: &RequestPath,
    upstream: &str,
    record: &RequestRecord,
) -> Result<(), AssertionError> {
    let gateway = &connection.worker.gateway;
    let state = gateway.state.load();
    let Some(assertions) = &state.credentials.assertions else { return Ok(()) };
    let call = AssertedRequest { id: record.id(), method: request.method(), host, path, upstream };
    // Of a caller that nobody knows, nothing can be said.
    let Some(caller) = &connection.session.peer else { return Ok(()) };
    let assertion = assertions.sign(caller, &call, gateway.clock.now())?;
    request.headers_mut().insert(X_CLUSTER_ASSERTION, assertion);
    Ok(())
}
