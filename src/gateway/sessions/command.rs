//! Commands to a connection, and reasons for closing it.

use crate::error::Code;
use crate::mtls::Lapse;

/// What a connection has been told to do; a later order never takes back an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Go on.
    Serve,
    /// Finish the requests that run, take no others.
    Drain,
    /// End now: no further request is answered.
    Cut(CutReason),
}

/// Why an open connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CutReason {
    /// Its certificate, or an issuer's, is past its end.
    CertificateExpired,
    /// Its certificate, or an issuer's, has been revoked.
    CertificateRevoked,
    /// The caller gave up most of its requests.
    CancelledRequests,
    /// The header of a request did not come to its end in time.
    HeaderTimeout,
    /// A person has closed it, on the admin socket.
    Operator,
    /// The gateway stops, and the time to finish is over.
    Shutdown,
    /// The caller did not take its responses.
    Stalled,
    /// What is trusted has changed, and it is not among it any more.
    TrustChanged,
}

impl CutReason {
    /// Those that say that the caller may not be here any more, whatever it does.
    pub const JUDGEMENTS: [Self; 3] =
        [Self::CertificateExpired, Self::CertificateRevoked, Self::TrustChanged];

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

    /// Code of the reason, for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.coded().name()
    }

    /// Whether it is one of [`CutReason::JUDGEMENTS`].
    #[must_use]
    pub fn is_judgement(self) -> bool {
        Self::JUDGEMENTS.contains(&self)
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
