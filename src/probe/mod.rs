//! A look at a live endpoint, as a caller sees it: one connection, everything that it shows, no judgement
//! until it is over.
//!
//! A caller that refuses a bad certificate at once learns nothing more. This one takes what the server
//! presents, proves its own identity if it has one, and listens for what the server says to that. Nothing
//! is sent but the handshake and, where the server speaks HTTP/1.1, one request for the caller's identity.

mod explain;
mod tls;

pub use explain::{Cause, Claim, Judge, Side};
pub use tls::Witness;

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::identity::{Host, IdentityError};
use crate::keys::PrivateKey;
use crate::x509::Certificate;

/// How long to wait for a connection, and then for each answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a service listens: `HOST:PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The name or address that callers use, and that its certificate must name.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let malformed = || ProbeError::Endpoint { given: text.escape_debug().take(80).collect() };
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(malformed());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
        Ok(Self { host: bracketed.unwrap_or(host).parse()?, port })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Ip(std::net::IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Who calls: a certificate, intermediates after it, and its key.
#[derive(Debug)]
pub struct Caller {
    /// The certificates, the caller's own first.
    pub chain: Vec<Certificate>,
    /// The private key.
    pub key: PrivateKey,
}

impl Caller {
    /// Whether the key is that of the certificate; without it nobody gets as far as a connection.
    #[must_use]
    pub fn keys_match(&self) -> bool {
        self.chain.first().is_some_and(|leaf| leaf.public_key_info == self.key.public_key_info())
    }
}

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

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The server sent a fatal alert: its number (RFC 8446, section 6).
    Alert(u8),
    /// The server closed the connection without a word.
    Closed,
    /// The server answered a request with this status.
    Answered(u16),
    /// The server could not prove that it has the key of its certificate, or broke the protocol otherwise.
    Broken(String),
    /// What answered does not speak TLS.
    NotTls,
    /// The server accepted the connection and said nothing more.
    Open,
}

/// Connects once and tells what was seen.
///
/// # Errors
/// [`ProbeError`] when nobody answers at all.
pub fn look(endpoint: &Endpoint, caller: Option<&Caller>) -> Result<Observation, ProbeError> {
    let stream = connect(endpoint)?;
    let unreachable = |source| ProbeError::unreachable(endpoint, source);
    let address = stream.peer_addr().map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
    let seen = tls::converse(&stream, endpoint, caller, true)?;
    // A server that speaks something else than HTTP says so; then it is asked nothing.
    let seen = match seen.end {
        End::Alert(tls::NO_APPLICATION_PROTOCOL) => {
            tls::converse(&connect(endpoint)?, endpoint, caller, false)?
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
    Err(ProbeError::unreachable(endpoint, last))
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Not a place where somebody can listen.
    #[error("`{given}` is not HOST:PORT")]
    Endpoint {
        /// What was given.
        given: String,
    },
    /// Not a host.
    #[error(transparent)]
    Host(#[from] IdentityError),
    /// Nobody listens there.
    #[error("{endpoint} refuses connections: nobody listens there")]
    Refused {
        /// Where.
        endpoint: String,
    },
    /// There was no answer in time.
    #[error("{endpoint} does not answer within {} seconds", PATIENCE.as_secs())]
    TimedOut {
        /// Where.
        endpoint: String,
    },
    /// The TLS library cannot work with what it was given.
    #[error("TLS cannot be configured: {why}")]
    Tls {
        /// The library's words.
        why: String,
    },
    /// The network does not lead there.
    #[error("{endpoint} cannot be reached")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why not.
        source: io::Error,
    },
    /// The name has no address.
    #[error("the name {name} has no address")]
    Unresolved {
        /// The name.
        name: String,
        /// What the resolver says.
        source: io::Error,
    },
}

impl ProbeError {
    fn unreachable(endpoint: &Endpoint, source: io::Error) -> Self {
        let endpoint = endpoint.to_string();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { endpoint },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut { endpoint },
            _ => Self::Unreachable { endpoint, source },
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "input.endpoint",
            Self::Host(error) => error.code(),
            Self::Refused { .. } => "network.refused",
            Self::TimedOut { .. } => "network.silent",
            Self::Tls { .. } => "system.tls",
            Self::Unreachable { .. } => "network.silent",
            Self::Unresolved { .. } => "network.unresolved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for text in ["api.example.com:4523", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "api.example.com", "api:", "api:0", "api:65536", "::1:443", "[::1]", "a b:1", "https://a:1"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
