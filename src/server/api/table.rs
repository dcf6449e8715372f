//! Table of all endpoints.

use axum::routing::{delete, get, patch, post, put};
use utoipa::IntoParams;

use super::access::EndpointAccess;
use super::account_body::{
    AccountBody, AccountsBody, BannerBody, BannerChangeBody, EmptyBody, GenerateTokenBody,
    GeneratedTokenBody, LifetimesBody, LifetimesChangeBody, LockoutBody, LockoutChangeBody, LoginBody,
    NewUserBody, OrganizationBody, OrganizationNameBody, OrganizationQuery, OrganizationsBody, PasswordBody,
    RefreshBody, TlsBody, TlsChangeBody, TokensBody, UserChangeBody,
};
use super::audit::{self, AuditPage, AuditQuery};
use super::certificate_body::{CertificateDetailsBody, CertificatePage};
use super::certificate_changes::{
    self, HoldBody, IssueBody, IssuedBody, RenewBody, RevocationBody, RevokeBody,
};
use super::certificates::{self, ListQuery};
use super::crl::{self, CrlBody};
use super::endpoint::{AnswerKind, ApiEndpoint, BodySchema, Verb};
use super::forecast::{self, ForecastBody, ForecastQuery};
use super::ldap;
use super::ldap_body::{LdapBody, LdapSettingsBody, LdapTestBody, LdapTestedBody};
use super::logins;
use super::openapi;
use super::security;
use super::users;
use super::whoami::{self, WhoamiBody};

