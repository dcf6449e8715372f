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
use crate::gateway::Shared;
use crate::gateway::control::reload::PushError;
use crate::gateway::control::status::{CrlStatus, Status};
use crate::gateway::downstream::connection::Connection;
use crate::gateway::mtls::peer::Peer;
use crate::gateway::policy::{Denial, DenyReason, RESERVED};
use crate::gateway::request::body::{BodyError, RequestBody};
use crate::gateway::request::problem::Problem;
use crate::gateway::sessions::registry::Session;
use crate::gateway::state::loader::State;
use crate::gateway::telemetry::sinks::RequestRecord;
use crate::gateway::upstream::pool::ForwardError;
use crate::identity::{Identity, Name, Role, TrustDomain};
use crate::x509::{SerialNumber, Sha256};

/// Where the keys of assertions are published.
pub const JWKS: &str = "/.well-known/cluster/jwks";

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
    connection: &Arc<Connection>,
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
        (Resource::Jwks, _) => jwks(gateway).ok_or(Problem::NotFound),
        (Resource::Status, _) => Ok(json(&Status::of(gateway))),
        (Resource::WhoAmI, Some(peer)) => Ok(json(&WhoAmI::of(session, peer))),
        (Resource::WhoAmI, None) => Err(Problem::Denied(Denial::NO_CERTIFICATE)),
    }
}

/// The keys that assertions can be verified with (RFC 7517); `None` where none are made.
pub fn jwks(gateway: &Shared) -> Option<Bytes> {
    let state = gateway.state.load();
    let assertions = state.assertions.as_ref()?;
    Some(json(&assertions.jwks(gateway.clock.now())))
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
            Some("/jwks") if state.assertions.is_some() => (Self::Jwks, "GET, HEAD"),
            Some("/status") => (Self::Status, "GET, HEAD"),
            Some("/whoami") => (Self::WhoAmI, "GET, HEAD"),
            _ => return Err(Problem::NotFound),
        };
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Problem::MethodNotAllowed { allow });
        }
        let for_operators = matches!(resource, Self::Crl | Self::Status);
        if for_operators && !state.operators.iter().any(|operator| operator.is(caller)) {
            return Err(Problem::Denied(Denial { reason: DenyReason::NotAnOperator, rule: None }));
        }
        Ok(resource)
    }
}

/// Takes a CRL; the answer comes when every connection that it ends has ended.
async fn push(connection: &Connection, body: RequestBody) -> Result<Bytes, Problem> {
    let gateway = Arc::clone(&connection.worker.gateway);
    let peer = connection.session.peer.as_ref().ok_or(Problem::Denied(Denial::NO_CERTIFICATE))?;
    // Before the body is here, which is what takes up memory.
    let turn = gateway.pushes.turn(peer.chain.leaf.fingerprint());
    let under_way = timeout(TURN, turn).await.map_err(|_| PushError::Busy)?;
    let body = match timeout(UPLOAD, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(BodyError::TooLarge { at_most })) => return Err(Problem::BodyTooLarge { at_most }),
        Ok(Err(_)) => return Err(Problem::BodyBroken),
        Err(_) => return Err(Problem::Forward(ForwardError::UploadTimeout)),
    };
    let noticed = gateway.clock.monotonic();
    let change = tokio::task::spawn_blocking({
        let gateway = Arc::clone(&gateway);
        move || {
            let change = gateway.push(&body, noticed);
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
    Ok(json(&Pushed {
        generation: state.generation,
        crl: CrlStatus::of_all(&state.verifier, now),
        connections_cut: cut.len(),
        connections_ending,
        duration_us: crate::gateway::telemetry::sinks::micros_since(noticed),
    }))
}

fn json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
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
