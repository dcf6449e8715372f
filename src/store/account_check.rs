//! Comparison of accounts with the audit chain.

use std::collections::BTreeMap;

use super::account::{OrganizationRecord, SecuritySettings, UserRecord};
use super::account_rows::AccountRows;
use super::details::{organization_details, security_details, user_details};
use super::error::StoreError;
use super::ldap::ldap_details;
use super::record_check::{intact, neighborhood};
use super::row;
use crate::audit::{Action, AuditEntry, Outcome};
use crate::identity::OrganizationName;

/// Last entries about each organization, each user, each directory and the settings.
#[derive(Default)]
pub(super) struct AccountEntries {
    /// Entry that created the organization `Root` and the default settings.
    origin: u64,
    organizations: BTreeMap<u64, AuditEntry>,
    users: BTreeMap<u64, AuditEntry>,
    ldap: BTreeMap<u64, AuditEntry>,
    security: Option<AuditEntry>,
}

impl AccountEntries {
    /// True for an entry that [`AccountEntries::note`] uses.
    pub(super) fn concerns(entry: &AuditEntry) -> bool {
        entry.event.outcome == Outcome::Success
            && match entry.event.action {
                Action::ClusterInitialize
                | Action::InventoryMigrate
                | Action::LdapReset
                | Action::LdapSet
                | Action::OrganizationCreate
                | Action::OrganizationRename
                | Action::OrganizationDelete
                | Action::SecuritySet
                | Action::UserDelete => true,
                action => action.changes_user(),
            }
    }

    pub(super) fn note(&mut self, entry: &AuditEntry) {
        let event = &entry.event;
        if event.outcome != Outcome::Success {
            return;
        }
        let id = event.details["id"].as_u64().unwrap_or_default();
        match event.action {
            Action::ClusterInitialize => self.origin = entry.seq,
            Action::InventoryMigrate if event.details["from"] == 1 => self.origin = entry.seq,
            Action::LdapReset => drop(self.ldap.remove(&id)),
            Action::LdapSet => drop(self.ldap.insert(id, entry.clone())),
            Action::OrganizationCreate | Action::OrganizationRename => {
                self.organizations.insert(id, entry.clone());
            }
            Action::OrganizationDelete => drop(self.organizations.remove(&id)),
            Action::SecuritySet => self.security = Some(entry.clone()),
            Action::UserDelete => drop(self.users.remove(&id)),
            action if action.changes_user() => drop(self.users.insert(id, entry.clone())),
            _ => {}
        }
    }

    /// Refuse rows that differ from their last entries, rows without an entry, and entries without a row.
    pub(super) fn check(mut self, rows: AccountRows<'_>) -> Result<(), StoreError> {
        for organization in rows.organizations()? {
            let recorded = self.organizations.remove(&organization.id);
            let agrees = match &recorded {
                Some(entry) => {
                    entry.seq == organization.entry
                        && agrees_with_entry(&entry.event.details, &organization_details(&organization))
                }
                None => is_original_root(&organization, self.origin),
            };
            refuse_unless(agrees, organization.name.as_str(), organization.entry)?;
        }
        for user in rows.users(None)? {
            let recorded = self.users.remove(&user.id);
            let agrees = recorded
                .is_some_and(|entry| entry.seq == user.entry && entry.event.details == user_details(&user));
            refuse_unless(agrees, user.facts.name.as_str(), user.entry)?;
        }
        for ldap in rows.all_ldap()? {
            let recorded = self.ldap.remove(&ldap.organization);
            let agrees = recorded
                .is_some_and(|entry| entry.seq == ldap.entry && entry.event.details == ldap_details(&ldap));
            refuse_unless(agrees, "ldap", ldap.entry)?;
        }
        let (settings, recorded) = (rows.security()?, rows.security_entry()?);
        let agrees = match &self.security {
            Some(entry) => entry.seq == recorded && entry.event.details == security_details(&settings),
            None => recorded == self.origin && settings == SecuritySettings::default(),
        };
        refuse_unless(agrees, "security", recorded)?;
        let mut lost = self.organizations.into_values().chain(self.users.into_values());
        match lost.next().or_else(|| self.ldap.into_values().next()) {
            Some(entry) => Err(StoreError::Inconsistent { target: entry.event.target, entry: entry.seq }),
            None => Ok(()),
        }
    }
}

impl AccountRows<'_> {
    /// Refuse a user that differs from its last audit entry.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], or a database error.
    pub fn check_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let entries = self.collect(&neighborhood(), [row::to_integer(user.entry)], row::entry)?;
        let entry = intact(user.entry, entries)?;
        let event = &entry.event;
        let agrees = event.action.changes_user()
            && event.outcome == Outcome::Success
            && event.details == user_details(user);
        refuse_unless(agrees, user.facts.name.as_str(), user.entry)
    }
}

/// A rename also records the former name.
fn agrees_with_entry(recorded: &serde_json::Value, expected: &serde_json::Value) -> bool {
    let fields = expected.as_object().into_iter().flatten();
    fields.into_iter().all(|(key, value)| recorded[key] == *value)
}

fn is_original_root(organization: &OrganizationRecord, origin: u64) -> bool {
    organization.is_root() && organization.entry == origin && organization.name == OrganizationName::root()
}

fn refuse_unless(agrees: bool, target: &str, entry: u64) -> Result<(), StoreError> {
    match agrees {
        true => Ok(()),
        false => Err(StoreError::Inconsistent { target: target.to_owned(), entry }),
    }
}
