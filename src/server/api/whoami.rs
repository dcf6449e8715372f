//! `whoami`: the caller, as the server sees it.

use axum::extract::Extension;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{ApiCaller, RequestContext};
use super::extract::respond;
use super::problem::Problem;
use crate::clock::rfc3339;
use crate::error::Code;

/// Caller of the request: the holder of a certificate, or a user.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct WhoamiBody {
    /// Identity in the certificate, such as `api-user/alice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// The same identity as a SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_id: Option<String>,
    /// Name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Organization of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    /// `local` or `ldap`, for a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// True if the password of the user must be changed before anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    must_change_password: Option<bool>,
    /// `cluster-admin`, `org-admin`, `regular` or `read-only`.
    role: String,
    /// Serial number of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    /// Expiry of the certificate.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// Address that the request comes from.
    address: String,
}

/// The caller.
pub(super) async fn show(Extension(context): Extension<RequestContext>) -> Result<Response, Problem> {
    let address = context.client.remote.ip().to_string();
    let body = match &*context.caller {
        ApiCaller::Operator(caller) => WhoamiBody {
            identity: Some(format!("{}/{}", caller.identity.role, caller.identity.name)),
            spiffe_id: Some(caller.identity.to_string()),
            role: caller.role.to_string(),
            serial_number: Some(caller.serial_number.to_string()),
            not_after: Some(rfc3339(caller.not_after)),
            address,
            ..WhoamiBody::default()
        },
        ApiCaller::User(caller) => WhoamiBody {
            name: Some(caller.user.name.to_string()),
            organization: Some(caller.user.organization.to_string()),
            source: Some(caller.user.source.to_owned()),
            must_change_password: Some(caller.user.must_change_password),
            role: caller.user.role.to_string(),
            address,
            ..WhoamiBody::default()
        },
        _ => {
            let code = Code::refused("server.no_credentials");
            return Err(Problem::new(StatusCode::UNAUTHORIZED, code, "the request has no credentials"));
        }
    };
    respond(StatusCode::OK, &body)
}
