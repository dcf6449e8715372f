//! `audit`: entries of the audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{parsed, query, respond};
use super::page::{bad_cursor, limit};
use super::problem::Problem;
use crate::audit::AuditEntry;
use crate::ca::Cluster;
use crate::clock::{parse_time, rfc3339};
use crate::server::shared::ServerShared;
use crate::store::AuditFilter;

/// Part of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<usize>,
    /// `next` of the page before, or the number of an entry: those after it are listed.
    cursor: Option<String>,
    /// Only entries after this number.
    after: Option<u64>,
    /// Only entries of this time or later (RFC 3339, or a date).
    since: Option<String>,
    /// Only entries before this time.
    until: Option<String>,
    /// Only this actor, with `*` and `?` as in a shell.
    actor: Option<String>,
    /// Only this action, such as `certificate.issue`, with `*` and `?` as in a shell.
    action: Option<String>,
    /// Only this target: role and name, or a serial number, with `*` and `?` as in a shell.
    target: Option<String>,
    /// Only what this user, such as `Root/alice`, did, and what was done to its account.
    user: Option<String>,
    /// Only as many of the newest entries.
    newest: Option<u64>,
}

impl AuditQuery {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let cursor: Option<u64> =
            parsed("cursor", self.cursor.as_deref(), str::parse).map_err(|_| bad_cursor())?;
        Ok(AuditFilter {
            after: cursor.max(self.after).unwrap_or(0),
            since: parsed("since", self.since.as_deref(), parse_time)?,
            until: parsed("until", self.until.as_deref(), parse_time)?,
            actor: self.actor.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            user: parsed("user", self.user.as_deref(), str::parse)?,
            newest: self.newest,
        })
    }
}

/// Entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntryBody {
    /// Number, from 1.
    seq: u64,
    /// Time of the change.
    #[schema(format = DateTime)]
    at: String,
    /// Account and host, or caller, address and request.
    actor: String,
    /// Kind of change, such as `certificate.revoke`.
    action: String,
    /// Changed object.
    target: String,
    /// `success` or `failure`.
    outcome: String,
    /// Reason given by the actor.
    reason: Option<String>,
    /// Facts of the change.
    #[schema(value_type = Object)]
    details: serde_json::Value,
    /// Hash of the entry and all before it.
    hash: String,
}

impl From<AuditEntry> for AuditEntryBody {
    fn from(entry: AuditEntry) -> Self {
        let event = entry.event;
        Self {
            seq: entry.seq,
            at: rfc3339(event.provenance.at),
            actor: event.provenance.actor.to_string(),
            action: event.action.to_string(),
            target: event.target,
            outcome: event.outcome.to_string(),
            reason: event.provenance.reason,
            details: event.details,
            hash: entry.hash.to_string(),
        }
    }
}

/// Some entries of the audit log, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The entries.
    items: Vec<AuditEntryBody>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of the audit log.
pub(super) async fn list(State(shared): State<Arc<ServerShared>>, uri: Uri) -> Result<Response, Problem> {
    let asked: AuditQuery = query(&uri)?;
    let (filter, limit) = (asked.filter()?, limit(asked.limit)?);
    let page = shared.home.query(move |cluster: &Cluster, _| {
        let (entries, more) = cluster.audit_page(&filter, limit)?;
        let next = entries.last().filter(|_| more).map(|entry| entry.seq.to_string());
        Ok::<_, Problem>(AuditPage { items: entries.into_iter().map(Into::into).collect(), next })
    });
    respond(StatusCode::OK, &page.await?)
}
