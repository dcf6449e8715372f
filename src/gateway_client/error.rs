//! Errors of a call to a gateway.

use std::fmt;
use std::io;
use std::time::Duration;

use super::sanitized_text::SanitizedText;
use crate::error::{Code, Coded};
use crate::mtls::tls::TlsClientError;
use crate::probe::RefusalCause;
use crate::x509::crl::CrlNumber;

/// Last thing attempted before a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStage {
    /// Name resolution and TCP connection.
    Connect,
    /// TLS handshake.
    Handshake,
    /// Request and response.
    Response,
}

impl fmt::Display for CallStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "it does not accept the connection",
            Self::Handshake => "it accepts the connection but does not complete the TLS handshake",
            Self::Response => "it does not answer",
        })
    }
}

/// Failure of a call to one gateway. Texts call the gateway "it" and follow its address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The gateway enforces a newer CRL than the one pushed.
    #[error("it enforces CRL {enforced}, which is newer than this home's CRL {pushed}")]
    Ahead {
        /// Number of the CRL in force there.
        enforced: CrlNumber,
        /// Number of the CRL pushed.
        pushed: CrlNumber,
    },
    /// The gateway accepted the CRL and reports an older one in force.
    #[error("it accepted CRL {pushed} but reports that it enforces CRL {enforced}")]
    Behind {
        /// Number of the CRL in force there.
        enforced: CrlNumber,
        /// Number of the CRL pushed.
        pushed: CrlNumber,
    },
    /// The connection closed early.
    #[error("it closed the connection before its response was complete")]
    CutOff,
    /// One side refused the other's certificate, or the peer does not speak TLS.
    #[error("{}", .0.message)]
    Handshake(RefusalCause),
    /// The gateway reports no CRL of the cluster's root.
    #[error("it reports no CRL of this cluster's root")]
    NoCrl,
    /// The resource does not exist there (status 404).
    #[error("it has no such resource (status 404): another service listens there")]
    NotAGateway,
    /// The client is not listed under `operators` in the gateway's configuration (status 403).
    #[error("it denies this client access (status 403): the client is not one of its operators")]
    NotAnOperator,
    /// The gateway enforces a different CRL with the same number.
    #[error("its CRL {number} is not the CRL {number} of this home")]
    NumberReused {
        /// Number of both CRLs.
        number: CrlNumber,
    },
    /// The response exceeds the size limits.
    #[error("its response exceeds the size limit")]
    Oversized,
    /// The gateway refused the request.
    #[error("it refuses (status {status}){}", explained(.reason.as_ref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Problem details of the response, if it has any.
        reason: Option<RefusalReason>,
    },
    /// A time limit expired.
    #[error("{stage} within {} s", after.as_secs_f64())]
    Silent {
        /// Stage reached.
        stage: CallStage,
        /// Time limit for the whole call.
        after: Duration,
    },
    /// rustls rejected the client's key or the gateway's host name.
    #[error(transparent)]
    Tls(#[from] TlsClientError),
    /// The host refused the TCP connection.
    #[error("it refuses connections: no service listens there")]
    Unattended,
    /// The operating system reported a network error.
    #[error("it cannot be reached")]
    Unreachable {
        /// Error of the operating system.
        source: io::Error,
    },
    /// The response is not one that a gateway sends.
    #[error("its response is not one of a gateway: {why}")]
    Unreadable {
        /// First defect found.
        why: SanitizedText,
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

/// Reason that a gateway gave for a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReason {
    /// Stable error code of the gateway.
    pub code: SanitizedText,
    /// Error text of the gateway.
    pub detail: SanitizedText,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.detail, self.code)
    }
}

/// End of a sentence on a refusal.
fn explained(reason: Option<&RefusalReason>) -> String {
    reason.map_or_else(|| " and gives no reason".to_owned(), |reason| format!(": {reason}"))
}

impl CallError {
    /// True if the gateway knows a CRL that the home does not know. Then the home is an outdated copy, or
    /// another copy of it signs CRLs too.
    #[must_use]
    pub const fn is_home_outdated(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::NumberReused { .. })
    }

    /// True if there was no connection to the gateway, so that its state is unknown.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Silent { .. } | Self::Unattended | Self::Unreachable { .. } | Self::Unresolved { .. }
        )
    }
}

impl Coded for CallError {
    fn coded(&self) -> Code {
        match self {
            Self::Ahead { .. } => Code::refused("gateways.ahead"),
            Self::Behind { .. } => Code::unavailable("gateways.behind"),
            Self::CutOff => Code::unavailable("gateways.closed"),
            Self::Handshake(cause) => cause.code,
            Self::NoCrl => Code::unavailable("gateways.no_crl"),
            Self::NotAGateway => Code::unavailable("gateways.not_a_gateway"),
            Self::NotAnOperator => Code::unavailable("gateways.not_an_operator"),
            Self::NumberReused { .. } => Code::refused("gateways.number_reused"),
            Self::Oversized => Code::unavailable("gateways.oversized"),
            Self::Refused { .. } => Code::unavailable("gateways.refused"),
            Self::Silent { .. } | Self::Unreachable { .. } => Code::unavailable("network.silent"),
            Self::Tls(error) => error.coded(),
            Self::Unattended => Code::unavailable("network.refused"),
            Self::Unreadable { .. } => Code::unavailable("gateways.unreadable"),
            Self::Unresolved { .. } => Code::unavailable("network.unresolved"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_reason_says_so() {
        let refused = |reason| CallError::Refused { status: 503, reason }.to_string();
        assert_eq!(refused(None), "it refuses (status 503) and gives no reason");
        let reason = RefusalReason { code: "crl.rollback".into(), detail: "older".into() };
        assert_eq!(refused(Some(reason)), "it refuses (status 503): older [crl.rollback]");
    }
}
