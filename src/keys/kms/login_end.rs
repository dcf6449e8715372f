//! End of a login to a service.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;

/// End of a login, however often it is used and renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum LoginEnd {
    /// Known end.
    #[serde(rename = "ends")]
    At {
        /// Time of the end.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        /// Cause of the end.
        #[serde(rename = "reason")]
        why: LoginEndReason,
    },
    /// No end: each use renews the login, or it has no limit.
    Open,
    /// The service does not allow the login to look itself up.
    Unknown,
}

/// Cause of the end of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginEndReason {
    /// The client certificate expires.
    CertificateExpires,
    /// The token has an explicit maximum lifetime.
    ExplicitMaximum,
    /// The token is not renewable.
    NotRenewable,
    /// The policies of the token do not allow it to renew itself.
    RenewalDenied,
}

impl fmt::Display for LoginEndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertificateExpires => "the client certificate expires",
            Self::ExplicitMaximum => "the token has an explicit maximum lifetime",
            Self::NotRenewable => "the token is not renewable",
            Self::RenewalDenied => {
                "the token may not renew itself; its policies lack `update` on auth/token/renew-self"
            }
        })
    }
}

impl fmt::Display for LoginEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { at, why } => write!(f, "{}: {why}", rfc3339(*at)),
            Self::Open => f.write_str("never: each use renews it"),
            Self::Unknown => f.write_str(
                "at an unknown time, and it is not renewed: the token may not look itself up; its policies lack `read` on auth/token/lookup-self",
            ),
        }
    }
}
