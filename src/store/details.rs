//! Audit entries of rows.

use std::path::Path;

use serde_json::{Value, json};

use super::account::{OrganizationRecord, SecuritySettings, UserRecord};
use super::cluster::ClusterRecord;
use super::issuer::CurrentCrl;
use super::record::{Issuance, Record, Reservation};
use crate::clock::rfc3339;
use crate::x509::{Certificate, KeyIdentifier, Sha256};

/// Fields with the paths of the files, which a renewal replaces.
const CERTIFICATE_PATH: &str = "certificate_path";
const KEY_PATH: &str = "key_path";

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
pub(super) fn issue_details(reservation: &Reservation, issue: &Issuance) -> Value {
    let mut details = json!({
        "role": reservation.role,
        "name": reservation.name,
        "profile": reservation.profile,
        "not_before": rfc3339(issue.not_before),
        "not_after": rfc3339(issue.not_after),
        "fingerprint": issue.fingerprint,
        "public_key": issue.public_key,
        "supersedes": reservation.supersedes.as_ref().map(ToString::to_string),
        CERTIFICATE_PATH: reservation.certificate_path.to_string_lossy(),
        KEY_PATH: reservation.key_path.as_deref().map(Path::to_string_lossy),
    });
    // Entries from before labels existed have no such key.
    if let Some(label) = &reservation.label {
        details["label"] = json!(label);
    }
    details
}

/// Test whether the entry of an issue agrees with the row. The entries of version 0.1.0 have no paths, and a key that
/// was deleted has none any more.
pub(super) fn is_issue_of(recorded: &Value, record: &Record) -> bool {
    let Some(issue) = &record.issue else { return false };
    let expected = issue_details(&record.reservation, issue);
    let (Some(fields), Some(rows)) = (recorded.as_object(), expected.as_object()) else { return false };
    let agrees = |(key, expected): (&String, &Value)| match fields.get(key) {
        None => key == CERTIFICATE_PATH || key == KEY_PATH,
        Some(found) => found == expected || (key == KEY_PATH && record.key_forgotten.is_some()),
    };
    rows.iter().all(agrees) && fields.keys().all(|key| rows.contains_key(key))
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

/// Audit details of an organization; see [`issue_details`].
pub(super) fn organization_details(organization: &OrganizationRecord) -> Value {
    json!({
        "id": organization.id,
        "name": organization.name,
        "created_at": rfc3339(organization.created_at),
    })
}

/// Audit details of a user; see [`issue_details`]. The hash of the password is recorded by its own hash.
pub(super) fn user_details(user: &UserRecord) -> Value {
    let facts = &user.facts;
    let password = facts.password.as_ref();
    let mut details = json!({
        "id": user.id,
        "organization": facts.organization,
        "user": facts.name,
        "user_role": facts.role,
        "source": facts.source.as_str(),
        "password": password.map(|(hash, _)| Sha256::of(hash.0.as_bytes())),
        "password_changed_at": password.map(|(_, at)| rfc3339(*at)),
        "must_change_password": facts.must_change_password,
        "certificate": facts.certificate.as_ref().map(|(role, name)| format!("{role}/{name}")),
        "certificate_required": facts.certificate_required,
        "tokens_from": rfc3339(facts.tokens_from),
        "created_at": rfc3339(facts.created_at),
    });
    // Entries from before directories, and those of local users, have no such key.
    if let Some(entry) = &facts.ldap_entry {
        details["ldap_entry"] = json!(entry);
    }
    details
}

/// Audit details of the settings of logins and tokens; see [`issue_details`].
pub(super) fn security_details(settings: &SecuritySettings) -> Value {
    json!({
        "failed_attempts": settings.failed_attempts,
        "lockout_duration": settings.lockout_duration.whole_seconds(),
        "banner": settings.banner,
        "banner_enabled": settings.banner_enabled,
        "access_token": settings.access_token.whole_seconds(),
        "refresh_token": settings.refresh_token.whole_seconds(),
        "access_token_maximum": settings.access_token_maximum.whole_seconds(),
        "refresh_token_maximum": settings.refresh_token_maximum.whole_seconds(),
        "console_timeout": settings.console_timeout.whole_seconds(),
    })
}
