//! Resources of the gateway itself: identity of the caller, status, JWK Set, and pushes of CRLs and statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::clock::rfc3339;
use crate::gateway::control::change::StateChange;
use crate::gateway::control::error::PushError;
use crate::gateway::control::published_keys::jwks;
use crate::gateway::control::reload::Control;
use crate::gateway::control::status::{CrlStatus, StatementStatus, StatusSnapshot};
use crate::gateway::message::json;
use crate::gateway::message::request_body::{RequestBody, RequestBodyError};
use crate::gateway::policy::{Denial, DenyReason, RESERVED};
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::RequestProblem;
use crate::gateway::sessions::session::Session;
use crate::gateway::state::State;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::error::ForwardError;
use crate::identity::{Identity, Name, Role, TrustDomain};
use crate::mtls::Peer;
use crate::x509::{SerialNumber, Sha256};

/// Time to receive a pushed CRL.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Time that a push waits for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that the response to a push waits for the connections it closes.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Interval between checks of those connections.
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Answer a request for `path`, which is below [`RESERVED`], with JSON.
///
/// # Errors
/// [`RequestProblem`] if the caller has no certificate or is no operator, the resource does not exist or
/// does not support the method, or the CRL is refused.
pub async fn answer(
    connection: &Arc<ConnectionContext>,
    method: &Method,
    path: &str,
    body: RequestBody,
    record: &mut RequestRecord,
) -> Result<Bytes, RequestProblem> {
    let session = &connection.session;
    let gateway = &connection.worker.gateway;
    let caller = session.peer.as_ref().map(|peer| &peer.identity);
    let resource = Resource::requested(&gateway.state.load(), caller, method, path);
    if let Err(RequestProblem::Denied(denial)) = &resource {
        record.denied(*denial);
    }
    match (resource?, &session.peer) {
        (Resource::Crl, _) => {
            let result = push(connection, body, Control::push).await?;
            json::pretty(&result).map_err(serialization_failed)
        }
        (Resource::Tokens, _) => {
            push(connection, body, Control::push_statement).await?;
            json::pretty(&StatementResult::of(&gateway.state.load())).map_err(serialization_failed)
        }
        (Resource::Jwks, _) => jwks(gateway).ok_or(RequestProblem::NotFound)?.map_err(serialization_failed),
        (Resource::Status, _) => {
            json::pretty(&StatusSnapshot::of(&connection.worker.control)).map_err(serialization_failed)
        }
        (Resource::WhoAmI, Some(peer)) => {
            json::pretty(&WhoAmI::of(session, peer)).map_err(serialization_failed)
        }
        (Resource::WhoAmI, None) => Err(RequestProblem::Denied(Denial::NO_CERTIFICATE)),
    }
}

/// Resource of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// CRL push, for operators.
    Crl,
    /// JWK Set of the keys that verify assertions.
    Jwks,
    /// Status report, for operators.
    Status,
    /// Push of a statement about tokens, for operators.
    Tokens,
    /// Identity of the caller.
    WhoAmI,
}

impl Resource {
    /// Resource at `path`, which is below [`RESERVED`], if `caller` may use it under `state`.
    ///
    /// # Errors
    /// [`RequestProblem`] if the caller has no certificate or is no operator, or the resource does not exist
    /// or does not support the method.
    pub fn requested(
        state: &State,
        caller: Option<&Identity>,
        method: &Method,
        path: &str,
    ) -> Result<Self, RequestProblem> {
        let caller = caller.ok_or(RequestProblem::Denied(Denial::NO_CERTIFICATE))?;
        let (resource, allow) = match path.strip_prefix(RESERVED) {
            Some("/crl") => (Self::Crl, "PUT"),
            Some("/jwks") if state.credentials.assertions.is_some() => (Self::Jwks, "GET, HEAD"),
            Some("/status") => (Self::Status, "GET, HEAD"),
            Some("/tokens") => (Self::Tokens, "PUT"),
            Some("/whoami") => (Self::WhoAmI, "GET, HEAD"),
            _ => return Err(RequestProblem::NotFound),
        };
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(RequestProblem::MethodNotAllowed { allow });
        }
        let for_operators = matches!(resource, Self::Crl | Self::Status | Self::Tokens);
        if for_operators && !state.settings.operators.iter().any(|operator| operator.matches(caller)) {
            return Err(RequestProblem::Denied(Denial { reason: DenyReason::NotAnOperator, rule: None }));
        }
        Ok(resource)
    }
}

