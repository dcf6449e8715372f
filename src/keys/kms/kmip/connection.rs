//! Connection to a KMIP server: mutual TLS, a deadline per exchange, a size limit per response.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use zeroize::Zeroizing;

use super::message::tag;
use super::names::KmipAddress;
use super::settings::KmipService;
use super::ttlv;
use crate::clock::{DeadlineStream, IoDeadline};
use crate::keys::kms::error::KmsError;
use crate::keys::kms::tls;
use crate::keys::kms::trust_anchors::KmsTrustAnchors;
use crate::keys::private_key::PrivateKey;
use crate::secret::Secret;
use crate::x509::pem;

/// Time limit of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit of one request and its response.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest response, in bytes. Real ones are a few hundred bytes.
const MAX_RESPONSE: usize = 64 << 10;

/// Address and TLS configuration of a server.
pub(super) struct KmipEndpoint {
    address: KmipAddress,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl KmipEndpoint {
    pub(super) fn new(service: &KmipService, anchors: &KmsTrustAnchors) -> Result<Self, KmsError> {
        let bad = |error: &dyn std::error::Error| KmsError::ClientCertificate { why: error.to_string() };
        let chain = pem::certificates(service.client_certificate.as_bytes()).map_err(|error| bad(&error))?;
        let key = PrivateKey::from_pem(&Secret::new(service.client_key.expose().as_bytes().to_vec()))
            .map_err(|error| bad(&error))?;
        let tls = tls::client_config(anchors, Some((chain, key)))?;
        let name =
            ServerName::try_from(service.address.host().to_owned()).map_err(|_| KmsError::Address {
                given: service.address.to_string(),
                why: "its host is neither a name nor an IP address",
            })?;
        Ok(Self { address: service.address.clone(), name, tls })
    }

    pub(super) fn connect(&self) -> Result<KmipConnection, KmsError> {
        let tcp = self.tcp().map_err(|error| self.failure(error))?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())
            .map_err(|error| self.failure(io::Error::other(error)))?;
        let stream = DeadlineStream { tcp, deadline: IoDeadline::after(EXCHANGE_TIMEOUT) };
        Ok(KmipConnection { stream: StreamOwned::new(tls, stream) })
    }

    fn tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.address.host(), self.address.port()).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Send a request and read its response.
    pub(super) fn exchange(
        &self,
        connection: &mut KmipConnection,
        request: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let stream = &mut connection.stream;
        stream.sock.deadline = IoDeadline::after(EXCHANGE_TIMEOUT);
        let mut header = [0; 8];
        stream
            .write_all(request)
            .and_then(|()| stream.flush())
            .and_then(|()| stream.read_exact(&mut header))
            .map_err(|error| self.failure(alert_before_close(stream, error)))?;
        let length = ttlv::message_length(header, tag::RESPONSE_MESSAGE)
            .map_err(|error| KmsError::Protocol { address: self.address.to_string(), why: error.0 })?;
        if length > MAX_RESPONSE {
            let why = "it is longer than 64 KiB";
            return Err(KmsError::Protocol { address: self.address.to_string(), why });
        }
        let mut response = Zeroizing::new(vec![0; header.len() + length]);
        let (first, rest) = response.split_at_mut(header.len());
        first.copy_from_slice(&header);
        stream.read_exact(rest).map_err(|error| self.failure(error))?;
        Ok(response)
    }

    fn failure(&self, error: io::Error) -> KmsError {
        tls::connection_error(self.address.to_string(), error, true)
    }
}

/// The TLS alert behind a failed exchange, if the server sent one, or else `error`.
///
/// A server that refuses the client certificate sends an alert and closes. In TLS 1.3 that may be after the
/// handshake, so that the write fails first, and the alert is still to be read.
fn alert_before_close(
    stream: &mut StreamOwned<ClientConnection, DeadlineStream>,
    error: io::Error,
) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    if !matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) {
        return error;
    }
    // Not through the stream, which would try to write first.
    while matches!(stream.conn.read_tls(&mut stream.sock), Ok(length) if length > 0) {
        if let Err(reason) = stream.conn.process_new_packets() {
            return io::Error::new(io::ErrorKind::InvalidData, reason);
        }
    }
    error
}

/// An open connection; exchanges follow one another.
pub(super) struct KmipConnection {
    stream: StreamOwned<ClientConnection, DeadlineStream>,
}
