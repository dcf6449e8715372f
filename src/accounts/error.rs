//! Refusals about accounts.

use std::fmt;

use time::Duration;

use crate::ca::{CaError, TlsPairError};
use crate::clock::{EntropyError, format_duration};
use crate::error::{Code, Coded};
use crate::identity::{AccountRole, IdentityError};
use crate::ldap::LdapError;
use crate::store::StoreError;
use crate::tokens::{StatementError, TokenError};

/// An operation on accounts that was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The text of the login banner is too long.
    #[error("the login banner has {length} bytes; at most {limit} are allowed")]
    BannerLength {
        /// Given length in bytes.
        length: usize,
        /// Longest text in bytes.
        limit: usize,
    },
    /// The text of the login banner could change the display of a terminal.
    #[error("the login banner has the character `{}`; line breaks are the only control characters allowed", found.escape_default())]
    BannerCharacter {
        /// First character that is not allowed.
        found: char,
    },
    /// The home or its inventory.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The certificate is linked to another account.
    #[error("{certificate} is linked to the user {user}")]
    CertificateLinked {
        /// Identity of the certificate.
        certificate: String,
        /// Name of the other user.
        user: String,
    },
    /// A login cannot require a certificate that is not linked.
    #[error("{user} has no linked certificate that a login could require")]
    NoCertificate {
        /// Name of the user.
        user: String,
    },
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The stored hash of a password cannot be used.
    #[error("the password of {user} cannot be verified: its stored hash is not one that this program makes")]
    Hash {
        /// Name of the user.
        user: String,
    },
    /// Argon2 could not hash a password.
    #[error("a password could not be hashed")]
    Hashing {
        /// Error of the library.
        source: argon2::password_hash::Error,
    },
    /// Invalid name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory fails or refuses.
    #[error(transparent)]
    Ldap(#[from] LdapError),
    /// Another change of the directory was faster.
    #[error("the settings of the directory were changed meanwhile")]
    LdapChanged,
    /// The stored password of the reader cannot be decrypted.
    #[error(
        "the password of the directory's reader does not open: it was changed, or the key ldap.key was replaced"
    )]
    LdapReaderPassword,
    /// The role of a user of a directory comes from its groups.
    #[error("{user} is a user of a directory, whose groups decide on the role")]
    LdapRole {
        /// Name of the user.
        user: String,
    },
    /// A setting of a directory is not valid.
    #[error("the {setting} of the directory cannot be {given:?}: {why}")]
    LdapSetting {
        /// Refused setting, for people.
        setting: &'static str,
        /// Violated rule.
        why: &'static str,
        /// The given text.
        given: String,
    },
    /// Unknown user, wrong password, missing certificate or locked account: the answer does not tell which.
    #[error("invalid user name or password")]
    LoginRefused,
    /// The organization has no directory.
    #[error("the organization {organization} has no directory")]
    NoLdap {
        /// Name of the organization.
        organization: String,
    },
    /// The change would leave no user who can manage the cluster.
    #[error("{user} is the last cluster-admin")]
    LastClusterAdmin {
        /// Name of the user.
        user: String,
    },
    /// The role does not permit the operation.
    #[error("the role {role} may not {operation}")]
    NotAllowed {
        /// Role of the caller.
        role: AccountRole,
        /// Refused operation.
        operation: &'static str,
    },
    /// Users cannot do this to their own account.
    #[error("users cannot {operation} themselves")]
    OwnAccount {
        /// Refused operation.
        operation: &'static str,
    },
    /// Tokens are revoked in the home, but the statement for gateways could not be signed.
    #[error("the change is recorded, but cluster.tokens could not be signed: gateways do not know of it yet")]
    NotInStatement {
        /// Reason.
        source: Box<AccountError>,
    },
    /// The user has no password here.
    #[error("{user} is a user of a directory, which keeps the password")]
    NotLocal {
        /// Name of the user.
        user: String,
    },
    /// The name is taken.
    #[error("the organization {name} already exists")]
    OrganizationExists {
        /// The name, as recorded.
        name: String,
    },
    /// An organization with users is not deleted.
    #[error("the organization {name} has {users} users")]
    OrganizationNotEmpty {
        /// Name of the organization.
        name: String,
        /// Number of its users.
        users: usize,
    },
    /// An organization with a directory is not deleted.
    #[error("the organization {name} has a directory")]
    OrganizationHasLdap {
        /// Name of the organization.
        name: String,
    },
    /// The organization `Root` stays as it is.
    #[error("the organization Root cannot be {operation}")]
    RootOrganization {
        /// Refused operation.
        operation: &'static str,
    },
    /// The password was chosen by another person, and must be changed before anything else.
    #[error("the password must be changed first")]
    PasswordChangeRequired,
    /// The refresh token is unknown, expired, used before, or bound to another certificate.
    #[error("the refresh token is not valid: log in again")]
    RefreshRefused,
    /// Cluster administrators belong to the organization `Root`.
    #[error("a cluster-admin belongs to the organization Root, not to {organization}")]
    RoleOutsideRoot {
        /// Name of the organization.
        organization: String,
    },
    /// A statement about tokens could not be made.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A setting is out of its range.
    #[error("{range}")]
    Setting {
        /// The setting, its range and the given value.
        range: SettingRange,
    },
    /// The certificate of the server cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsPairError),
    /// The token is malformed, expired, of another cluster, or bound to another certificate.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The key for tokens has no valid certificate.
    #[error("the key that signs tokens has no valid certificate")]
    TokenCertificate,
    /// The token was revoked, or its session has ended.
    #[error("the token was revoked: log in again")]
    TokenRevoked,
    /// The limit on organizations is reached.
    #[error("there are {limit} organizations, the most that are supported")]
    TooManyOrganizations {
        /// Most that are supported.
        limit: usize,
    },
    /// The limit on users is reached.
    #[error("there are {limit} users, the most that are supported")]
    TooManyUsers {
        /// Most that are supported.
        limit: usize,
    },
    /// No such organization, or not one that the caller may see.
    #[error("there is no organization {name}")]
    UnknownOrganization {
        /// The given name.
        name: String,
    },
    /// No such user, or not one that the caller may see.
    #[error("there is no user {user} in the organization {organization}")]
    UnknownUser {
        /// The given name.
        user: String,
        /// Name of the organization.
        organization: String,
    },
    /// The name is taken.
    #[error("the user {user} already exists in the organization {organization}")]
    UserExists {
        /// Name of the user.
        user: String,
        /// Name of the organization.
        organization: String,
    },
    /// The new password violates a rule.
    #[error("the password {weakness}")]
    WeakPassword {
        /// The violated rule.
        weakness: PasswordWeakness,
    },
}

