//! What the gateway answers by itself: to every caller with a certificate who he is, to operators how it
//! is, and what a CRL that they push has done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::clock::rfc3339;
use crate::gateway::control::error::PushError;
use crate::gateway::control::published_keys::jwks;
use crate::gateway::control::status::{CrlStatus, Status};
use crate::gateway::message::json;
use crate::gateway::message::request_body::{RequestBody, RequestBodyError};
use crate::gateway::policy::{Denial, DenyReason, RESERVED};
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::Problem;
use crate::gateway::sessions::session::Session;
use crate::gateway::state::State;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::error::ForwardError;
use crate::identity::{Identity, Name, Role, TrustDomain};
use crate::mtls::Peer;
use crate::x509::{SerialNumber, Sha256};

/// How long a pushed CRL may take to arrive.
const UPLOAD: Duration = Duration::from_secs(60);

/// How long a push waits for the one before it.
const TURN: Duration = Duration::from_secs(5);

/// How long the answer to a push waits for the connections that it cuts.
const CUT: Duration = Duration::from_secs(1);

/// How often it looks whether they have ended.
const LOOK: Duration = Duration::from_millis(1);

/// Answers a request for `path`, which is below [`RESERVED`], with JSON.
///
/// # Errors
/// [`Problem`]: the caller has no certificate, there is no such resource, it is not asked for so, the
/// caller is no operator, or the CRL is refused.
pub async fn answer(
    connection: &Arc<ConnectionContext>,
    method: &Method,
    path: &str,
    body: RequestBody,
    record: &mut RequestRecord,
) -> Result<Bytes, Problem> {
    let session = &connection.session;
    let gateway = &connection.worker.gateway;
    let caller = session.peer.as_ref().map(|peer| &peer.identity);
    let resource = Resource::requested(&gateway.state.load(), caller, method, path);
    if let Err(Problem::Denied(denial)) = &resource {
        record.denied(*denial);
    }
    match (resource?, &session.peer) {
        (Resource::Crl, _) => push(connection, body).await,
        (Resource::Jwks, _) => jwks(gateway).ok_or(Problem::NotFound)?.map_err(unwritable),
        (Resource::Status, _) => json::pretty(&Status::of(&connection.worker.control)).map_err(unwritable),
        (Resource::WhoAmI, Some(peer)) => json::pretty(&WhoAmI::of(session, peer)).map_err(unwritable),
        (Resource::WhoAmI, None) => Err(Problem::Denied(Denial::NO_CERTIFICATE)),
    }
}

/// What the gateway answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Where an operator pushes a CRL to.
    Crl,
    /// The keys that assertions can be verified with.
    Jwks,
    /// How the gateway is, for operators.
    Status,
    /// Who the caller is.
    WhoAmI,
}

impl Resource {
    /// The one at `path`, which is below [`RESERVED`], if `caller` may ask for it so under `state`.
    ///
    /// # Errors
    /// [`Problem`]: the caller has no certificate or is no operator, there is no such resource, or it does
    /// not take the method.
    pub fn requested(
        state: &State,
        caller: Option<&Identity>,
        method: &Method,
        path: &str,
    ) -> Result<Self, Problem> {
        let caller = caller.ok_or(Problem::Denied(Denial::NO_CERTIFICATE))?;
        let (resource, allow) = match path.strip_prefix(RESERVED) {
            Some("/crl") => (Self::Crl, "PUT"),
            Some("/jwks") if state.credentials.assertions.is_some() => (Self::Jwks, "GET, HEAD"),
            Some("/status") => (Self::Status, "GET, HEAD"),
            Some("/whoami") => (Self::WhoAmI, "GET, HEAD"),
            _ => return Err(Problem::NotFound),
        };
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Problem::MethodNotAllowed { allow });
        }
        let for_operators = matches!(resource, Self::Crl | Self::Status);
        if for_operators && !state.settings.operators.iter().any(|operator| operator.matches(caller)) {
            return Err(Problem::Denied(Denial { reason: DenyReason::NotAnOperator, rule: None }));
        }
        Ok(resource)
    }
}

/// A body that cannot be serialized is a defect of the gateway.
fn unwritable(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "response cannot be serialized");
    Problem::Internal
}

/// Take pushed CRLs. The response is sent once every connection that they end has ended.
async fn push(connection: &ConnectionContext, body: RequestBody) -> Result<Bytes, Problem> {
    let (gateway, control) = (&connection.worker.gateway, &connection.worker.control);
    let peer = connection.session.peer.as_ref().ok_or(Problem::Denied(Denial::NO_CERTIFICATE))?;
    // Before the body is here, which is what takes up memory.
    let turn = control.pushes.turn(peer.chain.leaf.fingerprint());
    let under_way = timeout(TURN, turn).await.map_err(|_| PushError::Busy)?;
    let body = match timeout(UPLOAD, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(RequestBodyError::TooLarge { at_most })) => return Err(Problem::BodyTooLarge { at_most }),
        Ok(Err(_)) => return Err(Problem::BodyBroken),
        Err(_) => return Err(Problem::Forward(ForwardError::UploadTimeout)),
    };
    let noticed = gateway.clock.monotonic();
    let change = tokio::task::spawn_blocking({
        let control = Arc::clone(control);
        move || {
            let change = control.push(&body, noticed);
            // Whoever has gone away meanwhile does not make room by it.
            drop(under_way);
            change
        }
    });
    let change = change.await.map_err(|_| Problem::Internal)??;
    let cut = change.map(|change| change.cut).unwrap_or_default();
    let ended = |session: &Arc<Session>| session.has_ended() || session.id == connection.session.id;
    while !cut.iter().all(ended) && noticed.elapsed() < CUT {
        sleep(LOOK).await;
    }
    let connections_ending = cut.iter().filter(|session| !ended(session)).count();
    let state = gateway.state.load();
    let now = gateway.clock.now();
    json::pretty(&Pushed {
        generation: state.generation,
        crl: CrlStatus::of_all(&state.verifier, now),
        connections_cut: cut.len(),
        connections_ending,
        duration_us: crate::gateway::telemetry::events::micros_since(noticed),
    })
    .map_err(unwritable)
}

/// What a push has come to.
#[derive(Serialize)]
struct Pushed {
    generation: u64,
    /// What is in force now.
    crl: Vec<CrlStatus>,
    connections_cut: usize,
    /// Those among them that had not ended yet when the patience of this answer had.
    connections_ending: usize,
    /// From the last byte of the CRL to the end of those connections.
    duration_us: u64,
}

/// A caller as the gateway sees it.
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
