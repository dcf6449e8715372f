//! One TLS connection to a KMIP server: mutual TLS, a deadline for each exchange, a bound on each
//! answer.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use zeroize::Zeroizing;

use super::super::configuration::KmipService;
use super::super::trust::Trust;
use super::super::{KmipAddress, KmsError};
use super::message::tag;
use super::ttlv;
use crate::clock::IoDeadline;
use crate::keys::PrivateKey;
use crate::secret::Secret;
use crate::x509::pem;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one exchange may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// The most that an answer may hold; a true one is a few hundred bytes.
const MOST: usize = 64 << 10;

/// How to connect.
pub(super) struct Endpoint {
    address: KmipAddress,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl Endpoint {
    pub(super) fn new(service: &KmipService, trust: &Trust) -> Result<Self, KmsError> {
        let bad = |why: &str| KmsError::ClientCertificate { why: why.to_owned() };
        let chain: Vec<CertificateDer<'static>> = pem::certificates(service.client_certificate.as_bytes())
            .map_err(|error| bad(&error.to_string()))?
            .into_iter()
            .map(|certificate| certificate.der)
            .collect();
        let key = PrivateKey::from_pem(&Secret::new(service.client_key.expose().as_bytes().to_vec()))
            .map_err(|error| bad(&error.to_string()))?;
        let pkcs8 = key.to_pkcs8().map_err(|error| bad(&error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trust.anchors().iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // TLS 1.2 stays: many servers of this protocol have nothing newer.
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(pkcs8))
            .map_err(|_| bad("the key is not the certificate's"))?;
        let name =
            ServerName::try_from(service.address.host().to_owned()).map_err(|_| KmsError::Address {
                given: service.address.to_string(),
                why: "its host is neither a name nor an IP address",
            })?;
        Ok(Self { address: service.address.clone(), name, tls: Arc::new(tls) })
    }

    pub(super) fn connect(&self) -> Result<Connection, KmsError> {
        let tcp = self.tcp().map_err(|error| self.failure(error))?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())
            .map_err(|error| self.failure(io::Error::other(error)))?;
        Ok(Connection {
            stream: StreamOwned::new(tls, Patient { tcp, deadline: IoDeadline::after(EXCHANGE) }),
        })
    }

    fn tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.address.host(), self.address.port()).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a request and reads the one answer to it.
    pub(super) fn exchange(
        &self,
        connection: &mut Connection,
        request: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let stream = &mut connection.stream;
        stream.sock.deadline = IoDeadline::after(EXCHANGE);
        let mut header = [0; 8];
        stream
            .write_all(request)
            .and_then(|()| stream.flush())
            .and_then(|()| stream.read_exact(&mut header))
            .map_err(|error| self.failure(said_before_closing(stream, error)))?;
        let length = ttlv::message_length(header, tag::RESPONSE_MESSAGE)
            .map_err(|error| KmsError::Protocol { address: self.address.to_string(), why: error.0 })?;
        if length > MOST {
            let why = "it is larger than any true one";
            return Err(KmsError::Protocol { address: self.address.to_string(), why });
        }
        let mut answer = Zeroizing::new(vec![0; header.len() + length]);
        let (first, rest) = answer.split_at_mut(header.len());
        first.copy_from_slice(&header);
        stream.read_exact(rest).map_err(|error| self.failure(error))?;
        Ok(answer)
    }

    fn failure(&self, error: io::Error) -> KmsError {
        let address = self.address.to_string();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                KmsError::CertificateUntrusted { address, why: why.to_string() }
            }
            Some(rustls::Error::AlertReceived(alert)) if is_about_our_certificate(*alert) => {
                KmsError::ClientCertificateRefused { address }
            }
            _ => KmsError::Unavailable { address, source: error },
        }
    }
}

/// A server that refuses our certificate says so and closes; what we were about to send may fail first
/// (in TLS 1.3 it judges our certificate after we have finished). The alert that waits to be read is the reason.
fn said_before_closing(stream: &mut StreamOwned<ClientConnection, Patient>, error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    if !matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) {
        return error;
    }
    // Not through the stream, which would try to send first.
    while matches!(stream.conn.read_tls(&mut stream.sock), Ok(length) if length > 0) {
        if let Err(reason) = stream.conn.process_new_packets() {
            return io::Error::new(io::ErrorKind::InvalidData, reason);
        }
    }
    error
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

/// A connection, good for one exchange after the other.
pub(super) struct Connection {
    stream: StreamOwned<ClientConnection, Patient>,
}

/// A socket that gives up at a deadline, however slowly the other side goes on.
struct Patient {
    tcp: TcpStream,
    deadline: IoDeadline,
}

impl Patient {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.remaining() {
            Some(left) => Ok(Some(left)),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
    }
}

/// A socket's own way of saying that the time is over differs between systems.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer).map_err(timed_out)
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
