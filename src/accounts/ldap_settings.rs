//! Directory of an organization: set up, show, change, test, remove.

use std::collections::BTreeMap;

use serde::Serialize;

use super::directory::{Accounts, organization};
use super::error::AccountError;
use super::ldap_lookup::LdapLookup;
use super::principal::Principal;
use super::users::revoked_from;
use crate::audit::Action;
use crate::ca::KeyProtection;
use crate::error::excerpt;
use crate::identity::{AccountRole, Host, Name, OrganizationName};
use crate::keys::kms::trusted_fingerprints;
use crate::keys::{KeyError, PrivateKey, SecretSealer};
use crate::ldap::{LdapError, LdapUri};
use crate::secret::Secret;
use crate::store::{
    AccountSource, LdapRecord, LdapServerType, LdapSettings, OrganizationRecord, Transaction,
};
use crate::x509::Sha256;

/// Shortest and longest time limit of one connection, in seconds.
pub const LDAP_TIMEOUTS: std::ops::RangeInclusive<u32> = 1..=30;

/// Default time limit of one connection, in seconds.
pub const DEFAULT_LDAP_TIMEOUT: u32 = 5;

/// Longest distinguished name, in bytes.
const LONGEST_NAME: usize = 1024;

/// Longest name of a group, in bytes.
const LONGEST_GROUP: usize = 256;

/// Test of a directory before its settings are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapTrial {
    /// The reader must be able to log in.
    Required,
    /// The settings are stored untested.
    Omitted,
}

/// Directory to set up.
#[derive(Debug)]
pub struct NewLdap<'a> {
    /// Settings to store, validated and tested first.
    pub settings: LdapSettings,
    /// Password for searches; stored encrypted.
    pub reader_password: &'a Secret,
}

/// Change of a directory; `None` leaves a setting as it is.
#[derive(Debug, Default)]
pub struct LdapChange {
    /// True if its users may log in.
    pub enabled: Option<bool>,
    /// Address.
    pub server_uri: Option<String>,
    /// True if TLS starts by StartTLS.
    pub start_tls: Option<bool>,
    /// CA certificates in PEM; empty for those of the system.
    pub ca_certificate: Option<String>,
    /// Entry below which users and groups are searched.
    pub base_dn: Option<String>,
    /// Class that an entry needs to be a user.
    pub user_object_class: Option<String>,
    /// Attribute of a user with its name.
    pub user_id_attribute: Option<String>,
    /// Class that an entry needs to be a group.
    pub group_object_class: Option<String>,
    /// Attribute of a group with the distinguished names of its members.
    pub group_membership_attribute: Option<String>,
    /// Attribute of a group with its name.
    pub group_id_attribute: Option<String>,
    /// Name that the directory is searched as.
    pub reader: Option<String>,
    /// Password for searches; stored encrypted.
    pub reader_password: Option<Secret>,
    /// Groups of roles; an empty name takes the role away.
    pub role_groups: BTreeMap<AccountRole, String>,
    /// Attribute whose change revokes tokens; empty for none.
    pub user_revocation_attribute: Option<String>,
    /// Time limit of one connection, in seconds.
    pub server_timeout: Option<u32>,
}

/// Settings of a directory, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LdapView {
    /// Name of the organization.
    pub organization: OrganizationName,
    /// Recorded settings; the CA certificates are in [`LdapView::ca_fingerprints`].
    #[serde(flatten)]
    pub settings: LdapSettings,
    /// SHA-256 of each CA certificate; empty for those of the system.
    pub ca_fingerprints: Vec<Sha256>,
}

/// Result of a test of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LdapTestView {
    /// Name of the organization.
    pub organization: OrganizationName,
    /// Address of the directory.
    pub server_uri: String,
    /// User that was looked for.
    pub user: Option<LdapTestUser>,
}

/// User in a test of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LdapTestUser {
    /// Name of the user.
    pub name: Name,
    /// Distinguished name; `None` if the directory has no such user.
    pub dn: Option<String>,
    /// Groups that have a role.
    pub groups: Vec<String>,
    /// Role that a login gives.
    pub role: Option<AccountRole>,
    /// True if the directory has disabled the account.
    pub disabled: bool,
    /// True if the given password is right; `None` without one.
    pub password: Option<bool>,
}

impl LdapView {
    fn new(organization: &OrganizationRecord, record: &LdapRecord) -> Result<Self, AccountError> {
        let mut settings = record.settings.clone();
        let pem = settings.ca_certificate.take();
        let fingerprints = pem.as_deref().map(trusted_fingerprints).transpose();
        Ok(Self {
            organization: organization.name.clone(),
            settings,
            ca_fingerprints: fingerprints.map_err(LdapError::from)?.unwrap_or_default(),
        })
    }
}

