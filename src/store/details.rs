//! Audit entries of rows.

use serde_json::{Value, json};

use super::cluster::ClusterRecord;
use super::issuer::CurrentCrl;
use super::record::Record;
use crate::clock::rfc3339;
use crate::x509::{Certificate, KeyIdentifier};

/// Audit details of the creation of a cluster; see [`issue_details`].
pub(super) fn initialize_details(
    cluster: &ClusterRecord,
    issuer: &KeyIdentifier,
    root: &Certificate,
) -> Value {
    json!({
        "uuid": cluster.uuid.to_string(),
        "trust_domain": cluster.trust_domain,
        "issuer": issuer,
        "fingerprint": root.fingerprint(),
    })
}

/// Audit details of a CRL; see [`issue_details`].
pub(super) fn crl_details(crl: &CurrentCrl) -> Value {
    json!({
        "crl_number": crl.number,
        "this_update": rfc3339(crl.this_update),
        "next_update": rfc3339(crl.next_update),
        "sha256": crl.sha256,
    })
}

/// Audit target of a certificate.
pub(super) fn target(record: &Record) -> String {
    record.id().to_string()
}

/// Audit details of the issue of a certificate. They derive from the row, so the row can be compared with them at
/// any time.
pub(super) fn issue_details(record: &Record) -> Value {
    let Some(issue) = &record.issue else { return Value::Null };
    json!({
        "role": record.reservation.role,
        "name": record.reservation.name,
        "profile": record.reservation.profile,
        "not_before": rfc3339(issue.not_before),
        "not_after": rfc3339(issue.not_after),
        "fingerprint": issue.fingerprint,
        "public_key": issue.public_key,
        "supersedes": record.reservation.supersedes.as_ref().map(ToString::to_string),
    })
}

/// Audit details of a revocation, hold or release; see [`issue_details`].
pub(super) fn revocation_details(record: &Record) -> Value {
    let identity = json!({ "role": record.reservation.role, "name": record.reservation.name });
    let Some(revocation) = &record.revocation else { return identity };
    json!({
        "role": record.reservation.role,
        "name": record.reservation.name,
        "revoked_at": rfc3339(revocation.at),
        "reason": revocation.reason,
    })
}
