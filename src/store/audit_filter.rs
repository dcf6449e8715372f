//! Conditions on audit entries, and the query for them.

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use time::OffsetDateTime;

use super::error::StoreError;
use super::inventory::Inventory;
use super::row;
use crate::audit::AuditEntry;
use crate::identity::UserReference;

/// Conditions on audit entries to list; the default matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Entries after this number.
    pub after: u64,
    /// Recorded at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Recorded before this time.
    pub until: Option<OffsetDateTime>,
    /// Shell pattern of the actor.
    pub actor: Option<String>,
    /// Shell pattern of the action.
    pub action: Option<String>,
    /// Shell pattern of the target: ROLE/NAME, a serial number, or the target as recorded.
    pub target: Option<String>,
    /// A user, in any case: entries that it made, and entries about it.
    pub user: Option<UserReference>,
    /// The newest entries of all that match.
    pub newest: Option<u64>,
}

impl Inventory {
    /// Pass the audit entries that match `filter` to `each`, in their order.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn list_audit<E: From<StoreError>>(
        &self,
        filter: &AuditFilter,
        each: impl FnMut(AuditEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sql, values) = audit_sql(filter);
        self.stream(&sql, params_from_iter(values), row::entry, each)
    }
}

/// Query for the entries that match `filter`, and its values. Entries are read in their order, or backwards if only the
/// newest are wanted. Nothing else is indexed, since each index would slow every change down.
fn audit_sql(filter: &AuditFilter) -> (String, Vec<Value>) {
    let mut conditions = vec!["seq > ?"];
    let mut values = vec![Value::from(row::to_integer(filter.after))];
    for (condition, time) in [("at >= ?", filter.since), ("at < ?", filter.until)] {
        if let Some(time) = time {
            conditions.push(condition);
            // A fraction of a second counts as the next second: entries are dated in whole seconds.
            let seconds = time.unix_timestamp().saturating_add(i64::from(time.nanosecond() > 0));
            values.push(Value::from(seconds));
        }
    }
    for (condition, pattern) in [("actor GLOB ?", &filter.actor), ("action GLOB ?", &filter.action)] {
        if let Some(pattern) = pattern {
            conditions.push(condition);
            values.push(Value::from(pattern.clone()));
        }
    }
    if let Some(pattern) = &filter.target {
        conditions.push(
            "(target GLOB ? OR target GLOB ? OR \
             (details ->> '$.role') || '/' || (details ->> '$.name') GLOB ?)",
        );
        let recorded = Value::from(pattern.clone());
        values.extend([recorded.clone(), Value::from(format!("*/{pattern}")), recorded]);
    }
    if let Some(user) = &filter.user {
        // The actor of a change over the API begins with the user; the target of an entry about a user is the user.
        conditions.push("(instr(lower(actor), lower(?)) = 1 OR lower(target) = lower(?))");
        values.extend([Value::from(format!("{user}@")), Value::from(user.to_string())]);
    }
    let conditions = conditions.join(" AND ");
    let all = row::ENTRY;
    let sql = match filter.newest {
        None => format!("SELECT {all} FROM audit WHERE {conditions} ORDER BY seq"),
        Some(count) => {
            values.push(Value::from(row::to_integer(count)));
            format!(
                "SELECT {all} FROM audit WHERE seq IN \
                 (SELECT seq FROM audit WHERE {conditions} ORDER BY seq DESC LIMIT ?) ORDER BY seq"
            )
        }
    };
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn entries_are_read_in_their_order_and_not_sorted() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let at = Some(OffsetDateTime::UNIX_EPOCH);
        let text = Some("a*".to_owned());
        let all = AuditFilter {
            after: 3,
            since: at,
            until: at,
            actor: text.clone(),
            action: text.clone(),
            target: text,
            user: Some("alice".parse().unwrap()),
            newest: None,
        };
        for filter in [AuditFilter::default(), all.clone(), AuditFilter { newest: Some(5), ..all }] {
            let (question, values) = audit_sql(&filter);
            let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
            let steps = statement.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
            for step in steps.map(|step: rusqlite::Result<String>| step.unwrap()) {
                assert!(!step.contains("TEMP B-TREE"), "{question}: {step}");
            }
        }
    }
}
