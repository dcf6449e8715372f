//! Queries of accounts, inside and outside of a transaction.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::account::{
    LockoutState, LoginSession, OrganizationRecord, SecuritySettings, UnknownLogins, UserRecord,
};
use super::error::StoreError;
use super::inventory::Inventory;
use super::row;
use super::transaction::Transaction;
use crate::identity::{Name, OrganizationName, Role};

/// Read access to organizations, users, sessions and settings.
#[derive(Clone, Copy, Debug)]
pub struct AccountRows<'a> {
    sql: &'a Connection,
}

impl Inventory {
    /// The accounts, as of now.
    #[must_use]
    pub fn accounts(&self) -> AccountRows<'_> {
        AccountRows { sql: &self.sql }
    }
}

impl Transaction<'_> {
    /// The accounts, as of the changes so far.
    #[must_use]
    pub fn accounts(&self) -> AccountRows<'_> {
        AccountRows { sql: &self.sql }
    }
}

impl AccountRows<'_> {
    /// All organizations: `Root`, then the others by name.
    pub fn organizations(&self) -> Result<Vec<OrganizationRecord>, StoreError> {
        let sql = format!("SELECT {} FROM organization ORDER BY id <> 1, name", row::ORGANIZATION);
        self.collect(&sql, [], row::organization)
    }

    /// The organization of this name, in any case.
    pub fn organization(&self, name: &OrganizationName) -> Result<Option<OrganizationRecord>, StoreError> {
        let sql = format!("SELECT {} FROM organization WHERE name = ?1", row::ORGANIZATION);
        Ok(self.collect(&sql, [name.as_str()], row::organization)?.pop())
    }

    /// The organization of this row ID.
    pub fn organization_by_id(&self, id: u64) -> Result<Option<OrganizationRecord>, StoreError> {
        let sql = format!("SELECT {} FROM organization WHERE id = ?1", row::ORGANIZATION);
        Ok(self.collect(&sql, [row::to_integer(id)], row::organization)?.pop())
    }

    /// All users, or those of one organization, in the order of their names.
    pub fn users(&self, organization: Option<u64>) -> Result<Vec<UserRecord>, StoreError> {
        let sql = format!(
            "SELECT {} FROM user WHERE ?1 IS NULL OR organization = ?1 ORDER BY organization, name",
            row::USER
        );
        self.collect(&sql, [organization.map(row::to_integer)], row::user)
    }

    /// The user of this name in an organization.
    pub fn user(&self, organization: u64, name: &Name) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("SELECT {} FROM user WHERE organization = ?1 AND name = ?2", row::USER);
        let values = params![row::to_integer(organization), name.as_str()];
        Ok(self.collect(&sql, values, row::user)?.pop())
    }

    /// The user of this row ID.
    pub fn user_by_id(&self, id: u64) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("SELECT {} FROM user WHERE id = ?1", row::USER);
        Ok(self.collect(&sql, [row::to_integer(id)], row::user)?.pop())
    }

    /// The user that a certificate is linked to.
    pub fn user_by_certificate(&self, role: Role, name: &Name) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("SELECT {} FROM user WHERE certificate = ?1", row::USER);
        Ok(self.collect(&sql, [format!("{role}/{name}")], row::user)?.pop())
    }

    /// Failed logins of a user.
    pub fn lockout(&self, organization: u64, name: &Name) -> Result<LockoutState, StoreError> {
        let sql = format!("SELECT {} FROM lockout WHERE organization = ?1 AND name = ?2", row::LOCKOUT);
        let values = params![row::to_integer(organization), name.as_str()];
        Ok(self.collect(&sql, values, row::lockout)?.pop().unwrap_or_default())
    }

    /// Failed logins of users that do not exist.
    pub fn unknown_logins(&self) -> Result<UnknownLogins, StoreError> {
        let sql = "SELECT id, attempts, noted_at FROM unknown_login";
        self.sql.query_row_and_then(sql, [], row::unknown_logins)
    }

    /// Settings of logins and tokens.
    pub fn security(&self) -> Result<SecuritySettings, StoreError> {
        self.sql.query_row_and_then(&format!("SELECT {} FROM security", row::SECURITY), [], row::security)
    }

    /// Audit entry of the settings.
    pub(super) fn security_entry(&self) -> Result<u64, StoreError> {
        let entry: i64 = self.sql.query_row("SELECT entry FROM security", [], |row| row.get(0))?;
        Ok(entry.unsigned_abs())
    }

    /// The session that a selector (SHA-256) refers to.
    pub fn session(&self, selector: &[u8; 32]) -> Result<Option<LoginSession>, StoreError> {
        let sql = format!("SELECT {} FROM session WHERE selector = ?1", row::SESSION);
        Ok(self.collect(&sql, [selector.as_slice()], row::session)?.pop())
    }

    /// The session that access tokens with this ID belong to.
    pub fn session_by_token(&self, token_id: &[u8; 16]) -> Result<Option<LoginSession>, StoreError> {
        let sql = format!("SELECT {} FROM session WHERE token_id = ?1", row::SESSION);
        Ok(self.collect(&sql, [token_id.as_slice()], row::session)?.pop())
    }

    /// Sessions of a user, oldest first.
    pub fn sessions(&self, user: u64) -> Result<Vec<LoginSession>, StoreError> {
        let sql = format!("SELECT {} FROM session WHERE user = ?1 ORDER BY id", row::SESSION);
        self.collect(&sql, [row::to_integer(user)], row::session)
    }

    /// Row ID for the next row of a table.
    pub(super) fn next_id(&self, table: &'static str) -> Result<u64, StoreError> {
        let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {table}");
        let id: Option<i64> = self.sql.query_row(&sql, [], |row| row.get(0)).optional()?;
        Ok(id.unwrap_or(1).unsigned_abs())
    }

    pub(super) const fn sql(&self) -> &Connection {
        self.sql
    }

    pub(super) fn collect<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.sql.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }
}
