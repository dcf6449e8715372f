//! Caller of a request: who presents the certificate of its connection, and with which role.

use std::net::SocketAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::audit::Actor;
use crate::identity::{AccountRole, Identity};
use crate::mtls::Peer;
use crate::server::state::ServerState;
use crate::serving::request_id::RequestId;
use crate::x509::SerialNumber;

/// Client of a connection.
#[derive(Debug)]
pub(in crate::server) struct Client {
    pub(in crate::server) remote: SocketAddr,
    /// Holder of the certificate that the client presented; `None` without one.
    pub(in crate::server) peer: Option<Arc<Peer>>,
    pub(in crate::server) tls_version: &'static str,
    pub(in crate::server) protocol: &'static str,
}

/// Caller of a request, judged by the state in force.
#[derive(Debug)]
pub(in crate::server) enum ApiCaller {
    /// The client presented no certificate.
    Anonymous,
    /// The certificate was accepted in the handshake, and is no longer valid.
    Lapsed(Identity),
    /// The certificate is valid, and no operator has this identity.
    NotAnOperator(Identity),
    /// The certificate of an operator.
    Operator(CertificateHolder),
}

/// Authenticated caller with a role.
#[derive(Clone, Debug)]
pub(in crate::server) struct CertificateHolder {
    pub(super) identity: Identity,
    pub(super) role: AccountRole,
    pub(super) serial_number: SerialNumber,
    pub(super) not_after: OffsetDateTime,
}

/// Facts about one request, for its handler.
#[derive(Clone, Debug)]
pub(in crate::server) struct RequestContext {
    pub(in crate::server) id: RequestId,
    pub(in crate::server) client: Arc<Client>,
    pub(in crate::server) caller: Arc<ApiCaller>,
}

impl ApiCaller {
    /// Caller of a request on the connection of `client`.
    pub(in crate::server) fn of(state: &ServerState, client: &Client, at: OffsetDateTime) -> Self {
        let Some(peer) = &client.peer else { return Self::Anonymous };
        let identity = peer.identity.clone();
        if state.verifier.recheck(peer, at).is_err() {
            return Self::Lapsed(identity);
        }
        match state.role_of(&identity) {
            Some(role) => Self::Operator(CertificateHolder {
                identity,
                role,
                serial_number: peer.serial_number,
                not_after: peer.expires,
            }),
            None => Self::NotAnOperator(identity),
        }
    }

    /// Identity in the certificate.
    pub(in crate::server) const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Lapsed(identity) | Self::NotAnOperator(identity) => Some(identity),
            Self::Operator(holder) => Some(&holder.identity),
        }
    }

    /// Role of the caller.
    pub(in crate::server) const fn role(&self) -> Option<AccountRole> {
        match self {
            Self::Operator(holder) => Some(holder.role),
            _ => None,
        }
    }

    /// The caller, if it is an operator.
    pub(super) const fn holder(&self) -> Option<&CertificateHolder> {
        match self {
            Self::Operator(holder) => Some(holder),
            _ => None,
        }
    }
}

impl RequestContext {
    /// Actor of the audit chain: identity, address and request ID.
    pub(super) fn actor(&self) -> Actor {
        let from = format!("@{} (request {})", self.client.remote.ip(), self.id.as_str());
        let Some(CertificateHolder { identity, serial_number, .. }) = self.caller.holder() else {
            return format!("api{from}").parse().unwrap_or_else(|_| Actor::unknown());
        };
        let full = format!("{}/{}{from}", identity.role, identity.name);
        // A host name of 253 characters does not fit: its certificate tells it.
        let short = || format!("{}, certificate {serial_number}{from}", identity.role).parse();
        full.parse().or_else(|_| short()).unwrap_or_else(|_| Actor::unknown())
    }
}
