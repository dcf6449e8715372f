//! Errors of starting and running a gateway.

use std::io;
use std::net::SocketAddr;

use crate::error::{Code, Coded};
use crate::gateway::admin::SocketError;
use crate::gateway::state::StateError;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A part that it cannot do without panicked while it served.
    #[error("a part of the gateway panicked, and it was stopped")]
    Panicked,
    /// What the configuration names is not there, or does not fit.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system has no thread to give.
    #[error("cannot start a thread")]
    Thread {
        /// What the system says.
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