impl LdapChange {
    /// Apply the change to settings.
    pub fn apply(&self, settings: &mut LdapSettings) {
        let text = |given: &Option<String>, setting: &mut String| {
            if let Some(given) = given {
                setting.clone_from(given);
            }
        };
        let optional = |given: &Option<String>, setting: &mut Option<String>| {
            if let Some(given) = given {
                *setting = Some(given.clone()).filter(|given| !given.is_empty());
            }
        };
        settings.enabled = self.enabled.unwrap_or(settings.enabled);
        settings.start_tls = self.start_tls.unwrap_or(settings.start_tls);
        settings.server_timeout = self.server_timeout.unwrap_or(settings.server_timeout);
        text(&self.server_uri, &mut settings.server_uri);
        text(&self.base_dn, &mut settings.base_dn);
        text(&self.user_object_class, &mut settings.user_object_class);
        text(&self.user_id_attribute, &mut settings.user_id_attribute);
        text(&self.group_object_class, &mut settings.group_object_class);
        text(&self.group_membership_attribute, &mut settings.group_membership_attribute);
        text(&self.group_id_attribute, &mut settings.group_id_attribute);
        text(&self.reader, &mut settings.reader);
        optional(&self.ca_certificate, &mut settings.ca_certificate);
        optional(&self.user_revocation_attribute, &mut settings.user_revocation_attribute);
        for (role, group) in &self.role_groups {
            match group.as_str() {
                "" => drop(settings.role_groups.remove(role)),
                group => drop(settings.role_groups.insert(*role, group.to_owned())),
            }
        }
    }
}

impl Accounts {
    /// The directory of an organization.
    ///
    /// # Errors
    /// [`AccountError::NoLdap`], [`AccountError::NotAllowed`], and errors of the home.
    pub fn ldap(&self, by: Principal, of: &OrganizationName) -> Result<LdapView, AccountError> {
        by.require_reader("read the settings of the directory")?;
        let (organization, record) = self.ldap_record(by, of)?;
        LdapView::new(&organization, &record)
    }

    /// Set up the directory of an organization, or replace its settings.
    ///
    /// # Errors
    /// [`AccountError::LdapSetting`], [`AccountError::Ldap`] if the trial fails, and errors of the home.
    pub fn set_ldap(
        &self,
        by: Principal,
        of: &OrganizationName,
        new: NewLdap<'_>,
        trial: LdapTrial,
    ) -> Result<LdapView, AccountError> {
        by.require_cluster_admin("manage directories")?;
        let found = self.read(|rows| organization(rows, by, of))?;
        let mut settings = new.settings;
        validate(&mut settings, &found)?;
        try_out(&settings, new.reader_password, trial)?;
        let reader_password = self.seal(&found, new.reader_password)?;
        self.change(|transaction| {
            let rows = transaction.accounts();
            let found = organization(rows, by, of)?;
            let mut record = LdapRecord { organization: found.id, settings, reader_password, entry: 0 };
            let transaction = transaction.set_ldap(&found, &mut record)?;
            let view = LdapView::new(&found, &record)?;
            Ok((transaction, view))
        })
    }

    /// Change the directory of an organization. When it is disabled, the tokens of its users are revoked.
    ///
    /// # Errors
    /// [`AccountError::NoLdap`], [`AccountError::LdapSetting`], [`AccountError::Ldap`] if the trial fails, and errors of
    /// the home.
    pub fn update_ldap(
        &self,
        by: Principal,
        of: &OrganizationName,
        change: &LdapChange,
        trial: LdapTrial,
    ) -> Result<LdapView, AccountError> {
        by.require_cluster_admin("manage directories")?;
        let (found, before) = self.ldap_record(by, of)?;
        let mut settings = before.settings.clone();
        change.apply(&mut settings);
        validate(&mut settings, &found)?;
        let is_same = settings == before.settings && change.reader_password.is_none();
        if is_same {
            return LdapView::new(&found, &before);
        }
        let new_password = change.reader_password.as_ref();
        if settings.enabled && trial == LdapTrial::Required {
            match new_password {
                Some(password) => try_out(&settings, password, trial)?,
                None => try_out(&settings, &self.reader_password(&before)?, trial)?,
            }
        }
        let sealed = new_password.map(|password| self.seal(&found, password)).transpose()?;
        let now = self.now();
        self.change(|transaction| {
            let rows = transaction.accounts();
            let found = organization(rows, by, of)?;
            let current = rows.ldap(&found)?.filter(|current| current.entry == before.entry);
            let Some(mut record) = current else { return Err(AccountError::LdapChanged) };
            record.settings = settings;
            record.reader_password = sealed.unwrap_or(record.reader_password);
            let mut transaction = transaction.set_ldap(&found, &mut record)?;
            if !record.settings.enabled {
                transaction = revoke_tokens(transaction, &found, now)?;
            }
            let view = LdapView::new(&found, &record)?;
            Ok((transaction, view))
        })
    }

