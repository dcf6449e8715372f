//! The handshake of a look: rustls with a verifier that takes every chain, and remembers it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, SignatureScheme, Stream};

use super::endpoint::Endpoint;
use super::error::ProbeError;
use super::outcome::End;
use super::tls_client::{Caller, Witness};
use crate::identity::Host;

/// The alert of a server that speaks none of the protocols that it was offered (RFC 7301, section 3.2).
pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;

const HTTP_1_1: &[u8] = b"http/1.1";

/// More than this is not read of an answer: its first line is enough.
const HEAD: usize = 64;

/// What a handshake showed.
pub(super) struct Seen {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) asks_for_certificate: bool,
    pub(super) end: End,
}

/// One handshake, and what the server says to it.
pub(super) fn converse(
    stream: &TcpStream,
    endpoint: &Endpoint,
    caller: Option<&Caller>,
    offer_http: bool,
) -> Result<Seen, ProbeError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let presented = Arc::new(Mutex::new(Vec::new()));
    let witness = Witness::new({
        let presented = Arc::clone(&presented);
        move |chain| {
            *presented.lock().unwrap_or_else(PoisonError::into_inner) = chain.to_vec();
            Ok(())
        }
    });
    let identity = Arc::new(Identity {
        certified: caller.map(Caller::certified).transpose()?,
        asked: AtomicBool::new(false),
    });
    let resolver: Arc<dyn ResolvesClientCert> = Arc::<Identity>::clone(&identity);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Tls { why: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(witness))
        .with_client_cert_resolver(resolver);
    if offer_http {
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    }
    let name = match &endpoint.host {
        Host::Ip(ip) => ServerName::from(*ip),
        Host::Dns(name) => {
            ServerName::try_from(name.clone()).map_err(|error| ProbeError::Tls { why: error.to_string() })?
        }
    };
    let mut tls = ClientConnection::new(Arc::new(config), name)
        .map_err(|error| ProbeError::Tls { why: error.to_string() })?;
    let end = talk(&mut tls, stream, endpoint);
    let chain = std::mem::take(&mut *presented.lock().unwrap_or_else(PoisonError::into_inner));
    let end = end.unwrap_or_else(|error| End::of(&error, !chain.is_empty()));
    Ok(Seen { chain, asks_for_certificate: identity.asked.load(Ordering::Relaxed), end })
}

fn talk(tls: &mut ClientConnection, mut stream: &TcpStream, endpoint: &Endpoint) -> io::Result<End> {
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    let speaks_http = tls.alpn_protocol() == Some(HTTP_1_1);
    let mut secured = Stream::new(tls, &mut stream);
    if speaks_http {
        let request = format!(
            "GET /.well-known/cluster/whoami HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n"
        );
        // Even if it cannot be sent: what the server said before it closed is still to be read.
        let _ = secured.write_all(request.as_bytes());
    }
    // In TLS 1.3 the server's verdict comes only after our side of the handshake is over.
    let mut head = Vec::with_capacity(HEAD);
    match secured.take(u64::try_from(HEAD).unwrap_or_default()).read_to_end(&mut head) {
        Ok(0) => Ok(End::Closed),
        Err(error) if head.is_empty() && is_silence(&error) => Ok(End::Open),
        Err(error) if head.is_empty() => Err(error),
        _ => Ok(status(&head).map_or(End::Open, End::Answered)),
    }
}

/// The status in `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The caller's certificate, if there is one, and whether the server asked for it.
#[derive(Debug)]
struct Identity {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        // Asked or not, it wants to know.
        true
    }
}
