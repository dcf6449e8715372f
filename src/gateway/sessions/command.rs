//! Commands to an open connection, and reasons for closing it.

use crate::error::Code;
use crate::mtls::Lapse;

/// Command to an open connection, in ascending strength. A weaker command never replaces a stronger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Serve requests.
    Serve,
    /// Finish the requests in flight and accept no others.
    Drain,
    /// Close at once; no further request is answered.
    Cut(CutReason),
}

/// Reason for closing an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CutReason {
    /// The certificate, or one of its issuers, has expired.
    CertificateExpired,
    /// The certificate, or one of its issuers, is revoked.
    CertificateRevoked,
    /// The client cancelled most of its requests.
    CancelledRequests,
    /// A request header was not complete in time.
    HeaderTimeout,
    /// An operator closed it on the admin socket.
    Operator,
    /// The gateway stops, and the drain timeout is over.
    Shutdown,
    /// The client did not read its responses.
    Stalled,
    /// The certificate is no longer trusted after a change of the trust bundle.
    TrustChanged,
}

impl CutReason {
    /// Reasons that make the client's certificate unacceptable, as in [`Lapse`].
    pub const LAPSES: [Self; 3] = [Self::CertificateExpired, Self::CertificateRevoked, Self::TrustChanged];

    /// Code of the reason, with its class.
    #[must_use]
    pub const fn coded(self) -> Code {
        match self {
            Self::CertificateExpired => Code::refused("connection.certificate_expired"),
            Self::CertificateRevoked => Code::refused("connection.certificate_revoked"),
            Self::CancelledRequests => Code::refused("connection.cancelled_requests"),
            Self::HeaderTimeout => Code::refused("connection.header_timeout"),
            Self::Operator => Code::refused("connection.operator"),
            Self::Shutdown => Code::refused("connection.shutdown"),
            Self::Stalled => Code::refused("connection.stalled"),
            Self::TrustChanged => Code::refused("connection.trust_changed"),
        }
    }

    /// Name of the code, for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.coded().name()
    }

    /// True if it is one of [`CutReason::LAPSES`].
    #[must_use]
    pub fn is_lapse(self) -> bool {
        Self::LAPSES.contains(&self)
    }
}

impl From<Lapse> for CutReason {
    fn from(lapse: Lapse) -> Self {
        match lapse {
            Lapse::Expired => Self::CertificateExpired,
            Lapse::Revoked => Self::CertificateRevoked,
            Lapse::TrustChanged => Self::TrustChanged,
        }
    }
}
