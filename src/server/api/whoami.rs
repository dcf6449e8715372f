//! `whoami`: the caller, as the server sees it.

use axum::extract::Extension;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::RequestContext;
use super::extract::respond;
use super::problem::Problem;
use crate::clock::rfc3339;
use crate::error::Code;

/// Caller of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WhoamiBody {
    /// Identity in the certificate, such as `api-user/alice`.
    identity: String,
    /// The same identity as a SPIFFE ID.
    spiffe_id: String,
    /// `cluster-admin`, `org-admin`, `regular` or `read-only`.
    role: String,
    /// Serial number of the certificate.
    serial_number: String,
    /// Expiry of the certificate.
    #[schema(format = DateTime)]
    not_after: String,
    /// Address that the request comes from.
    address: String,
}

/// The caller.
pub(super) async fn show(Extension(context): Extension<RequestContext>) -> Result<Response, Problem> {
    let code = Code::refused("server.no_credentials");
    let missing = || Problem::new(StatusCode::UNAUTHORIZED, code, "the request has no credentials");
    let caller = context.caller.holder().ok_or_else(missing)?;
    respond(
        StatusCode::OK,
        &WhoamiBody {
            identity: format!("{}/{}", caller.identity.role, caller.identity.name),
            spiffe_id: caller.identity.to_string(),
            role: caller.role.to_string(),
            serial_number: caller.serial_number.to_string(),
            not_after: rfc3339(caller.not_after),
            address: context.client.remote.ip().to_string(),
        },
    )
}
