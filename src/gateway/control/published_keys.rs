//! Public keys of the assertion signer, as a JWK Set (RFC 7517, section 5).

use bytes::Bytes;

use crate::gateway::message::json;
use crate::gateway::shared::Shared;

/// Path of the JWK Set, on the TLS listeners and on the metrics listener.
pub const JWKS: &str = "/.well-known/cluster/jwks";

/// JWK Set of all keys whose assertions may still be valid; `None` if assertions are not configured.
#[must_use]
pub fn jwks(gateway: &Shared) -> Option<Result<Bytes, serde_json::Error>> {
    let state = gateway.state.load();
    let assertions = state.credentials.assertions.as_ref()?;
    Some(json::pretty(&assertions.jwks(gateway.clock.now())))
}
