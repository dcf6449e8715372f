//! Accounts: organizations, users, passwords, logins and their settings.
//!
//! Commands, handlers of the API and pages of the console call the same functions of [`Accounts`]. Each names the
//! [`Principal`] on whose behalf it acts, and all rules are here. Every change is one transaction with its audit
//! entry.
//!
//! | file | contents |
//! |---|---|
//! | `directory` | [`Accounts`]: access to the accounts of a home |
//! | `principal` | [`Principal`] and its rights |
//! | `organizations`, `users`, `security` | the operations |
//! | `ldap_settings`, `ldap_lookup` | the directory of an organization, and searches in it |
//! | `ldap_check`, `ldap_login` | logins that a directory verifies |
//! | `login`, `lockout` | [`LoginService`]: passwords against tokens, and the lock after failures |
//! | `first_administrator` | the user `admin` of a home without users |
//! | `password_rules`, `password_hash` | rules for new passwords, and Argon2id |
//! | `statement`, `token_key` | statement by which gateways judge tokens, and its key |
//! | `server_certificate` | the certificate that the server presents |
//! | `views` | results, as people and programs see them |
//! | `error` | [`AccountError`] |

mod directory;
mod error;
mod first_administrator;
mod ldap_check;
mod ldap_login;
mod ldap_lookup;
mod ldap_settings;
mod lockout;
mod login;
mod organizations;
mod password_hash;
mod password_rules;
mod principal;
mod security;
mod server_certificate;
mod statement;
mod token_key;
mod users;
mod views;

#[cfg(test)]
mod tests;

pub use directory::Accounts;
pub use error::{AccountError, PasswordWeakness, SettingRange};
pub use ldap_login::LoginRoute;
pub use ldap_settings::{
    DEFAULT_LDAP_TIMEOUT, LDAP_TIMEOUTS, LdapChange, LdapTestUser, LdapTestView, LdapTrial, LdapView,
    NewLdap, active_directory_settings, ldap_settings,
};
pub use login::{Authenticated, IssuedTokens, LoginService, PasswordLogin, TokenUse, VerifiedCertificate};
pub use principal::Principal;
pub use security::{
    LifetimeChange, LockoutChange, MAXIMUM_BANNER, MAXIMUM_FAILED_ATTEMPTS, MAXIMUM_LOCKOUT,
    MINIMUM_FAILED_ATTEMPTS, MINIMUM_LOCKOUT,
};
pub use server_certificate::{TlsCertificateView, TlsView};
pub use statement::PublishedStatement;
pub use token_key::TokenKeyHolder;
pub use users::{CertificateLink, NewUser, UserChange};
pub use views::{BannerView, LockoutView, OrganizationView, TokenLifetimesView, UserView};
