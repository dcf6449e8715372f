//! Bodies about directories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::bad_body;
use super::problem::Problem;
use crate::accounts::{
    AccountError, LdapChange, LdapTestView, LdapTrial, LdapView, active_directory_settings, ldap_settings,
};
use crate::identity::{AccountRole, Host};
use crate::secret::Secret;
use crate::store::LdapSettings;

/// Settings of a directory. In a change, an absent one stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LdapSettingsBody {
    /// `ldap`, the default, or `active-directory`, which has other defaults. It is set once.
    server_type: Option<String>,
    /// DNS domain of an Active Directory, from which the base of the searches is made. It is set once.
    domain: Option<String>,
    /// True, the default, if the users of the directory may log in.
    enabled: Option<bool>,
    /// Address, such as `ldaps://ldap.example.com`.
    server_uri: Option<String>,
    /// True if TLS starts by StartTLS.
    start_tls: Option<bool>,
    /// CA certificates that the directory is verified with, in PEM; empty for those of the system.
    ca_certificate: Option<String>,
    /// Entry below which users and groups are searched.
    base_dn: Option<String>,
    /// Class that an entry needs to be a user.
    user_object_class: Option<String>,
    /// Attribute of a user with its name.
    user_id_attribute: Option<String>,
    /// Class that an entry needs to be a group.
    group_object_class: Option<String>,
    /// Attribute of a group with the distinguished names of its members.
    group_membership_attribute: Option<String>,
    /// Attribute of a group with its name.
    group_id_attribute: Option<String>,
    /// Name that the directory is searched as.
    reader: Option<String>,
    /// Password of the reader. It is stored encrypted, and never shown.
    reader_password: Option<String>,
    /// Groups whose members have a role, by role; in a change, an empty name takes the role away.
    role_groups: Option<BTreeMap<String, String>>,
    /// Attribute of a user whose change revokes the tokens of the user; empty for none.
    user_revocation_attribute: Option<String>,
    /// Time limit of one connection in seconds, 1 to 30.
    server_timeout: Option<u32>,
    /// True to store the settings untested.
    omit_test: Option<bool>,
}

impl LdapSettingsBody {
    /// The change, and whether it is tested.
    pub(super) fn into_change(self) -> Result<(LdapChange, LdapTrial), Problem> {
        if self.server_type.is_some() || self.domain.is_some() {
            return Err(bad_body("`server_type` and `domain` are set once: replace the settings with PUT"));
        }
        self.changes()
    }

    /// The settings of a new directory, the password of its reader, and whether they are tested.
    pub(super) fn into_settings(self) -> Result<(LdapSettings, Secret, LdapTrial), Problem> {
        let missing = |name| bad_body(format_args!("missing member `{name}`"));
        let server_uri = self.server_uri.clone().ok_or_else(|| missing("server_uri"))?;
        let reader = self.reader.clone().ok_or_else(|| missing("reader"))?;
        let base_dn = self.base_dn.clone().unwrap_or_default();
        let mut settings = match (self.server_type.as_deref(), self.domain.as_deref()) {
            (Some("active-directory"), Some(domain)) => {
                let domain: Host = domain.parse().map_err(AccountError::from)?;
                active_directory_settings(server_uri, &domain, reader)
            }
            (Some("active-directory"), None) => return Err(missing("domain")),
            (Some("ldap") | None, None) if base_dn.is_empty() => return Err(missing("base_dn")),
            (Some("ldap") | None, None) => ldap_settings(server_uri, base_dn, reader),
            (Some("ldap") | None, Some(_)) => {
                return Err(bad_body("`domain` is for `server_type` `active-directory`"));
            }
            (Some(_), _) => return Err(bad_body("`server_type` is `ldap` or `active-directory`")),
        };
        let (mut change, trial) = self.changes()?;
        let password = change.reader_password.take().ok_or_else(|| missing("reader_password"))?;
        change.apply(&mut settings);
        Ok((settings, password, trial))
    }

