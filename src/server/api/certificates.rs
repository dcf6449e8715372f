//! `certificates`: list, show, download.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{ETAG, HeaderMap};
use http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use super::certificate_body::{CertificateBody, CertificateDetailsBody, CertificatePage};
use super::extract::{parsed, query, respond, target, with_type};
use super::page::{bad_cursor, certificate_cursor, cursor_of, limit};
use super::precondition::{self, etag};
use super::problem::Problem;
use crate::ca::{Cluster, ListSelection};
use crate::clock::{parse_duration, parse_time, rfc3339};
use crate::error::Coded;
use crate::server::shared::ServerShared;
use crate::store::Filter;
use crate::x509::pem;

/// Media type of certificates (RFC 8555, section 9.1).
pub(super) const PEM: &str = "application/pem-certificate-chain";

/// Conditions on listed certificates.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only this role: `control-service`, `node-agent` or `api-user`.
    role: Option<String>,
    /// Only names that match, with `*` and `?` as in a shell.
    name: Option<String>,
    /// Only machines whose label matches, with `*` and `?` as in a shell.
    label: Option<String>,
    /// Only this status: `reserved`, `valid`, `renewed`, `expired`, `on-hold` or `revoked`.
    status: Option<String>,
    /// Only valid ones that expire within this time, such as `30d`.
    expires_within: Option<String>,
    /// Only certificates issued at this time or later (RFC 3339, or a date).
    issued_after: Option<String>,
    /// Only certificates issued before this time.
    issued_before: Option<String>,
    /// Only certificates revoked for this reason, such as `key-compromise`.
    reason: Option<String>,
    /// Omit renewed certificates.
    #[serde(default)]
    newest: bool,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    fn selection(&self, now: time::OffsetDateTime) -> Result<ListSelection, Problem> {
        let within = parsed("expires_within", self.expires_within.as_deref(), parse_duration)?;
        Ok(ListSelection {
            status: parsed("status", self.status.as_deref(), str::parse)?,
            filter: Filter {
                role: parsed("role", self.role.as_deref(), str::parse)?,
                name: self.name.clone(),
                label: self.label.clone(),
                expires_before: within.map(|within| now.saturating_add(within)),
                issued_after: parsed("issued_after", self.issued_after.as_deref(), parse_time)?,
                issued_before: parsed("issued_before", self.issued_before.as_deref(), parse_time)?,
                reason: parsed("reason", self.reason.as_deref(), str::parse)?,
                newest: self.newest,
                ..Filter::default()
            },
        })
    }
}

/// A page of the certificates that match.
pub(super) async fn list(State(shared): State<Arc<ServerShared>>, uri: Uri) -> Result<Response, Problem> {
    let asked: ListQuery = query(&uri)?;
    let now = shared.clock.now();
    let (selection, limit) = (asked.selection(now)?, limit(asked.limit)?);
    let after = asked.cursor.as_deref().map(certificate_cursor).transpose()?;
    let page = shared.home.query(move |cluster: &Cluster, _| {
        let page = cluster.page(&selection, after.as_ref(), limit).map_err(|error| match error.code() {
            "store.unknown_serial" | "store.unknown_issuer" => bad_cursor(),
            _ => error.into(),
        })?;
        let last = page.records.last().filter(|_| page.more);
        Ok::<_, Problem>(CertificatePage {
            next: last.map(|record| cursor_of(&record.id())),
            items: page.records.iter().map(|record| CertificateBody::new(record, cluster, now)).collect(),
        })
    });
    respond(StatusCode::OK, &page.await?)
}

/// One certificate with its history.
pub(super) async fn show(
    State(shared): State<Arc<ServerShared>>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (target, now) = (target(&text)?, shared.clock.now());
    let (body, tag) = shared
        .home
        .query(move |cluster: &Cluster, _| {
            let record = cluster.find(&target)?;
            let details = cluster.details(&record)?;
            let serials = details.lineage.iter().map(|one| one.reservation.serial_number.to_string());
            let body = CertificateDetailsBody {
                certificate: CertificateBody::new(&record, cluster, now),
                profile: record.reservation.profile.to_string(),
                reserved_at: rfc3339(record.reserved_at),
                issued_by: details.issued.as_ref().map(|issued| issued.actor.to_string()),
                why: details.issued.and_then(|issued| issued.reason),
                key_forgotten_at: details.key_forgotten_at.map(rfc3339),
                lineage: serials.collect(),
            };
            Ok::<_, Problem>((body, etag(&record)))
        })
        .await?;
    let mut response = match precondition::is_known(&headers, &tag) {
        true => with_type(StatusCode::NOT_MODIFIED, "application/json", ""),
        false => respond(StatusCode::OK, &body)?,
    };
    response.headers_mut().insert(ETAG, precondition::header(&tag));
    Ok(response)
}

/// One certificate as PEM.
pub(super) async fn download(
    State(shared): State<Arc<ServerShared>>,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    let target = target(&text)?;
    let text = shared.home.query(move |cluster: &Cluster, _| {
        let record = cluster.find(&target)?;
        let certificate =
            cluster.inventory().certificate(&record.issuer, record.reservation.serial_number)?;
        Ok::<_, Problem>(pem::pem(pem::ObjectKind::Certificate.label(), &certificate.der))
    });
    Ok(with_type(StatusCode::OK, PEM, text.await?))
}
