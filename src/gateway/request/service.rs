//! Service of one request, from its head to the head of its response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use crate::gateway::message::field_lines::push_field;
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::framing::{self, RequestHost};
use crate::gateway::message::headers::ConnectionFields;
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::message::interim::Interim;
use crate::gateway::message::path::RequestPath;
use crate::gateway::message::request_body::RequestBody;
use crate::gateway::message::{headers, traceparent, upgrade};
use crate::gateway::policy;
use crate::gateway::policy::{Decision, Denial, DenyReason, Grant, Methods};
use crate::gateway::request::authorization::Authorization;
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::RequestProblem;
use crate::gateway::request::problem_response::{own_response, problem_response};
use crate::gateway::request::response_body::ResponseBody;
use crate::gateway::request::tunnel::TunnelEnds;
use crate::gateway::request::{challenge, token_check, tunnel, well_known};
use crate::gateway::sessions::command::Command;
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Shared;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::tokens::TokenHolder;
use crate::gateway::upstream::assertion::{
    AssertedCaller, AssertedRequest, AssertionError, X_CLUSTER_ASSERTION,
};
use crate::gateway::upstream::body::UpstreamBody;
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::pool::{UpstreamPool, UpstreamResponse};
use crate::gateway::upstream::request_writer::{RequestFraming, UpstreamRequest};
use crate::serving::request_id::RequestId;

/// Request ID, set by the gateway alone, upstream and in the response.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Capacity for the head of most requests to an upstream.
const HEAD_CAPACITY: usize = 2 << 10;