/// Log a failed serialization: a defect of the gateway.
fn serialization_failed(error: serde_json::Error) -> RequestProblem {
    tracing::error!(%error, "response cannot be serialized");
    RequestProblem::Internal
}

/// Way to put a pushed file in force, which was noticed at a time.
type Apply = fn(&Control, &[u8], Instant) -> Result<Option<StateChange>, PushError>;

/// Put a pushed file in force by `apply`. The response waits until the connections that it cuts have closed, for at
/// most [`CLOSE_WAIT`].
async fn push(
    connection: &ConnectionContext,
    body: RequestBody,
    apply: Apply,
) -> Result<PushResult, RequestProblem> {
    let (gateway, control) = (&connection.worker.gateway, &connection.worker.control);
    let peer = connection.session.peer.as_ref().ok_or(RequestProblem::Denied(Denial::NO_CERTIFICATE))?;
    // Before the body is read, which takes the memory.
    let queued = control.pushes.acquire(peer.chain.leaf.fingerprint());
    let permit = timeout(QUEUE_TIMEOUT, queued).await.map_err(|_| PushError::Busy)?;
    let body = match timeout(UPLOAD_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(RequestBodyError::TooLarge { at_most })) => {
            return Err(RequestProblem::BodyTooLarge { at_most });
        }
        Ok(Err(_)) => return Err(RequestProblem::BodyBroken),
        Err(_) => return Err(RequestProblem::Forward(ForwardError::UploadTimeout)),
    };
    let noticed = gateway.clock.monotonic();
    let change = tokio::task::spawn_blocking({
        let control = Arc::clone(control);
        move || {
            let change = apply(&control, &body, noticed);
            // Held to the end even if the client disconnects: the work goes on.
            drop(permit);
            change
        }
    });
    let change = change.await.map_err(|_| RequestProblem::Internal)??;
    let cut = change.map(|change| change.cut).unwrap_or_default();
    let is_closed = |session: &Arc<Session>| session.has_ended() || session.id == connection.session.id;
    let deadline = noticed + CLOSE_WAIT;
    while !cut.iter().all(is_closed) && gateway.clock.monotonic() < deadline {
        sleep(CLOSE_POLL_INTERVAL).await;
    }
    let connections_ending = cut.iter().filter(|session| !is_closed(session)).count();
    let state = gateway.state.load();
    let now = gateway.clock.now();
    Ok(PushResult {
        generation: state.generation,
        crl: CrlStatus::of_all(&state.verifier, now),
        connections_closed: cut.len(),
        connections_ending,
        duration_us: crate::gateway::telemetry::events::micros_since(noticed, gateway.clock.monotonic()),
    })
}

/// JSON response to a push.
#[derive(Serialize)]
struct PushResult {
    generation: u64,
    /// CRLs in force now.
    crl: Vec<CrlStatus>,
    connections_closed: usize,
    /// Connections among them still open after [`CLOSE_WAIT`].
    connections_ending: usize,
    /// Microseconds from the last byte of the CRL to the end of those connections.
    duration_us: u64,
}

/// JSON response to a push of a statement.
#[derive(Serialize)]
struct StatementResult {
    generation: u64,
    /// Statement in force now.
    tokens: Option<StatementStatus>,
}

impl StatementResult {
    fn of(state: &State) -> Self {
        Self { generation: state.generation, tokens: state.tokens.as_ref().map(StatementStatus::of) }
    }
}

/// Identity of the caller and properties of its connection.
#[derive(Serialize)]
struct WhoAmI<'a> {
    role: Role,
    name: &'a Name,
    spiffe_id: String,
    trust_domain: &'a TrustDomain,
    serial_number: SerialNumber,
    fingerprint: Sha256,
    not_before: String,
    not_after: String,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
}

impl<'a> WhoAmI<'a> {
    fn of(session: &'a Session, peer: &'a Peer) -> Self {
        let Peer { identity, chain, .. } = peer;
        let leaf = &chain.leaf;
        Self {
            role: identity.role,
            name: &identity.name,
            spiffe_id: identity.spiffe_id(),
            trust_domain: &identity.trust_domain,
            serial_number: leaf.serial_number,
            fingerprint: leaf.fingerprint(),
            not_before: rfc3339(leaf.not_before),
            not_after: rfc3339(leaf.not_after),
            tls_version: session.tls_version,
            alpn: session.protocol.as_str(),
            resumed: session.resumed,
        }
    }
}
