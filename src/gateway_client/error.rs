//! Why a gateway did not do what it was asked for.

use std::fmt;
use std::io;
use std::time::Duration;

use super::text::Text;
use crate::probe::{Cause, ProbeError};
use crate::x509::crl::CrlNumber;

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection was being made.
    Connect,
    /// Both sides were proving who they are.
    Handshake,
    /// The answer was awaited.
    Answer,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "it does not take the connection",
            Self::Handshake => "it takes the connection and does not finish the handshake",
            Self::Answer => "it does not answer",
        })
    }
}

/// Why a gateway did not do what it was asked for, or cannot be believed to have done it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It enforces a newer list than the one that it was to take.
    #[error("it enforces CRL {enforced}, which is newer than this home's CRL {pushed}")]
    Ahead {
        /// The number of what it enforces.
        enforced: CrlNumber,
        /// The number of what it was to enforce.
        pushed: CrlNumber,
    },
    /// It says itself that it enforces an older list than the one that it took.
    #[error("it took CRL {pushed} and says that it enforces CRL {enforced}")]
    Behind {
        /// The number of what it enforces.
        enforced: CrlNumber,
        /// The number of what it was to enforce.
        pushed: CrlNumber,
    },
    /// The certificate and key that the calls are made with are of no use.
    #[error(transparent)]
    Caller(#[from] ProbeError),
    /// It closed the connection before its answer was complete.
    #[error("it closed the connection before its answer was complete")]
    CutOff,
    /// One of both sides refused the other, or what is there does not speak TLS.
    #[error("{}", .0.message)]
    Handshake(Cause),
    /// It enforces no list of this cluster's root.
    #[error("it names no CRL of this cluster's root that it enforces")]
    NoCrl,
    /// It has no such resource.
    #[error("it has no such resource (status 404): another service listens there")]
    NotAGateway,
    /// Its configuration does not name the caller among its operators.
    #[error("it does not take lists from this caller (status 403): it is not among its operators")]
    NotAnOperator,
    /// There are two different lists of this number.
    #[error("it enforces another CRL {number} than this home's")]
    NumberReused {
        /// The number of both.
        number: CrlNumber,
    },
    /// Its answer is longer than any true one.
    #[error("its answer is longer than any that a gateway gives")]
    Oversized,
    /// It refuses the list, or cannot take any.
    #[error("it refuses (status {status}): {detail} [{code}]")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// The stable code in it.
        code: Text,
        /// Its words.
        detail: Text,
    },
    /// It did not answer in time.
    #[error("{stage} within {} s", after.as_secs_f64())]
    Silent {
        /// How far it had come.
        stage: Stage,
        /// How long it had.
        after: Duration,
    },
    /// Nobody listens there.
    #[error("it refuses connections: nobody listens there")]
    Unattended,
    /// The network does not lead there.
    #[error("it cannot be reached")]
    Unreachable {
        /// Why not.
        source: io::Error,
    },
    /// Its answer is not one that a gateway gives.
    #[error("its answer is none that a gateway gives: {why}")]
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The name in its address has no address.
    #[error("the name {name} has no address")]
    Unresolved {
        /// The name.
        name: String,
        /// What the resolver says.
        source: io::Error,
    },
}

impl Fault {
    /// The stable code of this fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ahead { .. } => "gateways.ahead",
            Self::Behind { .. } => "gateways.behind",
            Self::Caller(error) => error.code(),
            Self::CutOff => "gateways.cut_off",
            Self::Handshake(cause) => cause.code,
            Self::NoCrl => "gateways.no_crl",
            Self::NotAGateway => "gateways.not_a_gateway",
            Self::NotAnOperator => "gateways.not_an_operator",
            Self::NumberReused { .. } => "gateways.number_reused",
            Self::Oversized => "gateways.oversized",
            Self::Refused { .. } => "gateways.refused",
            Self::Silent { .. } | Self::Unreachable { .. } => "network.silent",
            Self::Unattended => "network.refused",
            Self::Unreadable { .. } => "gateways.unreadable",
            Self::Unresolved { .. } => "network.unresolved",
        }
    }

    /// Whether the gateway knows a list that the home does not: the home is an older state than what is
    /// enforced, or a copy of it signs elsewhere.
    #[must_use]
    pub const fn accuses_home(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::NumberReused { .. })
    }

    /// Whether nothing is known of the gateway, because the network did not lead to it in time.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Silent { .. } | Self::Unattended | Self::Unreachable { .. } | Self::Unresolved { .. }
        )
    }
}
