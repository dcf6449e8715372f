//! Audit entries that revoke tokens.

use super::account_rows::AccountRows;
use super::error::StoreError;
use super::row;
use crate::audit::{Action, AuditEntry};

/// Changes that revoke tokens and leave no row behind that says so.
const WITHOUT_ROW: [Action; 4] =
    [Action::OrganizationRename, Action::TokenReuse, Action::UserDelete, Action::UserLogout];

/// Changes that revoke tokens by the row of a user.
const WITH_ROW: [Action; 3] = [Action::UserPassword, Action::UserRevokeTokens, Action::UserUpdate];

impl AccountRows<'_> {
    /// Number of the last audit entry.
    ///
    /// # Errors
    /// Database errors.
    pub fn last_entry(&self) -> Result<u64, StoreError> {
        let last: i64 =
            self.sql().query_row("SELECT coalesce(max(seq), 0) FROM audit", [], |row| row.get(0))?;
        Ok(last.unsigned_abs())
    }

    /// True if a change after the audit entry `seq` revokes tokens.
    ///
    /// # Errors
    /// Database errors.
    pub fn revokes_tokens_since(&self, seq: u64) -> Result<bool, StoreError> {
        let actions = listed(WITHOUT_ROW.iter().chain(&WITH_ROW));
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM audit WHERE seq > ?1 AND outcome = 'success' AND action IN ({actions}))"
        );
        Ok(self.sql().prepare_cached(&sql)?.query_row([row::to_integer(seq)], |row| row.get(0))?)
    }

    /// Successful changes after the audit entry `seq` that revoke tokens and leave no row behind, in their order.
    ///
    /// # Errors
    /// Database errors; [`StoreError::Inconsistent`] for an entry that was changed.
    pub fn token_events_since(&self, seq: u64) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = format!(
            "SELECT {} FROM audit WHERE seq > ?1 AND outcome = 'success' AND action IN ({}) ORDER BY seq",
            row::ENTRY,
            listed(&WITHOUT_ROW)
        );
        let entries = self.collect(&sql, [row::to_integer(seq)], row::entry)?;
        match entries.iter().find(|entry| !entry.is_intact()) {
            Some(entry) => {
                Err(StoreError::Inconsistent { target: entry.event.target.clone(), entry: entry.seq })
            }
            None => Ok(entries),
        }
    }
}

/// The words of actions as SQL literals.
fn listed<'a>(actions: impl IntoIterator<Item = &'a Action>) -> String {
    let words: Vec<_> = actions.into_iter().map(|action| format!("'{action}'")).collect();
    words.join(", ")
}
