//! Handshake of a probe: accepts any server chain and records it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, SignatureScheme, Stream};

use super::endpoint::Endpoint;
use super::error::ProbeError;
use super::outcome::ConnectionOutcome;
use crate::mtls::tls::{
    ClientCredentials, HTTP_1_1, ServerChainVerifier, TlsClientError, client_config, server_name,
};

/// Alert of a server that supports none of the offered protocols (RFC 7301, section 3.2).
pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Alert of a server that does not have the requested name (RFC 6066, section 3).
pub(super) const UNRECOGNIZED_NAME: u8 = 112;

/// Bytes read of a response: enough for the status in its first line.
const RESPONSE_PREFIX: usize = 64;

/// Record of one handshake.
pub(super) struct HandshakeRecord {
    /// Chain of the server as sent, leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) requests_certificate: bool,
    pub(super) outcome: ConnectionOutcome,
}

/// Perform one handshake over `stream` and record the server's reaction.
pub(super) fn handshake(
    stream: &TcpStream,
    endpoint: &Endpoint,
    credentials: Option<&ClientCredentials>,
    alpn: Option<&[u8]>,
) -> Result<HandshakeRecord, ProbeError> {
    let presented = Arc::new(Mutex::new(Vec::new()));
    // The default provider: servers with the oldest algorithms that rustls supports are diagnosed too.
    let verifier = ServerChainVerifier::new(aws_lc_rs::default_provider(), {
        let presented = Arc::clone(&presented);
        move |chain| {
            *presented.lock().unwrap_or_else(PoisonError::into_inner) = chain.to_vec();
            true
        }
    });
    let resolver = Arc::new(RecordingResolver {
        certified_key: credentials.map(ClientCredentials::unchecked_pair).transpose()?,
        requested: AtomicBool::new(false),
    });
    let config = client_config(verifier, Arc::<RecordingResolver>::clone(&resolver), alpn)?;
    let mut tls =
        ClientConnection::new(config, server_name(&endpoint.host)?).map_err(TlsClientError::from)?;
    let result = exchange(&mut tls, stream, endpoint);
    let chain = std::mem::take(&mut *presented.lock().unwrap_or_else(PoisonError::into_inner));
    let outcome = result.unwrap_or_else(|error| ConnectionOutcome::of_error(&error, !chain.is_empty()));
    let requests_certificate = resolver.requested.load(Ordering::Relaxed);
    Ok(HandshakeRecord { chain, requests_certificate, outcome })
}

/// Complete the handshake, and send one request if the server negotiated HTTP/1.1.
fn exchange(
    tls: &mut ClientConnection,
    mut stream: &TcpStream,
    endpoint: &Endpoint,
) -> io::Result<ConnectionOutcome> {
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    let negotiated_http = tls.alpn_protocol() == Some(HTTP_1_1);
    let mut secured = Stream::new(tls, &mut stream);
    if negotiated_http {
        let request = format!(
            "GET /.well-known/cluster/whoami HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n"
        );
        // A server that refuses may have closed already; its alert is still to be read.
        let _ = secured.write_all(request.as_bytes());
    }
    // In TLS 1.3 the server verifies the client certificate after the client's handshake has ended.
    let mut prefix = Vec::with_capacity(RESPONSE_PREFIX);
    match secured.take(u64::try_from(RESPONSE_PREFIX).unwrap_or_default()).read_to_end(&mut prefix) {
        Ok(0) => Ok(ConnectionOutcome::Closed),
        Err(error) if prefix.is_empty() && is_timeout(&error) => Ok(ConnectionOutcome::Accepted),
        Err(error) if prefix.is_empty() => Err(error),
        _ => Ok(status(&prefix).map_or(ConnectionOutcome::Accepted, ConnectionOutcome::Responded)),
    }
}

/// The status in `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Resolver that records whether the server requested a certificate.
#[derive(Debug)]
struct RecordingResolver {
    certified_key: Option<Arc<CertifiedKey>>,
    requested: AtomicBool,
}

impl ResolvesClientCert for RecordingResolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.requested.store(true, Ordering::Relaxed);
        self.certified_key.clone()
    }

    fn has_certs(&self) -> bool {
        // rustls calls `resolve` only then, and the request is to be recorded in any case.
        true
    }
}