    /// Remove the directory of an organization, and the accounts that stand for its users.
    ///
    /// # Errors
    /// [`AccountError::NoLdap`], [`AccountError::NotAllowed`], and errors of the home.
    pub fn reset_ldap(&self, by: Principal, of: &OrganizationName) -> Result<LdapView, AccountError> {
        by.require_cluster_admin("manage directories")?;
        self.change(|transaction| {
            let rows = transaction.accounts();
            let found = organization(rows, by, of)?;
            let Some(record) = rows.ldap(&found)? else { return Err(no_ldap(&found)) };
            let view = LdapView::new(&found, &record)?;
            let users = rows.users(Some(found.id))?;
            let mut transaction = transaction.reset_ldap(&found, &record)?;
            for user in users.iter().filter(|user| user.facts.source == AccountSource::Ldap) {
                transaction = transaction.delete_user(&found, user)?;
            }
            Ok((transaction, view))
        })
    }

    /// Test the directory of an organization as it is set up, also while it is disabled: the login of the reader, and
    /// what a login of `user` finds.
    ///
    /// # Errors
    /// [`AccountError::NoLdap`], [`AccountError::Ldap`], and errors of the home.
    pub fn test_ldap(
        &self,
        by: Principal,
        of: &OrganizationName,
        user: Option<&Name>,
        password: Option<&Secret>,
    ) -> Result<LdapTestView, AccountError> {
        by.require_cluster_admin("test directories")?;
        let (found, record) = self.ldap_record(by, of)?;
        let lookup = LdapLookup::new(&record.settings, self.reader_password(&record)?)?;
        lookup.check()?;
        let user = user.map(|name| {
            let entry = lookup.find(name, self.now())?;
            let verified = match (&entry, password) {
                (Some(entry), Some(password)) => Some(lookup.verify(&entry.dn, password)?),
                (None, Some(_)) => Some(false),
                (_, None) => None,
            };
            let is_disabled = entry.as_ref().is_some_and(|entry| entry.is_disabled);
            let (dn, groups, role) = match entry {
                Some(entry) => (Some(entry.dn), entry.groups, entry.role),
                None => (None, Vec::new(), None),
            };
            let name = name.clone();
            Ok::<_, LdapError>(LdapTestUser {
                name,
                dn,
                groups,
                role,
                disabled: is_disabled,
                password: verified,
            })
        });
        let server_uri = record.settings.server_uri;
        Ok(LdapTestView { organization: found.name, server_uri, user: user.transpose()? })
    }

    fn ldap_record(
        &self,
        by: Principal,
        of: &OrganizationName,
    ) -> Result<(OrganizationRecord, LdapRecord), AccountError> {
        self.read(|rows| {
            let found = organization(rows, by, of)?;
            let record = rows.ldap(&found)?.ok_or_else(|| no_ldap(&found))?;
            Ok((found, record))
        })
    }

    fn reader_password(&self, record: &LdapRecord) -> Result<Secret, AccountError> {
        open_reader_password(&self.ldap_sealer()?, record)
    }

    /// Cipher of the passwords for directories.
    pub(super) fn ldap_sealer(&self) -> Result<SecretSealer, AccountError> {
        let key = PrivateKey::unlock(&self.home.ldap_key(), self.context.unlock.as_ref());
        Ok(key.and_then(|key| SecretSealer::of(&key)).map_err(crate::ca::CaError::from)?)
    }

    fn seal(&self, organization: &OrganizationRecord, password: &Secret) -> Result<Vec<u8>, AccountError> {
        if password.expose().is_empty() {
            return Err(LdapError::EmptyPassword.into());
        }
        let key = KeyProtection::open(&self.home, &self.context)?.ldap_key()?;
        let sealed =
            SecretSealer::of(&key).and_then(|sealer| sealer.seal(&purpose(organization.id), password));
        Ok(sealed.map_err(crate::ca::CaError::from)?)
    }
}

/// Decrypt the password of the reader.
pub(super) fn open_reader_password(
    sealer: &SecretSealer,
    record: &LdapRecord,
) -> Result<Secret, AccountError> {
    sealer.open(&purpose(record.organization), &record.reader_password).map_err(|error| match error {
        KeyError::SecretDamaged => AccountError::LdapReaderPassword,
        error => crate::ca::CaError::from(error).into(),
    })
}

fn purpose(organization: u64) -> String {
    format!("ldap reader {organization}")
}

fn no_ldap(organization: &OrganizationRecord) -> AccountError {
    AccountError::NoLdap { organization: organization.name.to_string() }
}