/// Answer `request`. Every request gets exactly one response and one line in the access log.
pub async fn respond(
    connection: &Arc<ConnectionContext>,
    mut request: Request<Incoming>,
) -> Response<Box<ResponseBody>> {
    let id = connection.worker.request_ids.next();
    let telemetry = &connection.worker.gateway.telemetry;
    let method = request.method().clone();
    let upgrades = request.headers().contains_key(UPGRADE);
    let mut record = RequestRecord::begin(telemetry, &connection.session, id, &method, request.uri());
    let downstream = (upgrades && upgrade::is_requested(&request)).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let version = head.version;
    let Shared { limits, clock, state, .. } = &*connection.worker.gateway;
    let (clock, rules) = (Arc::clone(clock), Arc::clone(&state.load().settings.forwarding));
    let mut body = RequestBody::new(body, &head, limits.request_body, clock, record.started(), rules);
    let upload = body.upload();
    let mut response = match answer(connection, &head, downstream, &mut body, &mut record).await {
        Ok(Answer::Own(text)) => {
            record.answered(StatusCode::OK);
            own_response(StatusCode::OK, "application/json", text, &method, record)
        }
        Ok(Answer::Tunnel { headers, ends, authorization }) => {
            record.answered(StatusCode::SWITCHING_PROTOCOLS);
            let idle_timeout = connection.worker.gateway.limits.tunnel_timeout;
            tokio::spawn(tunnel::run(ends, idle_timeout, authorization, record));
            response_of(StatusCode::SWITCHING_PROTOCOLS, headers, ResponseBody::none())
        }
        Ok(Answer::Upstream { status, headers, body, authorization }) => {
            record.answered(status);
            response_of(status, headers, ResponseBody::upstream(body, authorization, record))
        }
        Err(problem) => {
            if !upload.is_finished() {
                Box::pin(body.finish_if_short()).await;
            }
            drop(body);
            let mut response = problem_response(&problem, &method, record);
            if connection.worker.gateway.state.load().tokens.is_some() {
                challenge::offer_token(&mut response);
            }
            response
        }
    };
    if version < Version::HTTP_2 {
        let mut close = connection.session.command() != Command::Serve;
        if !upload.is_finished() {
            // The rest of the body may stay unread, and is no request (RFC 9110, section 10.1.1).
            connection.session.mark_unread_request();
            close = true;
        }
        if close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    if upgrades && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The client may already have sent bytes of the other protocol, which are no request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.headers_mut().insert(X_REQUEST_ID, id.to_header());
    response
}

/// Successful result of a request.
enum Answer {
    /// Resource of the gateway.
    Own(Bytes),
    /// 101 of the upstream, with both connections.
    Tunnel { headers: HeaderMap, ends: TunnelEnds, authorization: Authorization },
    /// Response of the upstream, with the connection its body arrives on.
    Upstream { status: StatusCode, headers: HeaderMap, body: UpstreamBody, authorization: Authorization },
}

fn response_of(
    status: StatusCode,
    headers: HeaderMap,
    body: Box<ResponseBody>,
) -> Response<Box<ResponseBody>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn answer(
    connection: &Arc<ConnectionContext>,
    head: &request::Parts,
    downstream: Option<OnUpgrade>,
    body: &mut RequestBody,
    record: &mut RequestRecord,
) -> Result<Answer, RequestProblem> {
    if let Command::Cut(reason) = connection.session.command() {
        return Err(RequestProblem::Cut(reason));
    }
    let host = framing::check(head, connection.hosts.known())?;
    record.addressed_to(&host);
    let path = addressed_path(head, &host, &connection.hosts)?;
    let user = token_check::user(connection, &head.headers, record)?;
    if policy::is_reserved(path.path()) {
        let answer = well_known::answer(connection, &head.method, path.path(), body.take(), record);
        // Boxed as it is rare, so that it takes no room in the future of each request.
        let text = Box::pin(answer).await;
        return text.map(Answer::Own);
    }
    let undefined = !Methods::define_content(&head.method) && !body.is_end_stream();
    // On HTTP/2 only the next frame shows whether the request has content.
    let undecided = undefined && head.version == Version::HTTP_2 && body.size_hint().lower() == 0;
    let Permitted { upstream, grant, mut authorization } =
        decide(connection, head, path, user, undefined && !undecided, record)?;
    if undecided && !grant.content() {
        Box::pin(refuse_content(body, &grant, &authorization, record)).await?;
    }
    let downstream = downstream.filter(|_| grant.websocket());
    authorization.tunnel = downstream.is_some();
    let limits = &connection.worker.gateway.limits;
    if body.size_hint().lower() > limits.request_body {
        return Err(RequestProblem::BodyTooLarge { at_most: limits.request_body });
    }
    if body.rules().via.as_ref().is_some_and(|via| via.is_loop(&head.headers)) {
        return Err(RequestProblem::Loop);
    }
    let in_flight = connection
        .session
        .begin_request(limits.requests_per_identity)
        .ok_or(RequestProblem::TooManyRequests)?;
    let version = head.version;
    let upload = body.upload();
    record.forwarded(&upstream.name, Arc::clone(&upload), in_flight);
    let assertion = assertion(&authorization, head, &host, &upstream.name, record)?;
    let sent = SentRequest {
        session: &connection.session,
        head,
        host: &host,
        authorization: &authorization,
        forwards_token: grant.token(),
        id: record.id(),
        assertion,
        upgrade: downstream.is_some(),
    };
    let request = sent.with_body(body.take());
    let pass = |interim: Interim| match interim.status {
        StatusCode::CONTINUE => upload.go_on(),
        // HTTP/1.0 has no interim responses (RFC 9110, section 15.2), and hyper has no way to send one on HTTP/2.
        _ if version != Version::HTTP_11 => {}
        _ => {
            let message =
                interim.to_client(connection.worker.gateway.options.http1_title_case, upload.reserved());
            connection.session.queue_interim(&message);
        }
    };
    let at_most = limits.connections_per_upstream;
    let response = tokio::select! {
        biased;
        sent = upstream.send(connection.worker.index, at_most, grant, request, &pass) => sent?,
        problem = authorization.until_denied() => return Err(problem),
    };
    let ForwardingRules { reserved, via } = upload.rules();
    let append_via = |headers: &mut HeaderMap| {
        if let Some(via) = via {
            via.append_to(headers, Version::HTTP_11);
        }
    };
    match (response, downstream) {
        (UpstreamResponse::Final { status, mut headers, body }, _) => {
            append_via(&mut headers);
            Ok(Answer::Upstream { status, headers, body, authorization })
        }
        (UpstreamResponse::Upgraded { mut headers, stream }, Some(downstream)) => {
            headers::to_downstream(&mut headers, reserved);
            append_via(&mut headers);
            upgrade::set_headers(&mut headers);
            let ends = TunnelEnds { downstream, upstream: stream };
            Ok(Answer::Tunnel { headers, ends, authorization })
        }
        // Only a request for an upgrade is answered by one.
        (UpstreamResponse::Upgraded { .. }, None) => Err(RequestProblem::Internal),
    }
}

/// Path of a request for `host`, which must be one of `hosts`.
///
/// # Errors
/// [`RequestProblem`] if the path is ambiguous, or the host is not one of `hosts`.
pub fn addressed_path(
    head: &request::Parts,
    host: &RequestHost,
    hosts: &AllowedHosts,
) -> Result<RequestPath, RequestProblem> {
    if !hosts.contain(host) {
        let server_name = hosts.server_name().map(str::to_owned);
        return Err(RequestProblem::Misdirected { host: host.name().to_owned(), server_name });
    }
    Ok(RequestPath::from_uri(&head.uri)?)
}

/// Request that the policy permits.
struct Permitted {
    upstream: Arc<UpstreamPool>,
    grant: Grant,
    authorization: Authorization,
}

/// Decide by the policy in force now, which may be newer than the connection. `content` is set for content that the
/// method gives no meaning to.
fn decide(
    connection: &Arc<ConnectionContext>,
    head: &request::Parts,
    path: RequestPath,
    user: Option<Arc<TokenHolder>>,
    content: bool,
    record: &mut RequestRecord,
) -> Result<Permitted, RequestProblem> {
    let state = connection.worker.gateway.state.load();
    // The statement may have changed since the token was read, and no later change would tell.
    user.as_deref().map_or(Ok(()), |user| token_check::recheck(&state, user))?;
    let caller = token_check::subject(connection.session.peer.as_deref(), user.as_deref());
    let decision = state.settings.policy.decide(caller, &head.method, &path).for_content(content);
    if let Some(shadow) = &state.settings.shadow {
        let shadow = shadow.decide(caller, &head.method, &path).for_content(content);
        record.compared(decision.verdict(), shadow.verdict());
    }
    match decision {
        Decision::Permit(grant) => {
            record.permitted(grant.rule());
            let upstream =
                state.settings.upstreams.get(grant.upstream().0).ok_or(RequestProblem::NotFound)?;
            let authorization = Authorization {
                connection: Arc::clone(connection),
                method: head.method.clone(),
                path,
                user,
                tunnel: false,
                content,
                generation: state.generation,
            };
            Ok(Permitted { upstream: Arc::clone(upstream), grant, authorization })
        }
        Decision::Deny(denial) => {
            record.denied(denial);
            Err(RequestProblem::Denied(denial))
        }
    }
}

/// Refuse a request whose body turns out to have content, which `grant` does not permit.
async fn refuse_content(
    body: &mut RequestBody,
    grant: &Grant,
    authorization: &Authorization,
    record: &mut RequestRecord,
) -> Result<(), RequestProblem> {
    let at_most = authorization.connection.worker.gateway.limits.header_timeout;
    let is_empty = tokio::select! {
        biased;
        is_empty = timeout(at_most, body.wait_until_empty()) => is_empty,
        problem = authorization.until_denied() => return Err(problem),
    };
    match is_empty {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            let denial = Denial { reason: DenyReason::ContentNotAllowed, rule: Some(grant.rule()) };
            record.denied(denial);
            Err(RequestProblem::Denied(denial))
        }
        Ok(Err(_)) => Err(RequestProblem::BodyBroken),
        Err(_) => Err(ForwardError::UploadTimeout.into()),
    }
}

