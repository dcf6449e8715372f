//! What the gateway answers by itself, to every caller with a certificate.

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::peer::Peer;
use super::problem::Problem;
use super::registry::Session;
use crate::clock::rfc3339;
use crate::identity::{Name, Role, TrustDomain};
use crate::x509::{SerialNumber, Sha256};

/// The resource at `path`, which is below [`RESERVED`](super::policy::RESERVED), as JSON.
///
/// # Errors
/// [`Problem::CertificateMissing`], [`Problem::NotFound`] and [`Problem::MethodNotAllowed`].
pub fn resource(session: &Session, method: &Method, path: &str) -> Result<Bytes, Problem> {
    let peer = session.peer.as_deref().ok_or(Problem::CertificateMissing)?;
    let value = match path.strip_prefix(super::policy::RESERVED) {
        Some("/whoami") => WhoAmI::of(session, peer),
        _ => return Err(Problem::NotFound),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::MethodNotAllowed);
    }
    let mut text = serde_json::to_vec_pretty(&value).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
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