    fn changes(self) -> Result<(LdapChange, LdapTrial), Problem> {
        let named = |(role, group): (String, String)| Ok((role.parse::<AccountRole>()?, group));
        let groups = self.role_groups.unwrap_or_default().into_iter().map(named);
        let role_groups = groups.collect::<Result<_, AccountError>>()?;
        let trial = match self.omit_test {
            Some(true) => LdapTrial::Omitted,
            Some(false) | None => LdapTrial::Required,
        };
        let change = LdapChange {
            enabled: self.enabled,
            server_uri: self.server_uri,
            start_tls: self.start_tls,
            ca_certificate: self.ca_certificate,
            base_dn: self.base_dn,
            user_object_class: self.user_object_class,
            user_id_attribute: self.user_id_attribute,
            group_object_class: self.group_object_class,
            group_membership_attribute: self.group_membership_attribute,
            group_id_attribute: self.group_id_attribute,
            reader: self.reader,
            reader_password: self.reader_password.map(|text| Secret::new(text.into_bytes())),
            role_groups,
            user_revocation_attribute: self.user_revocation_attribute,
            server_timeout: self.server_timeout,
        };
        Ok((change, trial))
    }
}

/// Facts about a directory.
#[derive(Serialize, ToSchema)]
pub(super) struct LdapBody {
    organization: String,
    enabled: bool,
    /// `ldap` or `active-directory`.
    server_type: &'static str,
    server_uri: String,
    start_tls: bool,
    /// SHA-256 of each CA certificate; empty for those of the system.
    ca_fingerprints: Vec<String>,
    base_dn: String,
    user_object_class: String,
    user_id_attribute: String,
    group_object_class: String,
    group_membership_attribute: String,
    group_id_attribute: String,
    reader: String,
    /// Groups whose members have a role, by role.
    role_groups: BTreeMap<String, String>,
    user_revocation_attribute: Option<String>,
    /// In seconds.
    server_timeout: u32,
}

impl From<LdapView> for LdapBody {
    fn from(view: LdapView) -> Self {
        let settings = view.settings;
        let groups = settings.role_groups.into_iter();
        Self {
            organization: view.organization.to_string(),
            enabled: settings.enabled,
            server_type: settings.server_type.as_str(),
            server_uri: settings.server_uri,
            start_tls: settings.start_tls,
            ca_fingerprints: view.ca_fingerprints.iter().map(ToString::to_string).collect(),
            base_dn: settings.base_dn,
            user_object_class: settings.user_object_class,
            user_id_attribute: settings.user_id_attribute,
            group_object_class: settings.group_object_class,
            group_membership_attribute: settings.group_membership_attribute,
            group_id_attribute: settings.group_id_attribute,
            reader: settings.reader,
            role_groups: groups.map(|(role, group)| (role.to_string(), group)).collect(),
            user_revocation_attribute: settings.user_revocation_attribute,
            server_timeout: settings.server_timeout,
        }
    }
}

/// Test of a directory.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LdapTestBody {
    /// User to look for.
    pub(super) user: Option<String>,
}

/// Result of a test of a directory.
#[derive(Serialize, ToSchema)]
pub(super) struct LdapTestedBody {
    organization: String,
    server_uri: String,
    user: Option<LdapUserBody>,
}

/// User in a directory.
#[derive(Serialize, ToSchema)]
pub(super) struct LdapUserBody {
    name: String,
    /// Distinguished name; absent if the directory has no such user.
    dn: Option<String>,
    /// Groups that have a role.
    groups: Vec<String>,
    /// Role that a login gives.
    role: Option<String>,
    /// True if the directory has disabled the account.
    disabled: bool,
}

impl From<LdapTestView> for LdapTestedBody {
    fn from(view: LdapTestView) -> Self {
        Self {
            organization: view.organization.to_string(),
            server_uri: view.server_uri,
            user: view.user.map(|user| LdapUserBody {
                name: user.name.to_string(),
                dn: user.dn,
                groups: user.groups,
                role: user.role.map(|role| role.to_string()),
                disabled: user.disabled,
            }),
        }
    }
}
