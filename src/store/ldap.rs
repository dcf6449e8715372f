//! Directories of organizations: as they are recorded, queries and changes.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::OrganizationRecord;
use super::account_rows::AccountRows;
use super::error::StoreError;
use super::record_check::{intact, neighborhood};
use super::row;
use super::transaction::Transaction;
use crate::audit::{Action, Outcome};
use crate::identity::AccountRole;
use crate::x509::Sha256;

/// Kind of directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LdapServerType {
    /// Any LDAP directory.
    Ldap,
    /// Directory of a Windows domain.
    ActiveDirectory,
}

impl LdapServerType {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ldap => "ldap",
            Self::ActiveDirectory => "active-directory",
        }
    }
}

/// Settings of the directory of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdapSettings {
    /// True if its users may log in.
    pub enabled: bool,
    /// Kind of directory.
    pub server_type: LdapServerType,
    /// Address, `ldap://HOST:PORT` or `ldaps://HOST:PORT`.
    pub server_uri: String,
    /// True if TLS starts by StartTLS.
    pub start_tls: bool,
    /// CA certificates that the directory is verified with, in PEM; `None` for those of the system.
    pub ca_certificate: Option<String>,
    /// Entry below which users and groups are searched.
    pub base_dn: String,
    /// Class that an entry needs to be a user.
    pub user_object_class: String,
    /// Attribute of a user with its name.
    pub user_id_attribute: String,
    /// Class that an entry needs to be a group.
    pub group_object_class: String,
    /// Attribute of a group with the distinguished names of its members.
    pub group_membership_attribute: String,
    /// Attribute of a group with its name.
    pub group_id_attribute: String,
    /// Name that the directory is searched as.
    pub reader: String,
    /// Group whose members have a role.
    pub role_groups: BTreeMap<AccountRole, String>,
    /// Attribute of a user whose change revokes the tokens of the user.
    pub user_revocation_attribute: Option<String>,
    /// Time limit of one connection, in seconds.
    pub server_timeout: u32,
}

/// Recorded directory of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapRecord {
    /// Row ID of the organization.
    pub organization: u64,
    /// Settings in force.
    pub settings: LdapSettings,
    /// Encrypted password of the reader.
    pub reader_password: Vec<u8>,
    /// Last audit entry about it.
    pub entry: u64,
}

/// The columns that [`record`] reads.
const COLUMNS: &str = "organization, settings, reader_password, entry";

fn record(row: &Row<'_>) -> Result<LdapRecord, StoreError> {
    let organization: i64 = row.get(0)?;
    let text: String = row.get(1)?;
    let settings = serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
        table: "ldap",
        row: organization,
        column: "settings".to_owned(),
        source: error.into(),
    })?;
    let entry: i64 = row.get(3)?;
    Ok(LdapRecord {
        organization: organization.unsigned_abs(),
        settings,
        reader_password: row.get(2)?,
        entry: entry.unsigned_abs(),
    })
}

impl AccountRows<'_> {
    /// The directory of an organization, if it has one. Refuses one that another program changed.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], or a database error.
    pub fn ldap(&self, organization: &OrganizationRecord) -> Result<Option<LdapRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM ldap WHERE organization = ?1");
        let Some(found) = self.collect(&sql, [row::to_integer(organization.id)], record)?.pop() else {
            return Ok(None);
        };
        let entries = self.collect(&neighborhood(), [row::to_integer(found.entry)], row::entry)?;
        let event = intact(found.entry, entries)?.event;
        let agrees = event.action == Action::LdapSet
            && event.outcome == Outcome::Success
            && event.details == ldap_details(&found);
        match agrees {
            true => Ok(Some(found)),
            false => {
                let target = organization.name.to_string();
                Err(StoreError::Inconsistent { target, entry: found.entry })
            }
        }
    }

    /// The directories of all organizations, unchecked.
    pub fn all_ldap(&self) -> Result<Vec<LdapRecord>, StoreError> {
        self.collect(&format!("SELECT {COLUMNS} FROM ldap ORDER BY organization"), [], record)
    }
}

impl Transaction<'_> {
    /// Write the directory of an organization.
    pub fn set_ldap(
        mut self,
        organization: &OrganizationRecord,
        ldap: &mut LdapRecord,
    ) -> Result<Self, StoreError> {
        ldap.entry = self.head().next_seq();
        let details = ldap_details(ldap);
        self.append(Action::LdapSet, organization.name.to_string(), Outcome::Success, details)?;
        let settings = json!(ldap.settings).to_string();
        self.sql.execute(
            "INSERT INTO ldap (organization, settings, reader_password, entry) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET settings = ?2, reader_password = ?3, entry = ?4",
            params![
                row::to_integer(ldap.organization),
                settings,
                ldap.reader_password,
                row::to_integer(ldap.entry)
            ],
        )?;
        Ok(self)
    }

    /// Remove the directory of an organization.
    pub fn reset_ldap(
        mut self,
        organization: &OrganizationRecord,
        ldap: &LdapRecord,
    ) -> Result<Self, StoreError> {
        let details = ldap_details(ldap);
        self.append(Action::LdapReset, organization.name.to_string(), Outcome::Success, details)?;
        self.sql.execute("DELETE FROM ldap WHERE organization = ?1", [row::to_integer(ldap.organization)])?;
        Ok(self)
    }
}

/// Audit details of a directory, which derive from the row. Certificates and the password are recorded by their hash.
pub(super) fn ldap_details(ldap: &LdapRecord) -> Value {
    let mut details = json!(ldap.settings);
    details["id"] = json!(ldap.organization);
    let hash = |bytes: &[u8]| json!(Sha256::of(bytes));
    details["ca_certificate"] =
        ldap.settings.ca_certificate.as_ref().map_or(Value::Null, |pem| hash(pem.as_bytes()));
    details["reader_password"] = hash(&ldap.reader_password);
    details
}
