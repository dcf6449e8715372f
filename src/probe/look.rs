//! One connection to an endpoint, and everything that it showed.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use super::endpoint::Endpoint;
use super::error::{PATIENCE, ProbeError};
use super::handshake;
use super::outcome::End;
use super::tls_client::Caller;
use crate::identity::Host;
use crate::x509::Certificate;

/// What one connection showed.
#[derive(Debug)]
pub struct Observation {
    /// The address that answered.
    pub address: SocketAddr,
    /// What the server presented, its own certificate first; empty when it never came so far.
    pub chain: Vec<Certificate>,
    /// Whether it asked for a certificate.
    pub asks_for_certificate: bool,
    /// How it ended.
    pub end: End,
}

/// Connects once and tells what was seen.
///
/// # Errors
/// [`ProbeError`] when nobody answers at all.
pub fn look(endpoint: &Endpoint, caller: Option<&Caller>) -> Result<Observation, ProbeError> {
    let stream = connect(endpoint)?;
    let unreachable = |source| ProbeError::unreachable(endpoint.to_string(), source);
    let address = stream.peer_addr().map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
    let seen = handshake::converse(&stream, endpoint, caller, true)?;
    // A server that speaks something else than HTTP says so; then it is asked nothing.
    let seen = match seen.end {
        End::Alert(handshake::NO_APPLICATION_PROTOCOL) => {
            handshake::converse(&connect(endpoint)?, endpoint, caller, false)?
        }
        _ => seen,
    };
    let chain = seen.chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    Ok(Observation { address, chain, asks_for_certificate: seen.asks_for_certificate, end: seen.end })
}

fn connect(endpoint: &Endpoint) -> Result<TcpStream, ProbeError> {
    let addresses: Vec<SocketAddr> = match &endpoint.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, endpoint.port)],
        Host::Dns(name) => (name.as_str(), endpoint.port)
            .to_socket_addrs()
            .map_err(|source| ProbeError::Unresolved { name: name.clone(), source })?
            .collect(),
    };
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ProbeError::unreachable(endpoint.to_string(), last))
}