/// Rule that a new password violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordWeakness {
    /// Known from lists of stolen passwords.
    #[error("is a common one, or a common word with digits around it")]
    Common,
    /// Cannot be typed.
    #[error("has a control character, or is not text")]
    Control,
    /// Longer than any password.
    #[error("is longer than 256 bytes")]
    Long,
    /// No digit and no special character.
    #[error("needs a digit or a special character")]
    NoDigitOrSpecial,
    /// No lower-case letter.
    #[error("needs a lower-case letter")]
    NoLowerCase,
    /// No upper-case letter.
    #[error("needs an upper-case letter")]
    NoUpperCase,
    /// Shorter than 8 characters.
    #[error("needs at least 8 characters")]
    Short,
    /// The same as before.
    #[error("is the present one")]
    Unchanged,
    /// The name of the user, or made from it.
    #[error("contains the user name")]
    UserName,
}

/// A setting with its range and the refused value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingRange {
    /// A number.
    Count {
        /// Name of the setting.
        name: &'static str,
        /// Refused value.
        given: u32,
        /// Smallest value.
        least: u32,
        /// Largest value.
        most: u32,
    },
    /// A duration.
    Time {
        /// Name of the setting.
        name: &'static str,
        /// Refused value.
        given: Duration,
        /// Shortest duration.
        least: Duration,
        /// Longest duration.
        most: Duration,
    },
}

impl fmt::Display for SettingRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count { name, given, least, most } => {
                write!(f, "the {name} must be {least} to {most}; {given} was given")
            }
            Self::Time { name, given, least, most } => write!(
                f,
                "the {name} must be {} to {}; {} was given",
                format_duration(least),
                format_duration(most),
                format_duration(given)
            ),
        }
    }
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        Self::Ca(error.into())
    }
}

impl Coded for AccountError {
    fn coded(&self) -> Code {
        match self {
            Self::BannerLength { .. } | Self::BannerCharacter { .. } => Code::usage("input.banner"),
            Self::Ca(error) => error.coded(),
            Self::CertificateLinked { .. } => Code::refused("account.certificate_linked"),
            Self::NoCertificate { .. } => Code::refused("account.no_certificate"),
            Self::Entropy(error) => error.coded(),
            Self::Hash { .. } => Code::environment("account.password_hash"),
            Self::Hashing { .. } => Code::environment("account.hashing"),
            Self::Identity(error) => error.coded(),
            Self::LastClusterAdmin { .. } => Code::refused("account.last_cluster_admin"),
            Self::Ldap(error) => error.coded(),
            Self::LdapChanged => Code::refused("ldap.changed"),
            Self::LdapReaderPassword => Code::environment("ldap.reader_password"),
            Self::LdapRole { .. } => Code::refused("account.ldap_role"),
            Self::LdapSetting { .. } => Code::usage("input.ldap"),
            Self::NoLdap { .. } => Code::refused("account.no_ldap"),
            Self::OrganizationHasLdap { .. } => Code::refused("account.organization_has_ldap"),
            Self::LoginRefused => Code::refused("account.login_refused"),
            Self::NotAllowed { .. } => Code::refused("account.not_allowed"),
            Self::OwnAccount { .. } => Code::refused("account.own_account"),
            Self::NotInStatement { .. } => Code::environment("tokens.not_signed"),
            Self::NotLocal { .. } => Code::refused("account.not_local"),
            Self::OrganizationExists { .. } => Code::refused("account.organization_exists"),
            Self::OrganizationNotEmpty { .. } => Code::refused("account.organization_not_empty"),
            Self::PasswordChangeRequired => Code::refused("account.password_change_required"),
            Self::RefreshRefused => Code::refused("account.refresh_refused"),
            Self::RootOrganization { .. } => Code::refused("account.root_organization"),
            Self::RoleOutsideRoot { .. } => Code::refused("account.role_outside_root"),
            Self::Setting { .. } => Code::usage("input.setting"),
            Self::Statement(error) => error.coded(),
            Self::Tls(error) => error.coded(),
            Self::Token(error) => error.coded(),
            Self::TokenCertificate => Code::environment("tokens.no_certificate"),
            Self::TokenRevoked => Code::refused("account.token_revoked"),
            Self::TooManyOrganizations { .. } => Code::refused("account.too_many_organizations"),
            Self::TooManyUsers { .. } => Code::refused("account.too_many_users"),
            Self::UnknownOrganization { .. } => Code::refused("account.unknown_organization"),
            Self::UnknownUser { .. } => Code::refused("account.unknown_user"),
            Self::UserExists { .. } => Code::refused("account.user_exists"),
            Self::WeakPassword { .. } => Code::refused("account.weak_password"),
        }
    }
}
