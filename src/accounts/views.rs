//! Results, as people and programs see them.

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::clock::rfc3339;
use crate::identity::{AccountRole, Name, OrganizationName};
use crate::store::{LockoutState, OrganizationRecord, SecuritySettings, UserRecord};

/// Facts of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrganizationView {
    /// Row ID; 1 for `Root`.
    pub id: u64,
    /// Unique name, regardless of case.
    pub name: OrganizationName,
    /// Number of its users.
    pub users: usize,
    /// Creation time.
    pub created_at: String,
}

impl OrganizationView {
    pub(super) fn new(organization: &OrganizationRecord, users: usize) -> Self {
        Self {
            id: organization.id,
            name: organization.name.clone(),
            users,
            created_at: rfc3339(organization.created_at),
        }
    }
}

/// Facts of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserView {
    /// Row ID.
    pub id: u64,
    /// Name of the organization.
    pub organization: OrganizationName,
    /// Name, unique in the organization.
    pub name: Name,
    /// Rights of the user.
    pub role: AccountRole,
    /// Origin: local or ldap.
    pub source: &'static str,
    /// True until the password is changed.
    pub must_change_password: bool,
    /// Linked certificate, ROLE/NAME.
    pub certificate: Option<String>,
    /// True if a login needs the linked certificate.
    pub certificate_required: bool,
    /// Consecutive failed logins.
    pub failed_logins: u32,
    /// End of the lock; `None` while the account is not locked.
    pub locked_until: Option<String>,
    /// Time of the last change of the password.
    pub password_changed_at: Option<String>,
    /// Creation time.
    pub created_at: String,
}

impl UserView {
    pub(super) fn new(
        organization: &OrganizationRecord,
        user: &UserRecord,
        lockout: LockoutState,
        now: OffsetDateTime,
    ) -> Self {
        let facts = &user.facts;
        Self {
            id: user.id,
            organization: organization.name.clone(),
            name: facts.name.clone(),
            role: facts.role,
            source: facts.source.as_str(),
            must_change_password: facts.must_change_password,
            certificate: facts.certificate.as_ref().map(|(role, name)| format!("{role}/{name}")),
            certificate_required: facts.certificate_required,
            failed_logins: lockout.failures,
            locked_until: lockout.locked_until.filter(|until| *until > now).map(rfc3339),
            password_changed_at: facts.password.as_ref().map(|(_, at)| rfc3339(*at)),
            created_at: rfc3339(facts.created_at),
        }
    }
}

/// Lockout of accounts after failed logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LockoutView {
    /// Consecutive failed logins that lock an account.
    pub failed_attempts: u32,
    /// Time that an account stays locked, in seconds.
    pub lockout_duration: i64,
}

/// Text shown before a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BannerView {
    /// The text; empty for none.
    pub text: String,
    /// True if the text is shown.
    pub enabled: bool,
}

/// Lifetimes of tokens, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenLifetimesView {
    /// Lifetime of access tokens.
    pub access_token: i64,
    /// Lifetime of refresh tokens.
    pub refresh_token: i64,
    /// Longest lifetime of an access token that a user may ask for.
    pub access_token_maximum: i64,
    /// Longest lifetime of a refresh token that a user may ask for.
    pub refresh_token_maximum: i64,
}

impl From<&SecuritySettings> for LockoutView {
    fn from(settings: &SecuritySettings) -> Self {
        Self {
            failed_attempts: settings.failed_attempts,
            lockout_duration: settings.lockout_duration.whole_seconds(),
        }
    }
}

impl From<&SecuritySettings> for BannerView {
    fn from(settings: &SecuritySettings) -> Self {
        Self { text: settings.banner.clone(), enabled: settings.banner_enabled }
    }
}

impl From<&SecuritySettings> for TokenLifetimesView {
    fn from(settings: &SecuritySettings) -> Self {
        let seconds = Duration::whole_seconds;
        Self {
            access_token: seconds(settings.access_token),
            refresh_token: seconds(settings.refresh_token),
            access_token_maximum: seconds(settings.access_token_maximum),
            refresh_token_maximum: seconds(settings.refresh_token_maximum),
        }
    }
}
