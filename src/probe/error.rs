//! Errors of a probe that got no connection.

use std::io;
use std::time::Duration;

use super::endpoint::Endpoint;
use crate::error::{Code, Coded};
use crate::mtls::tls::TlsClientError;

/// Time limit for the connection, and then for each read and write.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Failure to observe an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The host refused the TCP connection.
    #[error("{endpoint} refuses connections: no service listens there")]
    Refused {
        /// Address that was probed.
        endpoint: String,
    },
    /// The host did not accept the TCP connection in time.
    #[error("{endpoint} does not answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut {
        /// Address that was probed.
        endpoint: String,
    },
    /// rustls rejected the client's key or the host name.
    #[error(transparent)]
    Tls(#[from] TlsClientError),
    /// The operating system reported a network error.
    #[error("{endpoint} cannot be reached")]
    Unreachable {
        /// Address that was probed.
        endpoint: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The host name has no address.
    #[error("the name {name} does not resolve to an address")]
    Unresolved {
        /// Host name that was looked up.
        name: String,
        /// Error of the resolver.
        source: io::Error,
    },
}

impl ProbeError {
    /// The error for a connection to `endpoint` that failed with `source`.
    pub(super) fn unreachable(endpoint: &Endpoint, source: io::Error) -> Self {
        let endpoint = endpoint.to_string();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { endpoint },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut { endpoint },
            _ => Self::Unreachable { endpoint, source },
        }
    }
}

impl Coded for ProbeError {
    fn coded(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::unavailable("network.refused"),
            Self::TimedOut { .. } | Self::Unreachable { .. } => Code::unavailable("network.silent"),
            Self::Tls(error) => error.coded(),
            Self::Unresolved { .. } => Code::unavailable("network.unresolved"),
        }
    }
}
