//! Violations of a profile.

use time::{Duration, OffsetDateTime};

use super::mismatch::Mismatch;
use crate::clock::{format_duration, rfc3339};
use crate::error::{Code, Coded};
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Host, Name, Role};
use crate::x509::{KeyAlgorithm, SubjectAltName};

/// Rule of a profile that a request or a certificate violates.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuancePolicyError {
    /// CSR for a CA certificate.
    #[error("the CSR asks for a CA certificate; only the root of the cluster is a CA")]
    CsrForCa,
    /// CSR with subject alternative names that are not planned.
    #[error("the CSR asks for {}, which the certificate will not have", list(names))]
    CsrForNames {
        /// Names that are not planned.
        names: Vec<SubjectAltName>,
    },
    /// Time that X.509 cannot represent.
    #[error("the certificate would expire after the year 9999")]
    Calendar,
    /// Common name that is too long.
    #[error("the common name `{common_name}` has {length} characters; {at_most} is the most")]
    CommonName {
        /// Text as planned, not truncated.
        common_name: String,
        /// Length in characters.
        length: usize,
        /// Maximum length.
        at_most: usize,
    },
    /// Host that the profile does not allow.
    #[error("the profile of {role} does not allow the host {host}")]
    HostNotAllowed {
        /// Role of the profile.
        role: Role,
        /// Refused host.
        host: Host,
    },
    /// Host name reserved for control services.
    #[error(
        "the host name {CONTROL_SERVICE_DNS_NAME} is reserved for control services; {role} may not have it"
    )]
    HostReserved {
        /// Role of the profile.
        role: Role,
    },
    /// Key type that the profile does not allow.
    #[error(
        "{} is not allowed; allowed are {}",
        given.map_or_else(|| "a weak or unknown key type".to_owned(), |given| given.to_string()),
        list(allowed)
    )]
    KeyAlgorithm {
        /// Given key type; `None` for one that this project does not support.
        given: Option<KeyAlgorithm>,
        /// Allowed key types.
        allowed: Vec<KeyAlgorithm>,
    },
    /// Signed certificate that differs from its plan.
    #[error("the certificate differs from its plan: {}", list(mismatches))]
    Mismatch {
        /// Differing fields.
        mismatches: Vec<Mismatch>,
    },
    /// Certificate that would outlive its issuer.
    #[error(
        "a certificate valid until {} would outlive its issuer, which expires at {}",
        rfc3339(*not_after),
        rfc3339(*issuer_not_after)
    )]
    OutlivesIssuer {
        /// Expiry of the certificate; the earliest allowed, if no validity was requested.
        not_after: OffsetDateTime,
        /// Expiry of the issuer.
        issuer_not_after: OffsetDateTime,
    },
    /// Identity named for a host that is not the first host of the request.
    #[error("the first host of the certificate of {role} {name} must be {name}")]
    OwnHost {
        /// Role of the identity.
        role: Role,
        /// Name of the identity.
        name: Name,
    },
    /// Identity of another role than that of the profile.
    #[error("the profile of {profile} does not apply to an identity of role {identity}")]
    Role {
        /// Role of the profile.
        profile: Role,
        /// Role of the identity.
        identity: Role,
    },
    /// More hosts than the profile allows.
    #[error("{given} hosts were given; the profile of {role} allows {at_most}")]
    TooManyHosts {
        /// Role of the profile.
        role: Role,
        /// Number of distinct hosts given.
        given: usize,
        /// Maximum number of hosts.
        at_most: usize,
    },
    /// Validity outside the bounds of the profile.
    #[error(
        "a validity of {} is outside what the profile allows, {} to {}",
        format_duration(*given),
        format_duration(*minimum),
        format_duration(*maximum)
    )]
    Validity {
        /// Requested validity.
        given: Duration,
        /// Minimum validity.
        minimum: Duration,
        /// Maximum validity.
        maximum: Duration,
    },
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl Coded for IssuancePolicyError {
    fn coded(&self) -> Code {
        match self {
            Self::CsrForCa => Code::refused("policy.request_asks_ca"),
            Self::CsrForNames { .. } => Code::refused("policy.request_asks_san"),
            Self::Calendar => Code::refused("policy.calendar"),
            Self::CommonName { .. } => Code::refused("policy.common_name"),
            Self::HostNotAllowed { .. } => Code::refused("policy.host_not_allowed"),
            Self::HostReserved { .. } => Code::refused("policy.host_reserved"),
            Self::KeyAlgorithm { .. } => Code::refused("policy.key_algorithm"),
            Self::Mismatch { .. } => Code::refused("policy.mismatch"),
            Self::OutlivesIssuer { .. } => Code::refused("policy.outlives_issuer"),
            Self::OwnHost { .. } => Code::refused("policy.own_host"),
            Self::Role { .. } => Code::refused("policy.role"),
            Self::TooManyHosts { .. } => Code::refused("policy.too_many_hosts"),
            Self::Validity { .. } => Code::refused("policy.validity"),
        }
    }
}
