//! Audited changes and their results.

use std::fmt;
use std::str::FromStr;

use super::error::AuditError;

/// Kind of change. Its words are stored for ever; a new one raises the version of the inventory's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A certificate was exported to one file, with its key if that is kept here.
    CertificateBundle,
    /// A certificate was copied to a host, with its key if that is kept here.
    CertificateDeliver,
    /// A certificate was suspended (CRL reason certificateHold).
    CertificateHold,
    /// A certificate was signed and recorded.
    CertificateIssue,
    /// The unfinished work of a crashed process was completed or undone.
    CertificateRecover,
    /// The hold on a certificate was lifted.
    CertificateRelease,
    /// Serial numbers were reserved for certificates about to be signed.
    CertificateReserve,
    /// A certificate was revoked.
    CertificateRevoke,
    /// The cluster was created.
    ClusterInitialize,
    /// A CRL was signed and recorded.
    CrlPublish,
    /// A CRL number was reserved for a CRL about to be signed.
    CrlReserve,
    /// The home was restored from a backup.
    HomeRestore,
    /// The local private key of a delivered certificate was deleted.
    KeyForget,
    /// A private key was encrypted with a passphrase.
    KeyProtect,
    /// The passphrase of a private key was removed.
    KeyUnprotect,
    /// A private key's data key was wrapped again.
    KmsRewrap,
    /// A key management service was configured, or a private key wrapped by one.
    KmsSet,
    /// A private key was unwrapped from a key management service, or the service removed.
    KmsUnset,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 18] = [
        Self::CertificateBundle,
        Self::CertificateDeliver,
        Self::CertificateHold,
        Self::CertificateIssue,
        Self::CertificateRecover,
        Self::CertificateRelease,
        Self::CertificateReserve,
        Self::CertificateRevoke,
        Self::ClusterInitialize,
        Self::CrlPublish,
        Self::CrlReserve,
        Self::HomeRestore,
        Self::KeyForget,
        Self::KeyProtect,
        Self::KeyUnprotect,
        Self::KmsRewrap,
        Self::KmsSet,
        Self::KmsUnset,
    ];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateBundle => "certificate.bundle",
            Self::CertificateDeliver => "certificate.deliver",
            Self::CertificateHold => "certificate.hold",
            Self::CertificateIssue => "certificate.issue",
            Self::CertificateRecover => "certificate.recover",
            Self::CertificateRelease => "certificate.release",
            Self::CertificateReserve => "certificate.reserve",
            Self::CertificateRevoke => "certificate.revoke",
            Self::ClusterInitialize => "cluster.initialize",
            Self::CrlPublish => "crl.publish",
            Self::CrlReserve => "crl.reserve",
            Self::HomeRestore => "home.restore",
            Self::KeyForget => "key.forget",
            Self::KeyProtect => "key.protect",
            Self::KeyUnprotect => "key.unprotect",
            Self::KmsRewrap => "kms.rewrap",
            Self::KmsSet => "kms.set",
            Self::KmsUnset => "kms.unset",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Action {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| AuditError::Action { given: text.escape_debug().take(80).collect() })
    }
}

/// Result of an attempted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The change was made.
    Success,
    /// The change was refused or failed; nothing was changed.
    Failure,
}

impl Outcome {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        [Self::Success, Self::Failure]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| AuditError::Outcome { given: text.escape_debug().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn words_of_actions_are_distinct_and_read_back() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!("certificate.eat".parse::<Action>().unwrap_err().code(), "audit.action");
    }
}
