//! Caller of a request: who presents the certificate of its connection, and with which role.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap};
use time::OffsetDateTime;

use super::problem::Problem;
use crate::accounts::{Authenticated, Principal, VerifiedCertificate};
use crate::audit::Actor;
use crate::error::Code;
use crate::identity::{AccountRole, Identity};
use crate::mtls::Peer;
use crate::secret::Secret;
use crate::server::shared::ServerShared;
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
    /// A user with an access token.
    User(Box<Authenticated>),
    /// An access token that is not accepted.
    BadToken(Box<Problem>),
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

    /// Caller of a request with these header fields.
    pub(in crate::server) async fn of_request(
        shared: &Arc<ServerShared>,
        client: &Client,
        headers: &HeaderMap,
    ) -> Self {
        let by_certificate = Self::of(&shared.state.load(), client, shared.clock.now());
        let token = match token(headers) {
            Ok(None) => return by_certificate,
            Ok(Some(token)) => token,
            Err(problem) => return Self::BadToken(Box::new(problem)),
        };
        if matches!(by_certificate, Self::Lapsed(_)) {
            return by_certificate;
        }
        match shared.accounts.authenticate(token, client.peer.as_deref().map(verified)).await {
            Ok(user) => Self::User(Box::new(user)),
            Err(error) => Self::BadToken(Box::new(error.into())),
        }
    }

    /// Rights of the caller on accounts.
    pub(super) fn principal(&self) -> Option<Principal> {
        match self {
            Self::Operator(holder) => Some(Principal::Holder { role: holder.role }),
            Self::User(user) => Some(user.principal),
            _ => None,
        }
    }

    /// The account of a caller with a token.
    pub(super) fn user(&self) -> Option<&Authenticated> {
        match self {
            Self::User(user) => Some(user),
            _ => None,
        }
    }

    /// Name of the caller: the identity in its certificate, or organization and user.
    pub(in crate::server) fn name(&self) -> Option<String> {
        match self {
            Self::User(user) => Some(user.claims.sub.clone()),
            _ => self.identity().map(ToString::to_string),
        }
    }

    /// Identity in the certificate.
    const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous | Self::User(_) | Self::BadToken(_) => None,
            Self::Lapsed(identity) | Self::NotAnOperator(identity) => Some(identity),
            Self::Operator(holder) => Some(&holder.identity),
        }
    }

    /// Role of the caller.
    pub(in crate::server) fn role(&self) -> Option<AccountRole> {
        match self {
            Self::User(user) => Some(user.user.role),
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
    /// Certificate of the connection, if it is still valid.
    pub(super) fn certificate(&self, shared: &ServerShared) -> Result<Option<VerifiedCertificate>, Problem> {
        let Some(peer) = &self.client.peer else { return Ok(None) };
        match shared.state.load().verifier.recheck(peer, shared.clock.now()) {
            Ok(()) => Ok(Some(verified(peer))),
            Err(_) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                Code::refused("server.credentials_lapsed"),
                "the client certificate of this connection has expired or was revoked",
            )),
        }
    }

    /// Refuse a user whose password must be changed first.
    pub(super) fn require_password_changed(&self) -> Result<(), Problem> {
        Ok(self.caller.user().map_or(Ok(()), Authenticated::require_password_changed)?)
    }

    /// Actor of the audit chain: identity, address and request ID.
    pub(super) fn actor(&self) -> Actor {
        let from = format!("@{} (request {})", self.client.remote.ip(), self.id.as_str());
        if let Some(user) = self.caller.user() {
            return format!("{}{from}", user.claims.sub).parse().unwrap_or_else(|_| Actor::unknown());
        }
        let Some(CertificateHolder { identity, serial_number, .. }) = self.caller.holder() else {
            return format!("api{from}").parse().unwrap_or_else(|_| Actor::unknown());
        };
        let full = format!("{}/{}{from}", identity.role, identity.name);
        // A host name of 253 characters does not fit: its certificate tells it.
        let short = || format!("{}, certificate {serial_number}{from}", identity.role).parse();
        full.parse().or_else(|_| short()).unwrap_or_else(|_| Actor::unknown())
    }
}

/// The certificate of a verified peer.
fn verified(peer: &Peer) -> VerifiedCertificate {
    VerifiedCertificate { identity: peer.identity.clone(), fingerprint: peer.chain.leaf.fingerprint() }
}

/// Token of the scheme `Bearer` (RFC 6750), in any case (RFC 9110, section 11.1).
fn token(headers: &HeaderMap) -> Result<Option<Secret>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Two readers could choose two of them.
    if values.next().is_some() {
        let code = Code::usage("server.authorization");
        return Err(Problem::new(StatusCode::BAD_REQUEST, code, "there are several Authorization headers"));
    }
    let token = value.as_bytes().split_at_checked(7).and_then(|(scheme, token)| {
        let is_token = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        (scheme.eq_ignore_ascii_case(b"Bearer ") && is_token).then(|| Secret::new(token.to_vec()))
    });
    token.map(Some).ok_or_else(|| {
        let code = Code::refused("token.malformed");
        Problem::new(StatusCode::UNAUTHORIZED, code, "Authorization: Bearer TOKEN was expected")
    })
}
