//! Organizations, users and security settings, as they are recorded.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::identity::{AccountRole, Name, OrganizationName, Role};
use crate::x509::Sha256;

/// Row of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Row ID; 1 for the organization that always exists.
    pub id: u64,
    /// Name, unique regardless of case.
    pub name: OrganizationName,
    /// Creation time.
    pub created_at: OffsetDateTime,
    /// Last audit entry about it.
    pub entry: u64,
}

impl OrganizationRecord {
    /// Row ID of the organization that always exists.
    pub const ROOT: u64 = 1;

    /// True for the organization that always exists.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.id == Self::ROOT
    }
}

/// Origin of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSource {
    /// Kept here, with a password.
    Local,
    /// Kept in a directory.
    Ldap,
}

impl AccountSource {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Local, Self::Ldap];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ldap => "ldap",
        }
    }
}

/// Hash of a password, as a PHC string. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHashText(pub String);

impl fmt::Debug for PasswordHashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHashText(…)")
    }
}

/// Facts of an account that its audit entries record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFacts {
    /// Row ID of the organization.
    pub organization: u64,
    /// Name, unique in the organization.
    pub name: Name,
    /// Rights of the account.
    pub role: AccountRole,
    /// Origin.
    pub source: AccountSource,
    /// Hash of the password, with the time of its last change; `None` for users of a directory.
    pub password: Option<(PasswordHashText, OffsetDateTime)>,
    /// True until a password that another person chose is changed.
    pub must_change_password: bool,
    /// Identity of the linked certificate.
    pub certificate: Option<(Role, Name)>,
    /// True if a login needs the linked certificate.
    pub certificate_required: bool,
    /// Tokens issued before this time are revoked.
    pub tokens_from: OffsetDateTime,
    /// SHA-256 of what identifies the entry of a directory; `None` for local users.
    pub ldap_entry: Option<Sha256>,
    /// Creation time.
    pub created_at: OffsetDateTime,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// Row ID.
    pub id: u64,
    /// Recorded facts.
    pub facts: UserFacts,
    /// Last audit entry about it.
    pub entry: u64,
}

/// Failed logins of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockoutState {
    /// Consecutive failures.
    pub failures: u32,
    /// End of the lock, which may be in the past.
    pub locked_until: Option<OffsetDateTime>,
    /// Attempts during the lock.
    pub attempts: u64,
}

/// Failed logins of users that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLogins {
    /// Attempts since the last audit entry about them.
    pub attempts: u64,
    /// Time of that entry.
    pub noted_at: OffsetDateTime,
}

/// Settings of logins and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecuritySettings {
    /// Consecutive failed logins that lock an account.
    pub failed_attempts: u32,
    /// Time that an account stays locked.
    pub lockout_duration: Duration,
    /// Text shown before a login.
    pub banner: String,
    /// True if the text is shown.
    pub banner_enabled: bool,
    /// Lifetime of access tokens.
    pub access_token: Duration,
    /// Lifetime of refresh tokens.
    pub refresh_token: Duration,
    /// Longest lifetime of an access token that a user may ask for.
    pub access_token_maximum: Duration,
    /// Longest lifetime of a refresh token that a user may ask for.
    pub refresh_token_maximum: Duration,
    /// Idle time after which the console signs a user out.
    pub console_timeout: Duration,
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self {
            failed_attempts: 5,
            lockout_duration: Duration::minutes(2),
            banner: String::new(),
            banner_enabled: true,
            access_token: Duration::minutes(5),
            refresh_token: Duration::days(30),
            access_token_maximum: Duration::days(30),
            refresh_token_maximum: Duration::days(365),
            console_timeout: Duration::minutes(30),
        }
    }
}

/// A login and the refresh token that continues it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSession {
    /// Row ID.
    pub id: u64,
    /// SHA-256 of the part that all refresh tokens of the session share.
    pub selector: [u8; 32],
    /// SHA-256 of the secret of the newest refresh token.
    pub secret: [u8; 32],
    /// ID that access tokens of the session carry.
    pub token_id: [u8; 16],
    /// Row ID of the user.
    pub user: u64,
    /// SHA-256 of the client certificate that the session is bound to.
    pub certificate: Option<[u8; 32]>,
    /// Time of the login.
    pub created_at: OffsetDateTime,
    /// Expiry of the newest refresh token.
    pub expires_at: OffsetDateTime,
}
