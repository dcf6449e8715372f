//! Settings shared by all calls to gateways.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;

use super::error::CallError;
use super::trust::GatewayTrust;
use crate::mtls::tls::ClientCredentials;

/// Upper bound of the time limit; it keeps the sum of now and the limit representable.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Client credentials, trust and time limit for calls to gateways. Clones share one state.
#[derive(Clone, Debug)]
pub struct CallContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resolver: Arc<dyn ResolvesClientCert>,
    trust: GatewayTrust,
    timeout: Duration,
}

impl CallContext {
    /// Call with `credentials`; each gateway may take up to `timeout`, at most a day.
    ///
    /// # Errors
    /// [`CallError::Handshake`] when gateways would refuse the certificate by the local trust and CRLs,
    /// and [`CallError::Tls`] when rustls does not support the key.
    pub fn new(
        credentials: &ClientCredentials,
        trust: GatewayTrust,
        timeout: Duration,
    ) -> Result<Self, CallError> {
        if let Some(cause) = trust.context().check_client(credentials) {
            return Err(CallError::Handshake(cause));
        }
        let resolver = credentials.resolver()?;
        Ok(Self(Arc::new(Inner { resolver, trust, timeout: timeout.min(MAX_TIMEOUT) })))
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.0.resolver)
    }

    pub(super) fn trust(&self) -> &GatewayTrust {
        &self.0.trust
    }

    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }
}