/// Every endpoint, those of one path together.
pub(super) static ENDPOINTS: &[ApiEndpoint] = &[
    ApiEndpoint {
        summary: "Description of this API",
        access: EndpointAccess::Public,
        answer: AnswerKind::File("application/json"),
        ..reads("/api/v1/openapi.json", "openapi", || get(openapi::show))
    },
    ApiEndpoint {
        summary: "The caller, as the server sees it",
        access: EndpointAccess::Account,
        answer: AnswerKind::Json(BodySchema::of::<WhoamiBody>()),
        ..reads("/api/v1/whoami", "whoami", || get(whoami::show))
    },
    ApiEndpoint {
        summary: "List certificates",
        query: Some(|| ListQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<CertificatePage>()),
        ..reads("/api/v1/certificates", "list_certificates", || get(certificates::list))
    },
    ApiEndpoint {
        summary: "Issue a certificate for the key in a CSR",
        body: Some(BodySchema::of::<IssueBody>()),
        answer: AnswerKind::Created(BodySchema::of::<IssuedBody>()),
        ..changes("/api/v1/certificates", "issue_certificate", || post(certificate_changes::issue))
    },
    ApiEndpoint {
        summary: "Show one certificate with its history",
        answer: AnswerKind::Json(BodySchema::of::<CertificateDetailsBody>()),
        ..reads("/api/v1/certificates/{serial}", "show_certificate", || get(certificates::show))
    },
    ApiEndpoint {
        summary: "Download one certificate",
        answer: AnswerKind::File(certificates::PEM),
        ..reads("/api/v1/certificates/{serial}/pem", "download_certificate", || get(certificates::download))
    },
    ApiEndpoint {
        summary: "Renew a certificate; it stays valid until it expires or is revoked",
        body: Some(BodySchema::of::<RenewBody>()),
        answer: AnswerKind::Created(BodySchema::of::<IssuedBody>()),
        conditional: true,
        ..changes("/api/v1/certificates/{serial}/renew", "renew_certificate", || {
            post(certificate_changes::renew)
        })
    },
    ApiEndpoint {
        summary: "Revoke a certificate permanently, and sign a new CRL",
        body: Some(BodySchema::of::<RevokeBody>()),
        conditional: true,
        ..changes("/api/v1/certificates/{serial}/revoke", "revoke_certificate", || {
            post(certificate_changes::revoke)
        })
    },
    ApiEndpoint {
        summary: "Suspend a certificate (CRL reason certificateHold)",
        body: Some(BodySchema::of::<HoldBody>()),
        conditional: true,
        ..changes("/api/v1/certificates/{serial}/hold", "hold_certificate", || {
            post(certificate_changes::hold)
        })
    },
    ApiEndpoint {
        summary: "Lift the hold on a certificate",
        body: Some(BodySchema::of::<HoldBody>()),
        conditional: true,
        ..changes("/api/v1/certificates/{serial}/release", "release_certificate", || {
            post(certificate_changes::release)
        })
    },
    ApiEndpoint {
        summary: "Facts about the CRL",
        access: EndpointAccess::ANY_ROLE,
        answer: AnswerKind::Json(BodySchema::of::<CrlBody>()),
        ..reads("/api/v1/crl", "show_crl", || get(crl::show))
    },
    ApiEndpoint {
        summary: "Download the CRL as PEM",
        access: EndpointAccess::ANY_ROLE,
        answer: AnswerKind::File(crl::CRL_PEM),
        ..reads("/api/v1/crl/pem", "download_crl_pem", || get(crl::download_pem))
    },
    ApiEndpoint {
        summary: "Download the CRL as DER",
        access: EndpointAccess::ANY_ROLE,
        answer: AnswerKind::File(crl::CRL_DER),
        ..reads("/api/v1/crl/der", "download_crl_der", || get(crl::download_der))
    },
    ApiEndpoint {
        summary: "List the entries of the audit log",
        query: Some(|| AuditQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AuditPage>()),
        ..reads("/api/v1/audit", "list_audit", || get(audit::list))
    },
    ApiEndpoint {
        summary: "Upcoming expirations",
        query: Some(|| ForecastQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<ForecastBody>()),
        ..reads("/api/v1/forecast", "forecast", || get(forecast::show))
    },
    ApiEndpoint {
        summary: "Log in with user name and password",
        access: EndpointAccess::Public,
        body: Some(BodySchema::of::<LoginBody>()),
        answer: AnswerKind::Json(BodySchema::of::<TokensBody>()),
        ..changes("/api/v1/login", "log_in", || post(logins::login))
    },
    ApiEndpoint {
        summary: "Continue a session with its refresh token, which is used up",
        access: EndpointAccess::Public,
        body: Some(BodySchema::of::<RefreshBody>()),
        answer: AnswerKind::Json(BodySchema::of::<TokensBody>()),
        ..changes("/api/v1/login/refresh", "refresh", || post(logins::refresh))
    },
    ApiEndpoint {
        summary: "End the session of the access token",
        access: EndpointAccess::Account,
        answer: AnswerKind::Json(BodySchema::of::<EmptyBody>()),
        ..changes("/api/v1/logout", "log_out", || post(logins::logout))
    },
    ApiEndpoint {
        summary: "Generate an access token for scripts",
        access: EndpointAccess::ANY_ROLE,
        body: Some(BodySchema::of::<GenerateTokenBody>()),
        answer: AnswerKind::Json(BodySchema::of::<GeneratedTokenBody>()),
        ..changes("/api/v1/tokens", "generate_token", || post(logins::generate))
    },
    ApiEndpoint {
        summary: "List users",
        access: EndpointAccess::READ_ACCOUNTS,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AccountsBody>()),
        ..reads("/api/v1/users", "list_users", || get(users::list))
    },
    ApiEndpoint {
        summary: "Create a user",
        access: EndpointAccess::CHANGE_USERS,
        body: Some(BodySchema::of::<NewUserBody>()),
        answer: AnswerKind::Made(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users", "create_user", || post(users::create))
    },
    ApiEndpoint {
        summary: "Show one user",
        access: EndpointAccess::ANY_ROLE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..reads("/api/v1/users/{name}", "show_user", || get(users::show))
    },
    ApiEndpoint {
        summary: "Change the role or the linked certificate of a user",
        verb: Verb::Patch,
        access: EndpointAccess::CHANGE_USERS,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        body: Some(BodySchema::of::<UserChangeBody>()),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users/{name}", "change_user", || patch(users::change))
    },
    ApiEndpoint {
        summary: "Delete a user with its tokens",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE_USERS,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users/{name}", "delete_user", || delete(users::delete))
    },
    ApiEndpoint {
        summary: "Change the caller's own password, or set that of another user",
        verb: Verb::Put,
        access: EndpointAccess::Account,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        body: Some(BodySchema::of::<PasswordBody>()),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users/{name}/password", "set_password", || put(users::set_password))
    },
    ApiEndpoint {
        summary: "Clear the failed logins of a user",
        access: EndpointAccess::CHANGE_USERS,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users/{name}/unlock", "unlock_user", || post(users::unlock))
    },
    ApiEndpoint {
        summary: "Revoke all tokens of a user",
        access: EndpointAccess::ANY_ROLE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<AccountBody>()),
        ..changes("/api/v1/users/{name}/revoke-tokens", "revoke_tokens", || post(users::revoke_tokens))
    },
    ApiEndpoint {
        summary: "List organizations",
        access: EndpointAccess::READ_ACCOUNTS,
        answer: AnswerKind::Json(BodySchema::of::<OrganizationsBody>()),
        ..reads("/api/v1/organizations", "list_organizations", || get(users::list_organizations))
    },
    ApiEndpoint {
        summary: "Create an organization",
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<OrganizationNameBody>()),
        answer: AnswerKind::Made(BodySchema::of::<OrganizationBody>()),
        ..changes("/api/v1/organizations", "create_organization", || post(users::create_organization))
    },
    ApiEndpoint {
        summary: "Rename an organization",
        verb: Verb::Patch,
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<OrganizationNameBody>()),
        answer: AnswerKind::Json(BodySchema::of::<OrganizationBody>()),
        ..changes("/api/v1/organizations/{name}", "rename_organization", || patch(users::rename_organization))
    },
    ApiEndpoint {
        summary: "Delete an organization without users",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        answer: AnswerKind::Json(BodySchema::of::<EmptyBody>()),
        ..changes("/api/v1/organizations/{name}", "delete_organization", || {
            delete(users::delete_organization)
        })
    },
    ApiEndpoint {
        summary: "Show the lockout after failed logins",
        access: EndpointAccess::READ_ACCOUNTS,
        answer: AnswerKind::Json(BodySchema::of::<LockoutBody>()),
        ..reads("/api/v1/security/lockout", "show_lockout", || get(security::show_lockout))
    },
    ApiEndpoint {
        summary: "Change the lockout after failed logins",
        verb: Verb::Put,
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<LockoutChangeBody>()),
        answer: AnswerKind::Json(BodySchema::of::<LockoutBody>()),
        ..changes("/api/v1/security/lockout", "set_lockout", || put(security::set_lockout))
    },
    ApiEndpoint {
        summary: "Restore the default lockout after failed logins",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        answer: AnswerKind::Json(BodySchema::of::<LockoutBody>()),
        ..changes("/api/v1/security/lockout", "reset_lockout", || delete(security::reset_lockout))
    },
    ApiEndpoint {
        summary: "Show the login banner",
        access: EndpointAccess::Public,
        answer: AnswerKind::Json(BodySchema::of::<BannerBody>()),
        ..reads("/api/v1/security/banner", "show_banner", || get(security::show_banner))
    },
    ApiEndpoint {
        summary: "Change the login banner",
        verb: Verb::Put,
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<BannerChangeBody>()),
        answer: AnswerKind::Json(BodySchema::of::<BannerBody>()),
        ..changes("/api/v1/security/banner", "set_banner", || put(security::set_banner))
    },
    ApiEndpoint {
        summary: "Restore the default login banner",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        answer: AnswerKind::Json(BodySchema::of::<BannerBody>()),
        ..changes("/api/v1/security/banner", "reset_banner", || delete(security::reset_banner))
    },
    ApiEndpoint {
        summary: "Show the lifetimes of tokens",
        access: EndpointAccess::READ_ACCOUNTS,
        answer: AnswerKind::Json(BodySchema::of::<LifetimesBody>()),
        ..reads("/api/v1/security/token-lifetimes", "show_lifetimes", || get(security::show_lifetimes))
    },
    ApiEndpoint {
        summary: "Change the lifetimes of tokens",
        verb: Verb::Put,
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<LifetimesChangeBody>()),
        answer: AnswerKind::Json(BodySchema::of::<LifetimesBody>()),
        ..changes("/api/v1/security/token-lifetimes", "set_lifetimes", || put(security::set_lifetimes))
    },
    ApiEndpoint {
        summary: "Restore the default lifetimes of tokens",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        answer: AnswerKind::Json(BodySchema::of::<LifetimesBody>()),
        ..changes("/api/v1/security/token-lifetimes", "reset_lifetimes", || delete(security::reset_lifetimes))
    },
    ApiEndpoint {
        summary: "Show the certificate that was set for the server",
        access: EndpointAccess::READ_ACCOUNTS,
        answer: AnswerKind::Json(BodySchema::of::<TlsBody>()),
        ..reads("/api/v1/security/tls", "show_tls", || get(security::show_tls))
    },
    ApiEndpoint {
        summary: "Set certificate and key of the server; connections stay open",
        verb: Verb::Put,
        access: EndpointAccess::CHANGE,
        body: Some(BodySchema::of::<TlsChangeBody>()),
        answer: AnswerKind::Json(BodySchema::of::<TlsBody>()),
        ..changes("/api/v1/security/tls", "set_tls", || put(security::set_tls))
    },
    ApiEndpoint {
        summary: "Have the server present its own certificate again",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        answer: AnswerKind::Json(BodySchema::of::<TlsBody>()),
        ..changes("/api/v1/security/tls", "unset_tls", || delete(security::unset_tls))
    },
    ApiEndpoint {
        summary: "Download the certificate chain that was set for the server",
        access: EndpointAccess::READ_ACCOUNTS,
        answer: AnswerKind::File(security::PEM_CHAIN),
        ..reads("/api/v1/security/tls/certificate", "download_tls", || get(security::download_tls))
    },
    ApiEndpoint {
        summary: "Show the directory of an organization",
        access: EndpointAccess::READ_ACCOUNTS,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<LdapBody>()),
        ..reads("/api/v1/ldap", "show_ldap", || get(ldap::show))
    },
    ApiEndpoint {
        summary: "Set up the directory of an organization, or replace its settings",
        verb: Verb::Put,
        access: EndpointAccess::CHANGE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        body: Some(BodySchema::of::<LdapSettingsBody>()),
        answer: AnswerKind::Json(BodySchema::of::<LdapBody>()),
        ..changes("/api/v1/ldap", "set_ldap", || put(ldap::set))
    },
    ApiEndpoint {
        summary: "Change settings of the directory of an organization",
        verb: Verb::Patch,
        access: EndpointAccess::CHANGE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        body: Some(BodySchema::of::<LdapSettingsBody>()),
        answer: AnswerKind::Json(BodySchema::of::<LdapBody>()),
        ..changes("/api/v1/ldap", "change_ldap", || patch(ldap::change))
    },
    ApiEndpoint {
        summary: "Remove the directory of an organization, and the accounts of its users",
        verb: Verb::Delete,
        access: EndpointAccess::CHANGE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        answer: AnswerKind::Json(BodySchema::of::<LdapBody>()),
        ..changes("/api/v1/ldap", "reset_ldap", || delete(ldap::reset))
    },
    ApiEndpoint {
        summary: "Test the directory of an organization, and look for a user",
        access: EndpointAccess::CHANGE,
        query: Some(|| OrganizationQuery::into_params(|| None)),
        body: Some(BodySchema::of::<LdapTestBody>()),
        answer: AnswerKind::Json(BodySchema::of::<LdapTestedBody>()),
        ..changes("/api/v1/ldap/test", "test_ldap", || post(ldap::test))
    },
];

/// Endpoint that reads certificates; the table replaces what differs.
const fn reads(path: &'static str, id: &'static str, route: RouteOf) -> ApiEndpoint {
    ApiEndpoint { verb: Verb::Get, access: EndpointAccess::READ, ..plain(path, id, route) }
}

/// Endpoint that changes certificates; the table replaces what differs.
const fn changes(path: &'static str, id: &'static str, route: RouteOf) -> ApiEndpoint {
    ApiEndpoint { verb: Verb::Post, access: EndpointAccess::CHANGE, ..plain(path, id, route) }
}

const fn plain(path: &'static str, id: &'static str, route: RouteOf) -> ApiEndpoint {
    ApiEndpoint {
        verb: Verb::Get,
        path,
        id,
        summary: "",
        access: EndpointAccess::Roles(&[]),
        query: None,
        body: None,
        answer: AnswerKind::Json(BodySchema::of::<RevocationBody>()),
        conditional: false,
        route,
    }
}

type RouteOf = fn() -> axum::routing::MethodRouter<std::sync::Arc<crate::server::shared::ServerShared>>;
