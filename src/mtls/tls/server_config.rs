//! rustls configuration of a server: TLS 1.3 and 1.2 with AEAD suites, client certificates, verified resumption.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::client_verifier::ClientVerifier;
use super::crypto::{TlsClock, TlsError, provider};
use super::protocol::{H2, HTTP_1_1};
use super::resumption::VerifiedResumption;
use super::server_name::ServerNames;
use crate::clock::Clock;

/// Configuration of one listener. Without `resumption`, every handshake is a full one.
///
/// # Errors
/// [`TlsError::Configuration`] if rustls refuses the combination.
pub fn server_config(
    names: Arc<ServerNames>,
    verifier: ClientVerifier,
    clock: Arc<dyn Clock>,
    resumption: Option<VerifiedResumption>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|source| TlsError::Configuration { source })?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(names);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.send_tls13_tickets = usize::from(resumption.is_some());
    config.session_storage = match resumption {
        Some(resumption) => Arc::new(resumption),
        None => Arc::new(NoServerSessionStorage {}),
    };
    // Clients support every suite and list them in their library's order, which ignores our processor.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    config.cert_decompressors = Vec::new();
    Ok(config)
}
