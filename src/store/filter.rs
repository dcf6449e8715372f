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
    /// Shell pattern of the label, case-sensitive.
    pub label: Option<String>,
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
    /// Leave out certificates that were replaced.
    pub newest: bool,
    /// Order; `None` for that of the index that answers the query.
    pub order: Option<ListOrder>,
}

/// Order of listed certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// By name, then by role.
    Name,
    /// By end of validity. Reserved serial numbers, which have none, come first.
    Expiry,
    /// Oldest first.
    Oldest,
    /// Newest first.
    Newest,
}

/// Start of a shell pattern before its first wildcard.
fn literal_prefix(pattern: Option<&str>) -> &str {
    pattern.and_then(|pattern| pattern.split(['*', '?', '[']).next()).unwrap_or_default()
}

/// Bounds of the texts that start with `prefix`, for an index.
fn range_of(prefix: &str) -> [Value; 2] {
    [Value::from(prefix.to_owned()), Value::from(format!("{prefix}{}", char::MAX))]
}

/// Query for the certificates that match `filter`, and its values; only those that follow the row `after` in its order.
pub(super) fn list_sql(filter: &Filter, after: Option<i64>, now: OffsetDateTime) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE"];
    let mut values = Vec::new();
    let prefix = literal_prefix(filter.name.as_deref());
    if let Some(pattern) = &filter.name {
        conditions.push("name GLOB ?");
        values.push(Value::from(pattern.clone()));
    }
    if !prefix.is_empty() {
        conditions.push("name >= ? AND name < ?");
        values.extend(range_of(prefix));
    }
    let label_prefix = literal_prefix(filter.label.as_deref());
    if let Some(pattern) = &filter.label {
        conditions.push("label GLOB ?");
        values.push(Value::from(pattern.clone()));
    }
    if !label_prefix.is_empty() {
        conditions.push("label >= ? AND label < ?");
        values.extend(range_of(label_prefix));
    }
    if let Some(role) = filter.role {
        // The sign keeps SQLite from ordering by less than the columns of an index that it walks.
        conditions.push("+role = ?");
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

    const BY_NAME: (&str, &str) = ("INDEXED BY certificate_by_name", "name, role, id");
    const BY_EXPIRY: (&str, &str) = ("INDEXED BY certificate_by_expiry", "not_after, id");
    const REVOKED: (&str, &str) = ("INDEXED BY certificate_revoked", "issuer, serial");
    let status = filter.status;
    let is_unrevoked = filter.expires_before.is_some()
        || matches!(status, Some(RecordStatus::Valid | RecordStatus::Expired));
    // The order is that of the index, so nothing is sorted and the first row comes at once.
    let (index, order) = match filter.order {
        Some(ListOrder::Name) => BY_NAME,
        Some(ListOrder::Oldest) => ("NOT INDEXED", "id"),
        Some(ListOrder::Newest) => ("NOT INDEXED", "id DESC"),
        Some(ListOrder::Expiry) if is_unrevoked => BY_EXPIRY,
        Some(ListOrder::Expiry) => return (sorted_by_expiry(&conditions.join(" AND ")), values),
        None if !prefix.is_empty() => BY_NAME,
        None if !label_prefix.is_empty() => ("INDEXED BY certificate_by_label", "label, id"),
        None if filter.expires_before.is_some() || status == Some(RecordStatus::Expired) => BY_EXPIRY,
        None if filter.reason.is_some() || status == Some(RecordStatus::Revoked) => REVOKED,
        None => ("NOT INDEXED", "id"),
    };
    let mut conditions = conditions.join(" AND ");
    if let Some(after) = after {
        conditions.push_str(&format!(" AND ({order}) > (SELECT {order} FROM certificate WHERE id = ?)"));
        values.push(Value::from(after));
    }
    (format!("SELECT {} FROM certificate {index} WHERE {conditions} ORDER BY {order}", row::RECORD), values)
}

/// The index by expiry lacks revoked certificates. SQLite sorts the row IDs alone, in a temporary file if there are
/// many. `LIMIT` keeps it from sorting whole rows instead.
fn sorted_by_expiry(conditions: &str) -> String {
    format!(
        "SELECT {} FROM (SELECT id AS sorted FROM certificate NOT INDEXED WHERE {conditions} \
         ORDER BY not_after, id LIMIT -1) CROSS JOIN certificate ON certificate.id = sorted",
        row::RECORD
    )
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
        let orders = [None, Some(ListOrder::Name), Some(ListOrder::Oldest), Some(ListOrder::Newest)];
        let names = [None, Some("al*"), Some("*"), Some("")];
        for (name, order) in names.into_iter().flat_map(|name| orders.map(|order| (name, order))) {
            for status in RecordStatus::ALL.into_iter().map(Some).chain([None]) {
                for expires_before in [None, Some(NOW)] {
                    for role in [None, Some(Role::GATEWAY)] {
                        let filter = Filter {
                            role,
                            name: name.map(str::to_owned),
                            status,
                            expires_before,
                            newest: role.is_some(),
                            order,
                            label: role.map(|_| "web*".to_owned()),
                            ..Filter::default()
                        };
                        for after in [None, order.is_none().then_some(7)] {
                            let (question, values) = list_sql(&filter, after, NOW);
                            let mut statement =
                                transaction.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
                            let steps =
                                statement.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
                            let steps: Vec<String> = steps.map(Result::unwrap).collect();
                            let plan = steps.join("; ");
                            assert!(!plan.contains("TEMP B-TREE"), "{question}: {plan}");
                            // The rows before `after` are not read again.
                            assert!(after.is_none() || plan.starts_with("SEARCH"), "{question}: {plan}");
                        }
                    }
                }
            }
        }
    }
}
