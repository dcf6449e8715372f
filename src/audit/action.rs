//! Audited changes and their results.

use std::fmt;
use std::str::FromStr;

use super::error::AuditError;
use crate::error::excerpt;

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
    /// The inventory of an older version was migrated.
    InventoryMigrate,
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
    /// The private key under which passwords for directories are encrypted was created.
    LdapKey,
    /// The directory of an organization was removed.
    LdapReset,
    /// The directory of an organization was configured.
    LdapSet,
    /// An organization was created.
    OrganizationCreate,
    /// An organization was deleted.
    OrganizationDelete,
    /// An organization was renamed.
    OrganizationRename,
    /// A setting of logins or tokens was changed.
    SecuritySet,
    /// A certificate was set for the server.
    TlsSet,
    /// The certificate that was set for the server was removed.
    TlsUnset,
    /// A long-lived access token was generated.
    TokenGenerate,
    /// The private key that signs access tokens was created.
    TokenKey,
    /// A refresh token was used a second time, and its session ended.
    TokenReuse,
    /// A user was created.
    UserCreate,
    /// A user was deleted.
    UserDelete,
    /// A user was locked out after failed logins.
    UserLock,
    /// A user logged in, or failed to.
    UserLogin,
    /// A user logged out.
    UserLogout,
    /// The password of a user was changed.
    UserPassword,
    /// The password of a user was hashed with new parameters.
    UserRehash,
    /// All tokens of a user were revoked.
    UserRevokeTokens,
    /// The failed logins of a user were cleared.
    UserUnlock,
    /// The role or the certificate of a user was changed.
    UserUpdate,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 41] = [
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
        Self::InventoryMigrate,
        Self::KeyForget,
        Self::KeyProtect,
        Self::KeyUnprotect,
        Self::KmsRewrap,
        Self::KmsSet,
        Self::KmsUnset,
        Self::LdapKey,
        Self::LdapReset,
        Self::LdapSet,
        Self::OrganizationCreate,
        Self::OrganizationDelete,
        Self::OrganizationRename,
        Self::SecuritySet,
        Self::TlsSet,
        Self::TlsUnset,
        Self::TokenGenerate,
        Self::TokenKey,
        Self::TokenReuse,
        Self::UserCreate,
        Self::UserDelete,
        Self::UserLock,
        Self::UserLogin,
        Self::UserLogout,
        Self::UserPassword,
        Self::UserRehash,
        Self::UserRevokeTokens,
        Self::UserUnlock,
        Self::UserUpdate,
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
            Self::InventoryMigrate => "inventory.migrate",
            Self::KeyForget => "key.forget",
            Self::KeyProtect => "key.protect",
            Self::KeyUnprotect => "key.unprotect",
            Self::KmsRewrap => "kms.rewrap",
            Self::KmsSet => "kms.set",
            Self::KmsUnset => "kms.unset",
            Self::LdapKey => "ldap.key",
            Self::LdapReset => "ldap.reset",
            Self::LdapSet => "ldap.set",
            Self::OrganizationCreate => "organization.create",
            Self::OrganizationDelete => "organization.delete",
            Self::OrganizationRename => "organization.rename",
            Self::SecuritySet => "security.set",
            Self::TlsSet => "tls.set",
            Self::TlsUnset => "tls.unset",
            Self::TokenGenerate => "token.generate",
            Self::TokenKey => "token.key",
            Self::TokenReuse => "token.reuse",
            Self::UserCreate => "user.create",
            Self::UserDelete => "user.delete",
            Self::UserLock => "user.lock",
            Self::UserLogin => "user.login",
            Self::UserLogout => "user.logout",
            Self::UserPassword => "user.password",
            Self::UserRehash => "user.rehash",
            Self::UserRevokeTokens => "user.revoke_tokens",
            Self::UserUnlock => "user.unlock",
            Self::UserUpdate => "user.update",
        }
    }
}

impl Action {
    /// True for the changes that rewrite the row of a user.
    #[must_use]
    pub const fn changes_user(self) -> bool {
        matches!(
            self,
            Self::UserCreate
                | Self::UserPassword
                | Self::UserRehash
                | Self::UserRevokeTokens
                | Self::UserUpdate
        )
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
            .ok_or_else(|| AuditError::Action { given: excerpt(text) })
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
            .ok_or_else(|| AuditError::Outcome { given: excerpt(text) })
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
