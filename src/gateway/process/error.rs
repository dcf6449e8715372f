//! Errors of a gateway while it starts and runs.

use std::io;
use std::net::SocketAddr;

use crate::error::{Code, Coded};
use crate::gateway::admin::SocketError;
use crate::gateway::state::StateError;

/// Error of starting or running a gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The admin socket cannot be created.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// A listening socket cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// Address of the socket.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// An essential task panicked, which stopped the gateway.
    #[error("an essential task panicked, and the gateway was stopped")]
    Panicked,
    /// A file of the configuration is missing or invalid.
    #[error(transparent)]
    State(#[from] StateError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread {
        /// Cause.
        source: io::Error,
    },
}

impl GatewayError {
    pub(super) fn bind((address, source): (SocketAddr, io::Error)) -> Self {
        Self::Bind { address, source }
    }
}

impl Coded for GatewayError {
    fn coded(&self) -> Code {
        match self {
            Self::Admin(error) => error.coded(),
            Self::Bind { .. } => Code::unavailable("gateway.bind"),
            Self::Panicked => Code::environment("gateway.panicked"),
            Self::State(error) => error.coded(),
            Self::Thread { .. } => Code::environment("gateway.thread"),
        }
    }
}
