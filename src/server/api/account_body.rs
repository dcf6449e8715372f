//! Bodies about accounts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::{BannerView, LockoutView, OrganizationView, TlsView, TokenLifetimesView, UserView};

/// Organization of a user in a query.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganizationQuery {
    /// Organization; by default the caller's own.
    pub(super) org: Option<String>,
}

/// User name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    /// User name.
    pub(super) username: String,
    /// Present password.
    pub(super) password: String,
    /// Organization; `Root` by default.
    pub(super) org: Option<String>,
}

/// Refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshBody {
    /// Refresh token of the last login or refresh. It is used up.
    pub(super) refresh_token: String,
}

/// Tokens of a session.
#[derive(Serialize, ToSchema)]
pub(super) struct TokensBody {
    /// Access token for `Authorization: Bearer`.
    pub(super) access_token: String,
    /// `Bearer`.
    pub(super) token_type: &'static str,
    /// Lifetime of the access token in seconds.
    pub(super) expires_in: i64,
    /// Refresh token, valid once.
    pub(super) refresh_token: String,
    /// True if the password must be changed before anything else.
    pub(super) password_change_required: bool,
}

/// Wish for a token for scripts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateTokenBody {
    /// Lifetime in seconds; 30 days by default.
    pub(super) timeout: Option<i64>,
}

/// Token for scripts.
#[derive(Serialize, ToSchema)]
pub(super) struct GeneratedTokenBody {
    /// Access token for `Authorization: Bearer`.
    pub(super) access_token: String,
    /// `Bearer`.
    pub(super) token_type: &'static str,
    /// Expiry.
    #[schema(format = DateTime)]
    pub(super) expires_at: String,
}

/// Answer without content.
#[derive(Serialize, ToSchema)]
pub(super) struct EmptyBody {}

/// User to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUserBody {
    /// Name, unique in the organization.
    pub(super) name: String,
    /// `cluster-admin`, `org-admin`, `regular` or `read-only`.
    pub(super) role: String,
    /// First password.
    pub(super) password: String,
    /// Organization; by default the caller's own.
    pub(super) org: Option<String>,
    /// True, the default, if the password must be changed at the first login.
    pub(super) must_change_password: Option<bool>,
}

/// Fields of a user to replace; an absent one stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChangeBody {
    /// New role.
    pub(super) role: Option<String>,
    /// Identity of the linked certificate, such as `api-user/alice`; empty for none.
    pub(super) certificate: Option<String>,
    /// True if a login needs the linked certificate.
    pub(super) certificate_required: Option<bool>,
}

/// New password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordBody {
    /// Present password, for the caller's own account.
    pub(super) old_password: Option<String>,
    /// Held to the password rules of the accounts.
    pub(super) new_password: String,
    /// True, the default, if another user must change it at the next login.
    pub(super) must_change_password: Option<bool>,
}

/// Facts about a user.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountBody {
    id: u64,
    organization: String,
    name: String,
    /// `cluster-admin`, `org-admin`, `regular` or `read-only`.
    role: String,
    /// `local` or `ldap`.
    source: String,
    must_change_password: bool,
    /// Identity of the linked certificate.
    certificate: Option<String>,
    certificate_required: bool,
    failed_logins: u32,
    /// End of a lock.
    #[schema(format = DateTime)]
    locked_until: Option<String>,
    #[schema(format = DateTime)]
    password_changed_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<UserView> for AccountBody {
    fn from(user: UserView) -> Self {
        Self {
            id: user.id,
            organization: user.organization.to_string(),
            name: user.name.to_string(),
            role: user.role.to_string(),
            source: user.source.to_owned(),
            must_change_password: user.must_change_password,
            certificate: user.certificate,
            certificate_required: user.certificate_required,
            failed_logins: user.failed_logins,
            locked_until: user.locked_until,
            password_changed_at: user.password_changed_at,
            created_at: user.created_at,
        }
    }
}

/// Users that the caller may see.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountsBody {
    pub(super) items: Vec<AccountBody>,
}

