//! Why there is nothing to look at.

use std::io;
use std::time::Duration;

use crate::identity::IdentityError;

/// How long to wait for a connection, and then for each answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

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
    pub(super) fn unreachable(endpoint: String, source: io::Error) -> Self {
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