/// Parts of a request for the upstream: new framing, the path that was decided on, and verified identity headers.
struct SentRequest<'a> {
    session: &'a Session,
    head: &'a request::Parts,
    host: &'a RequestHost,
    authorization: &'a Authorization,
    /// True if the upstream gets the access token.
    forwards_token: bool,
    id: RequestId,
    assertion: Option<HeaderValue>,
    upgrade: bool,
}

impl SentRequest<'_> {
    fn with_body(&self, mut body: RequestBody) -> UpstreamRequest {
        let Self { session, head, host, authorization, forwards_token, id, assertion, upgrade } = self;
        let Authorization { path, user, .. } = authorization;
        let mut text = Vec::with_capacity(HEAD_CAPACITY);
        text.extend_from_slice(head.method.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(path.as_str().as_bytes());
        text.extend_from_slice(b" HTTP/1.1\r\n");
        let rules = body.rules();
        let make = || {
            let ForwardingRules { reserved, via } = &**rules;
            let caller = session.peer.as_ref().map(|peer| &peer.headers);
            let fields = ConnectionFields::new(caller, session.remote.ip());
            let mut made = headers::to_upstream(&head.headers, reserved, host, fields);
            if let Some(via) = via {
                via.append_to(&mut made, head.version);
            }
            if user.is_some() {
                // The token goes on only where the route says so.
                made.remove(AUTHORIZATION);
            }
            made
        };
        let known = &session.known_header;
        let traits = known.append_or_make(&mut text, &head.headers, head.version, host, rules, make);
        push_field(&mut text, &X_REQUEST_ID, id.as_str().as_bytes());
        if let Some(user) = user {
            user.fields().for_each(|(name, value)| push_field(&mut text, name, value.as_bytes()));
            if let Some(token) = head.headers.get(AUTHORIZATION).filter(|_| *forwards_token) {
                push_field(&mut text, &AUTHORIZATION, token.as_bytes());
            }
        }
        if traits.has_trace_parent {
            let trace = traceparent::of_request(&head.headers, traits.has_trace_state, *id);
            trace.iter().for_each(|(name, value)| push_field(&mut text, name, value.as_bytes()));
        }
        if body.await_upstream() {
            push_field(&mut text, &EXPECT, b"100-continue");
        }
        let is_empty = body.is_end_stream();
        let framing = match body.size_hint().exact() {
            _ if is_empty => RequestFraming::Empty,
            Some(length) => RequestFraming::Length(length),
            None => RequestFraming::Chunked(traits.announced_trailers),
        };
        match &framing {
            RequestFraming::Empty if traits.has_length => push_field(&mut text, &CONTENT_LENGTH, b"0"),
            RequestFraming::Empty => {}
            // A number of ours: some servers read leading zeros as octal.
            RequestFraming::Length(length) => {
                push_field(&mut text, &CONTENT_LENGTH, length.to_string().as_bytes());
            }
            RequestFraming::Chunked(_) => push_field(&mut text, &TRANSFER_ENCODING, b"chunked"),
        }
        if let Some(assertion) = assertion {
            push_field(&mut text, &X_CLUSTER_ASSERTION, assertion.as_bytes());
        }
        let is_content_ignored = !is_empty && !Methods::define_content(&head.method);
        if *upgrade {
            push_field(&mut text, &CONNECTION, b"upgrade");
            push_field(&mut text, &UPGRADE, b"websocket");
        } else if traits.accepts_trailers {
            push_field(&mut text, &CONNECTION, b"te");
        }
        if is_content_ignored {
            // An upstream that leaves the content unread must not take it for the next request (RFC 9112, section 9.6).
            push_field(&mut text, &CONNECTION, b"close");
        }
        text.extend_from_slice(b"\r\n");
        UpstreamRequest {
            head: text,
            framing,
            is_head: head.method == Method::HEAD,
            asks_upgrade: *upgrade,
            is_repeatable: is_empty && head.method.is_idempotent(),
            binds_connection: is_content_ignored || traits.binds_connection,
            body,
        }
    }
}

/// Signed assertion of the caller's identity, if the configuration has assertions. On failure, nothing is sent to the
/// upstream.
fn assertion(
    authorization: &Authorization,
    head: &request::Parts,
    host: &RequestHost,
    upstream: &str,
    record: &RequestRecord,
) -> Result<Option<HeaderValue>, AssertionError> {
    let Authorization { connection, path, user, .. } = authorization;
    let gateway = &connection.worker.gateway;
    let state = gateway.state.load();
    let Some(assertions) = &state.credentials.assertions else { return Ok(None) };
    let call = AssertedRequest { id: record.id(), method: &head.method, host, path, upstream };
    let caller = AssertedCaller { peer: connection.session.peer.as_deref(), user: user.as_deref() };
    // Without a certificate and a token there is no identity to assert.
    if caller.is_anonymous() {
        return Ok(None);
    }
    assertions.sign(&caller, &call, gateway.clock.now()).map(Some)
}
