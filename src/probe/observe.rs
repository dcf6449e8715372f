//! One connection to an endpoint, and the record of it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use super::endpoint::Endpoint;
use super::error::{ProbeError, TIMEOUT};
use super::handshake::{HandshakeRecord, NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME, handshake};
use super::outcome::ConnectionOutcome;
use crate::identity::Host;
use crate::mtls::tls::{ClientCredentials, HTTP_1_1};
use crate::x509::{Certificate, X509Error};

/// Record of one connection.
#[derive(Debug)]
pub struct Observation {
    /// Address that accepted the TCP connection.
    pub address: SocketAddr,
    /// Certificate chain of the server, leaf first; empty if the handshake ended before it. It is an
    /// error if one of its certificates cannot be parsed.
    pub chain: Result<Vec<Certificate>, X509Error>,
    /// True if the server requested a client certificate.
    pub requests_certificate: bool,
    /// End of the connection.
    pub outcome: ConnectionOutcome,
}

/// Connect to `endpoint`, with `credentials` if there are any, and record the server's behaviour.
///
/// # Errors
/// [`ProbeError`] when there is no connection to record.
pub fn observe(
    endpoint: &Endpoint,
    credentials: Option<&ClientCredentials>,
) -> Result<Observation, ProbeError> {
    let stream = connect(endpoint)?;
    let address = stream.peer_addr().map_err(|source| ProbeError::unreachable(endpoint, source))?;
    let first = handshake(&stream, endpoint, credentials, Some(HTTP_1_1))?;
    // A server of another protocol rejects the ALPN offer; without it, no request is sent.
    let record = match first.outcome {
        ConnectionOutcome::Alert(NO_APPLICATION_PROTOCOL) => {
            handshake(&connect(endpoint)?, endpoint, credentials, None)?
        }
        ConnectionOutcome::Alert(UNRECOGNIZED_NAME) if first.chain.is_empty() => {
            let unnamed = without_name(endpoint, address);
            HandshakeRecord { chain: unnamed.map(|record| record.chain).unwrap_or_default(), ..first }
        }
        _ => first,
    };
    Ok(Observation {
        address,
        chain: record.chain.iter().map(|der| Certificate::from_der(der)).collect(),
        requests_certificate: record.requests_certificate,
        outcome: record.outcome,
    })
}

/// Handshake that sends no host name. A server that does not have the name of `endpoint` ends before it shows which
/// names it has.
fn without_name(endpoint: &Endpoint, address: SocketAddr) -> Result<HandshakeRecord, ProbeError> {
    let unnamed = Endpoint { host: Host::Ip(address.ip()), port: endpoint.port };
    handshake(&connect(endpoint)?, &unnamed, None, Some(HTTP_1_1))
}

/// A connection with time limits on reads and writes.
fn connect(endpoint: &Endpoint) -> Result<TcpStream, ProbeError> {
    let unreachable = |source| ProbeError::unreachable(endpoint, source);
    let addresses: Vec<SocketAddr> = match &endpoint.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, endpoint.port)],
        Host::Dns(name) => (name.as_str(), endpoint.port)
            .to_socket_addrs()
            .map_err(|source| ProbeError::Unresolved { name: name.clone(), source })?
            .collect(),
    };
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT)).map_err(unreachable)?;
                stream.set_write_timeout(Some(TIMEOUT)).map_err(unreachable)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}