fn try_out(settings: &LdapSettings, password: &Secret, trial: LdapTrial) -> Result<(), AccountError> {
    if trial == LdapTrial::Omitted {
        return Ok(());
    }
    let password = Secret::new(password.expose().to_vec());
    Ok(LdapLookup::new(settings, password)?.check()?)
}

/// Revoke the tokens of all users of a directory.
fn revoke_tokens<'a>(
    mut transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    now: time::OffsetDateTime,
) -> Result<Transaction<'a>, AccountError> {
    for mut user in transaction.accounts().users(Some(organization.id))? {
        if user.facts.source == AccountSource::Ldap {
            user.facts.tokens_from = revoked_from(&user, now);
            transaction = transaction
                .change_user(organization, &mut user, Action::UserRevokeTokens)?
                .end_sessions(user.id)?;
        }
    }
    Ok(transaction)
}

/// Settings of an Active Directory with this domain, for any server of it.
#[must_use]
pub fn active_directory_settings(server_uri: String, domain: &Host, reader: String) -> LdapSettings {
    // The characters of a DNS name need no escapes in a distinguished name (RFC 4514).
    let labels: Vec<_> = domain.to_string().split('.').map(|label| format!("DC={label}")).collect();
    LdapSettings {
        server_type: LdapServerType::ActiveDirectory,
        base_dn: labels.join(","),
        user_object_class: "user".to_owned(),
        user_id_attribute: "sAMAccountName".to_owned(),
        group_object_class: "group".to_owned(),
        ..ldap_settings(server_uri, String::new(), reader)
    }
}

/// Settings of an LDAP directory, with the usual names of classes and attributes.
#[must_use]
pub fn ldap_settings(server_uri: String, base_dn: String, reader: String) -> LdapSettings {
    LdapSettings {
        enabled: true,
        server_type: LdapServerType::Ldap,
        server_uri,
        start_tls: false,
        ca_certificate: None,
        base_dn,
        user_object_class: "inetOrgPerson".to_owned(),
        user_id_attribute: "uid".to_owned(),
        group_object_class: "groupOfNames".to_owned(),
        group_membership_attribute: "member".to_owned(),
        group_id_attribute: "cn".to_owned(),
        reader,
        role_groups: BTreeMap::new(),
        user_revocation_attribute: None,
        server_timeout: DEFAULT_LDAP_TIMEOUT,
    }
}

/// Refuse settings that cannot work or are not safe, and write the address in its canonical form.
fn validate(settings: &mut LdapSettings, organization: &OrganizationRecord) -> Result<(), AccountError> {
    let refuse =
        |setting, why, given: &str| Err(AccountError::LdapSetting { setting, why, given: excerpt(given) });
    let uri: LdapUri = settings.server_uri.parse()?;
    settings.server_uri = uri.to_string();
    if uri.is_tls() && settings.start_tls {
        return refuse("StartTLS", "it is for ldap://, and ldaps:// has TLS already", &settings.server_uri);
    }
    if !uri.is_tls() && !settings.start_tls && !uri.is_this_machine() {
        return Err(LdapError::ClearText { address: uri.to_string() }.into());
    }
    if let Some(pem) = &settings.ca_certificate {
        trusted_fingerprints(pem).map_err(LdapError::from)?;
    }
    let attributes = [
        ("object class of users", Some(&settings.user_object_class)),
        ("attribute with the name of a user", Some(&settings.user_id_attribute)),
        ("object class of groups", Some(&settings.group_object_class)),
        ("attribute with the members of a group", Some(&settings.group_membership_attribute)),
        ("attribute with the name of a group", Some(&settings.group_id_attribute)),
        ("revocation attribute", settings.user_revocation_attribute.as_ref()),
    ];
    for (setting, name) in attributes.into_iter().filter_map(|(setting, name)| Some((setting, name?))) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return refuse(setting, "letters, digits, hyphens and dots were expected", name);
        }
    }
    let texts = [
        ("base of the searches", &settings.base_dn, LONGEST_NAME),
        ("name of the reader", &settings.reader, LONGEST_NAME),
    ];
    let groups = settings.role_groups.values().map(|group| ("name of a group", group, LONGEST_GROUP));
    for (setting, text, longest) in texts.into_iter().chain(groups) {
        if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
            return refuse(setting, "it is empty, too long, or has a control character", text);
        }
    }
    if settings.role_groups.is_empty() {
        return refuse("groups", "no group has a role, so no user could log in", "");
    }
    if settings.role_groups.contains_key(&AccountRole::ClusterAdmin) && !organization.is_root() {
        return Err(AccountError::RoleOutsideRoot { organization: organization.name.to_string() });
    }
    if !LDAP_TIMEOUTS.contains(&settings.server_timeout) {
        let given = settings.server_timeout.to_string();
        return refuse("time limit", "1 to 30 seconds are supported", &given);
    }
    Ok(())
}
