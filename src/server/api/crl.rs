//! `crl`: the CRL of the cluster, as facts, PEM and DER.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::header::{ETAG, HeaderMap};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{respond, with_type};
use super::precondition::{self, is_known, tag};
use super::problem::Problem;
use crate::ca::{CaError, Cluster};
use crate::clock::rfc3339;
use crate::revocation::Crl;
use crate::server::shared::ServerShared;
use crate::x509::pem;

/// Media type of a CRL in DER (RFC 2585, section 4.2).
pub(super) const CRL_DER: &str = "application/pkix-crl";
/// Media type of a CRL in PEM.
pub(super) const CRL_PEM: &str = "application/x-pem-file";

/// CRL in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CrlBody {
    /// Key identifier of the issuer.
    issuer: String,
    /// CRL number.
    number: String,
    /// Issue time.
    #[schema(format = DateTime)]
    this_update: String,
    /// Time by which the next one is issued.
    #[schema(format = DateTime)]
    next_update: String,
    /// Number of revoked certificates.
    revoked: usize,
    /// SHA-256 of the CRL in DER.
    sha256: String,
}

/// Facts about the CRL.
pub(super) async fn show(
    State(shared): State<Arc<ServerShared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&shared, &headers, "application/json", |crl, _| {
        respond(
            StatusCode::OK,
            &CrlBody {
                issuer: crl.issuer.to_string(),
                number: crl.number.to_string(),
                this_update: rfc3339(crl.this_update),
                next_update: rfc3339(crl.next_update),
                revoked: crl.len(),
                sha256: crl.sha256.to_string(),
            },
        )
    })
    .await
}

/// The CRL as PEM.
pub(super) async fn download_pem(
    State(shared): State<Arc<ServerShared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&shared, &headers, CRL_PEM, |_, der| {
        Ok(with_type(StatusCode::OK, CRL_PEM, pem::pem(pem::ObjectKind::Crl.label(), &der)))
    })
    .await
}

/// The CRL as DER.
pub(super) async fn download_der(
    State(shared): State<Arc<ServerShared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&shared, &headers, CRL_DER, |_, der| Ok(with_type(StatusCode::OK, CRL_DER, der))).await
}

async fn answer(
    shared: &Arc<ServerShared>,
    headers: &HeaderMap,
    media_type: &'static str,
    write: impl FnOnce(Crl, Vec<u8>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let (file, now) = (shared.home.home().crl(), shared.clock.now());
    let read = shared.home.query(move |cluster: &Cluster, _| {
        cluster.read_crl(&file, now).map_err(|error: CaError| Problem::of(&error))
    });
    let (crl, der) = read.await?;
    let tag = tag(&crl.sha256);
    let mut response = match is_known(headers, &tag) {
        true => with_type(StatusCode::NOT_MODIFIED, media_type, ""),
        false => write(crl, der)?,
    };
    response.headers_mut().insert(ETAG, precondition::header(&tag));
    Ok(response)
}
