//! The rules that a request or a certificate can break.

use time::{Duration, OffsetDateTime};

use super::mismatch::Mismatch;
use crate::clock::{format_duration, rfc3339};
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Host, Name, Role};
use crate::x509::{KeyAlgorithm, SubjectAltName};

/// The rule of a profile that a request or a certificate breaks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A certification request that asks to become an authority.
    #[error("the request asks for a certificate authority; only the cluster's root is one")]
    AsksCa,
    /// A certification request that asks for names beyond what is going to be signed.
    #[error("the request asks for {}, which it is not given", list(names))]
    AsksSan {
        /// The names.
        names: Vec<SubjectAltName>,
    },
    /// A time that X.509 cannot write.
    #[error("the certificate would end after the year 9999")]
    Calendar,
    /// A common name that does not fit.
    #[error("the common name `{common_name}` has {length} characters; {at_most} is the most")]
    CommonName {
        /// The common name.
        common_name: String,
        /// How long it is.
        length: usize,
        /// How long it may be.
        at_most: usize,
    },
    /// A host that the profile does not allow.
    #[error("the profile of {role} does not allow the host {host}")]
    HostNotAllowed {
        /// The role.
        role: Role,
        /// The host.
        host: Host,
    },
    /// The name that only control services bear.
    #[error(
        "the host name {CONTROL_SERVICE_DNS_NAME} is reserved for control services; {role} may not have it"
    )]
    HostReserved {
        /// The role.
        role: Role,
    },
    /// A key type that the profile does not allow.
    #[error(
        "{} is not allowed; allowed are {}",
        given.map_or_else(|| "a weak or unknown key type".to_owned(), |given| given.to_string()),
        list(allowed)
    )]
    KeyAlgorithm {
        /// The key type; `None` for one that this project never uses.
        given: Option<KeyAlgorithm>,
        /// Those that are allowed.
        allowed: Vec<KeyAlgorithm>,
    },
    /// What was signed is not what was planned.
    #[error("the certificate is not what was planned: {}", list(mismatches))]
    Mismatch {
        /// Each field that differs.
        mismatches: Vec<Mismatch>,
    },
    /// It would hold longer than the key that vouches for it.
    #[error(
        "a certificate until {} would outlive its issuer, which ends {}",
        rfc3339(*not_after),
        rfc3339(*issuer_not_after)
    )]
    OutlivesIssuer {
        /// When it would end; the earliest allowed, if no validity was asked for.
        not_after: OffsetDateTime,
        /// When its issuer ends.
        issuer_not_after: OffsetDateTime,
    },
    /// A control service whose certificate would not name its own host first.
    #[error("the certificate of control-service {name} must name that host first")]
    OwnHost {
        /// The control service.
        name: Name,
    },
    /// An identity of one role and the profile of another.
    #[error("the profile of {profile} does not apply to an identity of role {identity}")]
    Role {
        /// The role of the profile.
        profile: Role,
        /// The role of the identity.
        identity: Role,
    },
    /// More hosts than the profile allows.
    #[error("{given} hosts were given; the profile of {role} allows {at_most}")]
    TooManyHosts {
        /// The role.
        role: Role,
        /// How many were given, each counted once.
        given: usize,
        /// How many are allowed.
        at_most: usize,
    },
    /// A validity outside the profile's bounds.
    #[error(
        "a validity of {} is outside what the profile allows, {} to {}",
        format_duration(*given),
        format_duration(*minimum),
        format_duration(*maximum)
    )]
    Validity {
        /// What was asked for.
        given: Duration,
        /// The shortest allowed.
        minimum: Duration,
        /// The longest allowed.
        maximum: Duration,
    },
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl PolicyError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AsksCa => "policy.request_asks_ca",
            Self::AsksSan { .. } => "policy.request_asks_san",
            Self::Calendar => "policy.calendar",
            Self::CommonName { .. } => "policy.common_name",
            Self::HostNotAllowed { .. } => "policy.host_not_allowed",
            Self::HostReserved { .. } => "policy.host_reserved",
            Self::KeyAlgorithm { .. } => "policy.key_algorithm",
            Self::Mismatch { .. } => "policy.mismatch",
            Self::OutlivesIssuer { .. } => "policy.outlives_issuer",
            Self::OwnHost { .. } => "policy.own_host",
            Self::Role { .. } => "policy.role",
            Self::TooManyHosts { .. } => "policy.too_many_hosts",
            Self::Validity { .. } => "policy.validity",
        }
    }
}