/// Request to create an organization, or to rename one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganizationNameBody {
    /// Letters, digits and `-._`.
    pub(super) name: String,
}

/// Facts about an organization.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationBody {
    id: u64,
    name: String,
    /// Number of its users.
    users: usize,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<OrganizationView> for OrganizationBody {
    fn from(organization: OrganizationView) -> Self {
        let OrganizationView { id, name, users, created_at } = organization;
        Self { id, name: name.to_string(), users, created_at }
    }
}

/// Organizations that the caller may see.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationsBody {
    pub(super) items: Vec<OrganizationBody>,
}

/// Settings to replace; an absent one stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LockoutChangeBody {
    /// Failed logins that lock an account, 2 to 50.
    pub(super) failed_attempts: Option<u32>,
    /// Duration of a lock in seconds, 30 to 3600.
    pub(super) lockout_duration: Option<i64>,
}

/// Lockout after failed logins.
#[derive(Serialize, ToSchema)]
pub(super) struct LockoutBody {
    failed_attempts: u32,
    /// In seconds.
    lockout_duration: i64,
}

impl From<LockoutView> for LockoutBody {
    fn from(view: LockoutView) -> Self {
        Self { failed_attempts: view.failed_attempts, lockout_duration: view.lockout_duration }
    }
}

/// Change of the login banner.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BannerChangeBody {
    /// Text of at most 4096 bytes.
    pub(super) text: Option<String>,
    /// True to show the text before a login.
    pub(super) enabled: Option<bool>,
}

/// Login banner.
#[derive(Serialize, ToSchema)]
pub(super) struct BannerBody {
    text: String,
    enabled: bool,
}

impl From<BannerView> for BannerBody {
    fn from(view: BannerView) -> Self {
        Self { text: view.text, enabled: view.enabled }
    }
}

/// Certificate for the server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsChangeBody {
    /// Certificate chain in PEM, the server's own first.
    pub(super) certificate: String,
    /// Private key in PEM, not encrypted.
    pub(super) private_key: String,
}

/// Certificate that the server presents.
#[derive(Serialize, ToSchema)]
pub(super) struct TlsBody {
    /// True if a certificate was set; otherwise the server presents its own.
    user_defined: bool,
    certificate: Option<TlsCertificateBody>,
}

/// Facts about a certificate that was set for the server.
#[derive(Serialize, ToSchema)]
pub(super) struct TlsCertificateBody {
    subject: String,
    issuer: String,
    /// DNS names and IP addresses.
    names: Vec<String>,
    #[schema(format = DateTime)]
    not_after: String,
    /// SHA-256 of the certificate.
    fingerprint: String,
    /// Certificates in the chain.
    chain: usize,
}

impl From<TlsView> for TlsBody {
    fn from(view: TlsView) -> Self {
        let certificate = view.certificate.map(|certificate| TlsCertificateBody {
            subject: certificate.subject,
            issuer: certificate.issuer,
            names: certificate.names,
            not_after: certificate.not_after,
            fingerprint: certificate.fingerprint.to_string(),
            chain: certificate.chain,
        });
        Self { user_defined: view.user_defined, certificate }
    }
}

/// Change of the lifetimes of tokens, in seconds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LifetimesChangeBody {
    pub(super) access_token: Option<i64>,
    pub(super) refresh_token: Option<i64>,
    pub(super) access_token_maximum: Option<i64>,
    pub(super) refresh_token_maximum: Option<i64>,
}

/// Lifetimes of tokens, in seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct LifetimesBody {
    access_token: i64,
    refresh_token: i64,
    access_token_maximum: i64,
    refresh_token_maximum: i64,
}

impl From<TokenLifetimesView> for LifetimesBody {
    fn from(view: TokenLifetimesView) -> Self {
        Self {
            access_token: view.access_token,
            refresh_token: view.refresh_token,
            access_token_maximum: view.access_token_maximum,
            refresh_token_maximum: view.refresh_token_maximum,
        }
    }
}
