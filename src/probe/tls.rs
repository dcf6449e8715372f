//! The handshake of a look: rustls with a verifier that takes every chain, and remembers it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream};

use super::{Caller, End, Endpoint, ProbeError};
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

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

impl End {
    /// How a connection ended that ended with this error, after or before the server `has_shown` a
    /// certificate.
    #[must_use]
    pub fn of(error: &io::Error, has_shown: bool) -> Self {
        match cause(error) {
            Some(Error::AlertReceived(alert)) => Self::Alert(u8::from(*alert)),
            // Garbage before any certificate is another protocol; after it, it is a broken server.
            Some(Error::InvalidMessage(_)) if !has_shown => Self::NotTls,
            Some(other) => Self::Broken(other.to_string()),
            None => Self::Closed,
        }
    }
}

impl Caller {
    /// Certificate and key as TLS takes them.
    ///
    /// # Errors
    /// [`ProbeError::Tls`] when TLS has no use for the key.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, ProbeError> {
        let why = |why: String| ProbeError::Tls { why };
        let key = self.key.to_pkcs8().map_err(|error| why(error.to_string()))?;
        let key = PrivateKeyDer::try_from(key.secret_pkcs8_der().to_vec())
            .map_err(|error| why(error.to_owned()))?;
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| why(error.to_string()))?;
        let chain = self.chain.iter().map(|certificate| certificate.der.clone()).collect();
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// Judges what a server presents as it is told to, and checks in any case that the server has the key of
/// it: without that proof a certificate says nothing about who is there.
pub struct Witness<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J> Witness<J>
where
    J: Fn(&[CertificateDer<'static>]) -> Result<(), Error> + Send + Sync,
{
    /// Takes the chains that `judge` takes: the server's own certificate first, then what it sends with it.
    pub fn new(judge: J) -> Self {
        Self { judge, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl<J> std::fmt::Debug for Witness<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl<J> ServerCertVerifier for Witness<J>
where
    J: Fn(&[CertificateDer<'static>]) -> Result<(), Error> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned());
        (self.judge)(&chain.collect::<Vec<_>>()).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
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
