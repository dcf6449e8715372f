//! Table of all endpoints.

use axum::routing::{get, post};
use utoipa::IntoParams;

use super::access::EndpointAccess;
use super::audit::{self, AuditPage, AuditQuery};
use super::certificate_body::{CertificateDetailsBody, CertificatePage};
use super::certificate_changes::{
    self, HoldBody, IssueBody, IssuedBody, RenewBody, RevocationBody, RevokeBody,
};
use super::certificates::{self, ListQuery};
use super::crl::{self, CrlBody};
use super::endpoint::{AnswerKind, ApiEndpoint, BodySchema, Verb};
use super::forecast::{self, ForecastBody, ForecastQuery};
use super::openapi;
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
        access: EndpointAccess::ANY_ROLE,
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
