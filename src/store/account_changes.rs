//! Changes of accounts, each with its audit entry.

use rusqlite::{OptionalExtension, named_params, params};
use time::{Duration, OffsetDateTime};

use super::account::{
    LockoutState, LoginSession, OrganizationRecord, SecuritySettings, UnknownLogins, UserFacts, UserRecord,
};
use super::details::{organization_details, security_details, user_details};
use super::error::StoreError;
use super::row;
use super::transaction::Transaction;
use crate::audit::{Action, Outcome};
use crate::identity::{Name, OrganizationName};

impl Transaction<'_> {
    /// Record the migration of an older inventory. From version 1 on, there are accounts.
    pub(super) fn record_migration(self, from: u32, to: u32) -> Result<Self, StoreError> {
        let details = serde_json::json!({ "from": from, "to": to });
        let entry = self.head().next_seq();
        let at = self.provenance().at;
        let migrated =
            self.record(Action::InventoryMigrate, "ca.db".to_owned(), Outcome::Success, details)?;
        match from {
            1 => migrated.create_account_defaults(at, entry),
            _ => Ok(migrated),
        }
    }

    /// Create the organization that always exists and the default settings, as part of the change in `entry`.
    pub(super) fn create_account_defaults(self, at: OffsetDateTime, entry: u64) -> Result<Self, StoreError> {
        let (at, entry) = (at.unix_timestamp(), row::to_integer(entry));
        self.sql.execute(
            "INSERT INTO organization (id, name, created_at, entry) VALUES (?1, ?2, ?3, ?4)",
            params![row::to_integer(OrganizationRecord::ROOT), OrganizationName::ROOT, at, entry],
        )?;
        self.sql.execute("INSERT INTO unknown_login (id, attempts, noted_at) VALUES (1, 0, 0)", [])?;
        let settings = SecuritySettings::default();
        self.sql.execute(
            "INSERT INTO security (id, failed_attempts, lockout_seconds, banner, banner_enabled, access_seconds, \
             refresh_seconds, access_maximum, refresh_maximum, console_seconds, entry) \
             VALUES (1, 0, 0, '', 0, 0, 0, 0, 0, 0, ?1)",
            [entry],
        )?;
        self.write_security(&settings, entry)?;
        Ok(self)
    }

    /// Create an organization.
    ///
    /// # Errors
    /// Database errors, above all for a name that is taken.
    pub fn create_organization(
        mut self,
        name: &OrganizationName,
    ) -> Result<(Self, OrganizationRecord), StoreError> {
        let organization = OrganizationRecord {
            id: self.accounts().next_id("organization")?,
            name: name.clone(),
            created_at: whole_second(self.provenance().at),
            entry: self.head().next_seq(),
        };
        let details = organization_details(&organization);
        self.append(Action::OrganizationCreate, name.to_string(), Outcome::Success, details)?;
        self.sql.execute(
            "INSERT INTO organization (id, name, created_at, entry) VALUES (?1, ?2, ?3, ?4)",
            params![
                row::to_integer(organization.id),
                name.as_str(),
                organization.created_at.unix_timestamp(),
                row::to_integer(organization.entry),
            ],
        )?;
        Ok((self, organization))
    }

    /// Rename an organization.
    ///
    /// # Errors
    /// Database errors, above all for a name that is taken.
    pub fn rename_organization(
        mut self,
        organization: &OrganizationRecord,
        name: &OrganizationName,
    ) -> Result<(Self, OrganizationRecord), StoreError> {
        let before = &organization.name;
        let renamed =
            OrganizationRecord { name: name.clone(), entry: self.head().next_seq(), ..organization.clone() };
        let mut details = organization_details(&renamed);
        details["before"] = before.as_str().into();
        self.append(Action::OrganizationRename, name.to_string(), Outcome::Success, details)?;
        self.sql.execute(
            "UPDATE organization SET name = ?1, entry = ?2 WHERE id = ?3",
            params![name.as_str(), row::to_integer(renamed.entry), row::to_integer(renamed.id)],
        )?;
        Ok((self, renamed))
    }

    /// Delete an organization that has no users.
    ///
    /// # Errors
    /// Database errors, above all while it has users.
    pub fn delete_organization(mut self, organization: &OrganizationRecord) -> Result<Self, StoreError> {
        let details = organization_details(organization);
        self.append(Action::OrganizationDelete, organization.name.to_string(), Outcome::Success, details)?;
        self.sql.execute("DELETE FROM organization WHERE id = ?1", [row::to_integer(organization.id)])?;
        Ok(self)
    }

    /// Create a user.
    ///
    /// # Errors
    /// Database errors, above all for a name that is taken.
    pub fn create_user(
        mut self,
        organization: &OrganizationRecord,
        mut facts: UserFacts,
    ) -> Result<(Self, UserRecord), StoreError> {
        let id = self.accounts().next_id("user")?;
        let target = format!("{}/{}", organization.name, facts.name);
        // Tokens of a deleted user of this name may be dated ahead of the clock.
        let deleted: Option<i64> = self
            .sql
            .prepare_cached(
                "SELECT unixepoch(json_extract(details, '$.tokens_from')) FROM audit \
                 WHERE action = ?1 AND target = ?2 ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([Action::UserDelete.as_str(), &target], |row| row.get(0))
            .optional()?
            .flatten();
        if let Some(last) = deleted.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) {
            facts.tokens_from = facts.tokens_from.max(last.saturating_add(Duration::SECOND));
        }
        let user = UserRecord { id, facts, entry: self.head().next_seq() };
        self.append(Action::UserCreate, target, Outcome::Success, user_details(&user))?;
        self.sql
            .prepare_cached(
                "INSERT INTO user (id, organization, name, role, source, password, password_changed_at, \
                 must_change_password, certificate, certificate_required, tokens_from, ldap_entry, created_at, entry) \
                 VALUES (:id, :organization, :name, :role, :source, :password, :password_changed_at, \
                 :must_change_password, :certificate, :certificate_required, :tokens_from, :ldap_entry, :created_at, \
                 :entry)",
            )?
            .execute(named_params! {
                ":id": row::to_integer(user.id),
                ":organization": row::to_integer(user.facts.organization),
                ":name": user.facts.name.as_str(),
                ":role": user.facts.role.as_str(),
                ":source": user.facts.source.as_str(),
                ":password": user.facts.password.as_ref().map(|(hash, _)| hash.0.as_str()),
                ":password_changed_at": user.facts.password.as_ref().map(|(_, at)| at.unix_timestamp()),
                ":must_change_password": user.facts.must_change_password,
                ":certificate": certificate_text(&user.facts),
                ":certificate_required": user.facts.certificate_required,
                ":tokens_from": user.facts.tokens_from.unix_timestamp(),
                ":ldap_entry": user.facts.ldap_entry.map(|entry| entry.0),
                ":created_at": user.facts.created_at.unix_timestamp(),
                ":entry": row::to_integer(user.entry),
            })?;
        Ok((self, user))
    }

    /// Write the changed facts of a user. Name, organization and origin stay.
    ///
    /// # Errors
    /// Database errors, above all for a certificate that is linked to another user.
    pub fn change_user(
        mut self,
        organization: &OrganizationRecord,
        user: &mut UserRecord,
        action: Action,
    ) -> Result<Self, StoreError> {
        user.entry = self.head().next_seq();
        let target = format!("{}/{}", organization.name, user.facts.name);
        self.append(action, target, Outcome::Success, user_details(user))?;
        self.sql
            .prepare_cached(
                "UPDATE user SET role = :role, password = :password, password_changed_at = :password_changed_at, \
                 must_change_password = :must_change_password, certificate = :certificate, \
                 certificate_required = :certificate_required, tokens_from = :tokens_from, \
                 ldap_entry = :ldap_entry, entry = :entry \
                 WHERE id = :id",
            )?
            .execute(named_params! {
                ":id": row::to_integer(user.id),
                ":role": user.facts.role.as_str(),
                ":password": user.facts.password.as_ref().map(|(hash, _)| hash.0.as_str()),
                ":password_changed_at": user.facts.password.as_ref().map(|(_, at)| at.unix_timestamp()),
                ":must_change_password": user.facts.must_change_password,
                ":certificate": certificate_text(&user.facts),
                ":certificate_required": user.facts.certificate_required,
                ":tokens_from": user.facts.tokens_from.unix_timestamp(),
                ":ldap_entry": user.facts.ldap_entry.map(|entry| entry.0),
                ":entry": row::to_integer(user.entry),
            })?;
        Ok(self)
    }

    /// Delete a user with its sessions and failed logins.
    pub fn delete_user(
        mut self,
        organization: &OrganizationRecord,
        user: &UserRecord,
    ) -> Result<Self, StoreError> {
        let target = format!("{}/{}", organization.name, user.facts.name);
        self.append(Action::UserDelete, target, Outcome::Success, user_details(user))?;
        self.sql.execute("DELETE FROM user WHERE id = ?1", [row::to_integer(user.id)])?;
        self.set_lockout(user.facts.organization, &user.facts.name, LockoutState::default())
    }

    /// Write the failed logins of a user. They have no audit entry: the caller records what they mean.
    pub fn set_lockout(
        self,
        organization: u64,
        name: &Name,
        state: LockoutState,
    ) -> Result<Self, StoreError> {
        let organization = row::to_integer(organization);
        if state == LockoutState::default() {
            self.sql
                .prepare_cached("DELETE FROM lockout WHERE organization = ?1 AND name = ?2")?
                .execute(params![organization, name.as_str()])?;
            return Ok(self);
        }
        self.sql
            .prepare_cached(
                "INSERT INTO lockout (organization, name, failures, locked_until, attempts) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE \
                 SET failures = ?3, locked_until = ?4, attempts = ?5",
            )?
            .execute(params![
                organization,
                name.as_str(),
                state.failures,
                state.locked_until.map(OffsetDateTime::unix_timestamp),
                row::to_integer(state.attempts),
            ])?;
        Ok(self)
    }

    /// Forget the failed logins of all users.
    pub fn clear_lockouts(self) -> Result<Self, StoreError> {
        self.sql.execute("DELETE FROM lockout", [])?;
        Ok(self)
    }

    /// Write the failed logins of users that do not exist.
    pub fn set_unknown_logins(self, unknown: UnknownLogins) -> Result<Self, StoreError> {
        self.sql
            .prepare_cached("UPDATE unknown_login SET attempts = ?1, noted_at = ?2")?
            .execute(params![row::to_integer(unknown.attempts), unknown.noted_at.unix_timestamp()])?;
        Ok(self)
    }

    /// Write the settings of logins and tokens. `target` names the changed part.
    pub fn set_security(mut self, target: &str, settings: &SecuritySettings) -> Result<Self, StoreError> {
        let details = security_details(settings);
        let entry = self.append(Action::SecuritySet, target.to_owned(), Outcome::Success, details)?;
        self.write_security(settings, row::to_integer(entry))?;
        Ok(self)
    }

    fn write_security(&self, settings: &SecuritySettings, entry: i64) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE security SET failed_attempts = ?1, lockout_seconds = ?2, banner = ?3, banner_enabled = ?4, \
             access_seconds = ?5, refresh_seconds = ?6, access_maximum = ?7, refresh_maximum = ?8, \
             console_seconds = ?9, entry = ?10",
            params![
                settings.failed_attempts,
                settings.lockout_duration.whole_seconds(),
                settings.banner,
                settings.banner_enabled,
                settings.access_token.whole_seconds(),
                settings.refresh_token.whole_seconds(),
                settings.access_token_maximum.whole_seconds(),
                settings.refresh_token_maximum.whole_seconds(),
                settings.console_timeout.whole_seconds(),
                entry,
            ],
        )?;
        Ok(())
    }

    /// Add a session. The caller records the login.
    pub fn add_session(self, session: &LoginSession) -> Result<Self, StoreError> {
        self.sql
            .prepare_cached(
                "INSERT INTO session (selector, secret, token_id, user, certificate, created_at, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                session.selector,
                session.secret,
                session.token_id,
                row::to_integer(session.user),
                session.certificate,
                session.created_at.unix_timestamp(),
                session.expires_at.unix_timestamp(),
            ])?;
        Ok(self)
    }

    /// Replace the secret of a session: its former refresh token is used up.
    pub fn rotate_session(
        self,
        id: u64,
        secret: &[u8; 32],
        expires_at: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        self.sql
            .prepare_cached("UPDATE session SET secret = ?1, expires_at = ?2 WHERE id = ?3")?
            .execute(params![secret, expires_at.unix_timestamp(), row::to_integer(id)])?;
        Ok(self)
    }

    /// End a session. The caller records the reason.
    pub fn end_session(self, id: u64) -> Result<Self, StoreError> {
        self.sql.prepare_cached("DELETE FROM session WHERE id = ?1")?.execute([row::to_integer(id)])?;
        Ok(self)
    }

    /// Revoke all tokens of all users, with an audit entry for each.
    pub fn revoke_every_token(self) -> Result<Self, StoreError> {
        self.sql.execute("DELETE FROM session", [])?;
        let now = whole_second(self.provenance().at);
        let organizations = self.accounts().organizations()?;
        let mut transaction = self;
        for organization in &organizations {
            for mut user in transaction.accounts().users(Some(organization.id))? {
                // Tokens have whole seconds, and are dated after an earlier revocation in the same second.
                user.facts.tokens_from = now.max(user.facts.tokens_from).saturating_add(Duration::SECOND);
                transaction = transaction.change_user(organization, &mut user, Action::UserRevokeTokens)?;
            }
        }
        Ok(transaction)
    }

    /// End all sessions of a user, and the expired ones of every user.
    pub fn end_sessions(self, user: u64) -> Result<Self, StoreError> {
        let now = self.provenance().at.unix_timestamp();
        self.sql
            .prepare_cached("DELETE FROM session WHERE user = ?1 OR expires_at < ?2")?
            .execute(params![row::to_integer(user), now])?;
        Ok(self)
    }
}

fn certificate_text(facts: &UserFacts) -> Option<String> {
    facts.certificate.as_ref().map(|(role, name)| format!("{role}/{name}"))
}

/// Rows have the resolution of audit entries.
fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}
