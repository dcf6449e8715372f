//! Conditions on listed certificates, and the query for them.

use rusqlite::types::Value;
use time::OffsetDateTime;

use super::row;
use super::status::RecordStatus;
use crate::identity::Role;
use crate::revocation::RevocationReason;

/// Conditions on certificates to list; the default matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `None` for every role.
    pub role: Option<Role>,
    /// Shell pattern of the name (`*`, `?`, `[a-z]`), case-sensitive.
    pub name: Option<String>,
    /// `None` for every status.
    pub status: Option<RecordStatus>,
    /// Not revoked, with a notAfter before this time.
    pub expires_before: Option<OffsetDateTime>,
    /// Issued at this time or later.
    pub issued_after: Option<OffsetDateTime>,
    /// Issued before this time.
    pub issued_before: Option<OffsetDateTime>,
    /// Revocation reason.
    pub reason: Option<RevocationReason>,
    /// Leaves out certificates that were replaced.
    pub newest: bool,
}

/// Query for the certificates that match `filter`, and its values.
pub(super) fn list_sql(filter: &Filter, now: OffsetDateTime) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE"];
    let mut values = Vec::new();
    let prefix =
        filter.name.as_deref().and_then(|pattern| pattern.split(['*', '?', '[']).next()).unwrap_or_default();
    if let Some(pattern) = &filter.name {
        conditions.push("name GLOB ?");
        values.push(Value::from(pattern.clone()));
    }
    if !prefix.is_empty() {
        conditions.push("name >= ? AND name < ?");
        values.extend([Value::from(prefix.to_owned()), Value::from(format!("{prefix}{}", char::MAX))]);
    }
    if let Some(role) = filter.role {
        conditions.push("role = ?");
        values.push(Value::from(role.as_str().to_owned()));
    }
    if let Some(time) = filter.expires_before {
        conditions.push("revoked_at IS NULL AND not_after < ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(time) = filter.issued_after {
        conditions.push("issue_entry IS NOT NULL AND reserved_at >= ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(time) = filter.issued_before {
        conditions.push("issue_entry IS NOT NULL AND reserved_at < ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(reason) = filter.reason {
        conditions.push("revoked_at IS NOT NULL AND revocation_reason = ?");
        values.push(Value::from(i64::from(reason.code())));
    }
    if filter.newest {
        conditions.push(
            "NOT EXISTS (SELECT 1 FROM certificate AS new \
             WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL)",
        );
    }
    let by_status = match filter.status {
        None => None,
        Some(RecordStatus::Reserved) => Some("issue_entry IS NULL"),
        Some(RecordStatus::Valid) => Some("revoked_at IS NULL AND not_after >= ?"),
        Some(RecordStatus::Expired) => Some("revoked_at IS NULL AND not_after < ?"),
        Some(RecordStatus::Revoked) => Some("revoked_at IS NOT NULL"),
    };
    conditions.extend(by_status);
    if matches!(filter.status, Some(RecordStatus::Valid | RecordStatus::Expired)) {
        values.push(Value::from(now.unix_timestamp()));
    }

    // The order is that of the index, so nothing is sorted and the first row comes at once.
    let (index, order) = if !prefix.is_empty() {
        ("INDEXED BY certificate_by_name", "name, role")
    } else if filter.expires_before.is_some() || filter.status == Some(RecordStatus::Expired) {
        ("INDEXED BY certificate_by_expiry", "not_after, id")
    } else {
        match filter.status {
            _ if filter.reason.is_some() => ("INDEXED BY certificate_revoked", "issuer, serial"),
            Some(RecordStatus::Revoked) => ("INDEXED BY certificate_revoked", "issuer, serial"),
            _ => ("NOT INDEXED", "id"),
        }
    };
    let conditions = conditions.join(" AND ");
    (format!("SELECT {} FROM certificate {index} WHERE {conditions} ORDER BY {order}", row::RECORD), values)
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;
    use time::macros::datetime;

    use super::super::schema;
    use super::*;

    const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

    #[test]
    fn every_filter_has_a_plan_that_sorts_nothing() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        for name in [None, Some("al*"), Some("*"), Some("")] {
            for status in RecordStatus::ALL.into_iter().map(Some).chain([None]) {
                for expires_before in [None, Some(NOW)] {
                    for role in [None, Some(Role::GATEWAY)] {
                        let filter = Filter {
                            role,
                            name: name.map(str::to_owned),
                            status,
                            expires_before,
                            newest: role.is_some(),
                            ..Filter::default()
                        };
                        let (question, values) = list_sql(&filter, NOW);
                        let mut statement =
                            transaction.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
                        let steps = statement.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
                        for step in steps.map(|step: rusqlite::Result<String>| step.unwrap()) {
                            assert!(!step.contains("TEMP B-TREE"), "{question}: {step}");
                        }
                    }
                }
            }
        }
    }
}
