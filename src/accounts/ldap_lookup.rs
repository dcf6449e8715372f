//! Users and groups in the directory of an organization.

use std::time::Duration;

use time::OffsetDateTime;

use crate::identity::{AccountRole, Name};
use crate::ldap::{LdapConnection, LdapEndpoint, LdapEntry, LdapError, LdapFilter, LdapSearch};
use crate::secret::Secret;
use crate::store::LdapSettings;
use crate::x509::Sha256;

/// Attributes that identify an entry for ever: OpenLDAP and others (RFC 4530), Active Directory, 389 Directory Server.
const ENTRY_IDS: [&str; 3] = ["entryUUID", "objectGUID", "nsUniqueId"];

/// Flags of an account in Active Directory.
const ACCOUNT_CONTROL: &str = "userAccountControl";
/// End of an account in Active Directory.
const ACCOUNT_EXPIRES: &str = "accountExpires";
/// Time of a lock of an account (OpenLDAP's password policy).
const ACCOUNT_LOCKED: &str = "pwdAccountLockedTime";
/// Lock of an account (389 Directory Server).
const ACCOUNT_LOCK: &str = "nsAccountLock";

/// Flag of a disabled account in [`ACCOUNT_CONTROL`].
const DISABLED: i64 = 0x2;

/// Value of [`ACCOUNT_LOCKED`] for an account that an administrator locked.
const LOCKED_FOR_EVER: &str = "000001010000Z";

/// Steps of 100 nanoseconds from 1601-01-01, the epoch of [`ACCOUNT_EXPIRES`], to 1970-01-01.
const EPOCH: i64 = 116_444_736_000_000_000;

/// Steps of 100 nanoseconds in a second.
const STEPS: i64 = 10_000_000;

/// Most groups of one user that have a role.
const MOST_GROUPS: u32 = 50;

/// Results of a bind that concern the account alone: constraintViolation, inappropriateAuthentication,
/// insufficientAccessRights, unwillingToPerform.
const ACCOUNT_REFUSED: [u32; 4] = [19, 48, 50, 53];

/// Search in a directory, as its reader.
pub(super) struct LdapLookup<'a> {
    settings: &'a LdapSettings,
    endpoint: LdapEndpoint,
    reader_password: Secret,
}

/// User in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LdapUser {
    /// Distinguished name.
    pub(super) dn: String,
    /// True if the directory has disabled the account.
    pub(super) is_disabled: bool,
    /// Groups of the user that have a role.
    pub(super) groups: Vec<String>,
    /// Most powerful role of these groups; `None` without one.
    pub(super) role: Option<AccountRole>,
    /// SHA-256 of what identifies the entry, and of its revocation attribute.
    pub(super) entry: Sha256,
}

impl<'a> LdapLookup<'a> {
    /// Prepare searches. Nothing is connected yet.
    pub(super) fn new(settings: &'a LdapSettings, reader_password: Secret) -> Result<Self, LdapError> {
        let timeout = Duration::from_secs(settings.server_timeout.into());
        let uri = settings.server_uri.parse()?;
        let ca = settings.ca_certificate.as_deref();
        let endpoint = LdapEndpoint::new(uri, settings.start_tls, ca, timeout)?;
        Ok(Self { settings, endpoint, reader_password })
    }

    /// Verify that the reader may log in and the base of the searches exists.
    pub(super) fn check(&self) -> Result<(), LdapError> {
        let mut connection = self.connect()?;
        let base = LdapSearch {
            base: &self.settings.base_dn,
            base_only: true,
            filter: LdapFilter::Present("objectClass"),
            attributes: &["1.1"],
            limit: 1,
        };
        let found = connection.search(&base)?;
        let missing = || LdapError::Refused {
            address: self.settings.server_uri.clone(),
            operation: "the base of the searches",
            code: 32,
            name: "noSuchObject",
            message: self.settings.base_dn.clone(),
        };
        found.first().map(drop).ok_or_else(missing)?;
        connection.close();
        Ok(())
    }

    /// Find a user with its groups.
    pub(super) fn find(&self, name: &Name, now: OffsetDateTime) -> Result<Option<LdapUser>, LdapError> {
        let settings = self.settings;
        let mut connection = self.connect()?;
        let id = settings.user_id_attribute.as_str();
        let mut attributes = vec![id, ACCOUNT_CONTROL, ACCOUNT_EXPIRES, ACCOUNT_LOCKED, ACCOUNT_LOCK];
        attributes.extend(ENTRY_IDS);
        attributes.extend(settings.user_revocation_attribute.as_deref());
        let search = LdapSearch {
            base: &settings.base_dn,
            base_only: false,
            filter: LdapFilter::And(vec![
                LdapFilter::Equal("objectClass", settings.user_object_class.as_bytes()),
                LdapFilter::Equal(id, name.as_str().as_bytes()),
            ]),
            attributes: &attributes,
            limit: 1,
        };
        let found = connection.search(&search)?;
        // A directory may ignore more than case when it compares: two spellings would be two accounts here.
        let is_same = |value: &[u8]| value.eq_ignore_ascii_case(name.as_str().as_bytes());
        let Some(entry) = found.into_iter().find(|entry| entry.values(id).any(is_same)) else {
            connection.close();
            return Ok(None);
        };
        let groups = self.groups(&mut connection, &entry.dn)?;
        connection.close();
        let has = |group: &String| groups.iter().any(|known| known.to_lowercase() == group.to_lowercase());
        let role = AccountRole::ALL.into_iter().find(|role| settings.role_groups.get(role).is_some_and(has));
        Ok(Some(LdapUser {
            is_disabled: is_disabled(&entry, now),
            entry: self.fingerprint(&entry),
            dn: entry.dn,
            groups,
            role,
        }))
    }

    /// Verify a password by a bind on a connection of its own. An account that the directory refuses gives the same
    /// answer as a wrong password.
    pub(super) fn verify(&self, dn: &str, password: &Secret) -> Result<bool, LdapError> {
        let mut connection = self.endpoint.connect()?;
        match connection.bind(dn, password) {
            Ok(is_right) => {
                connection.close();
                Ok(is_right)
            }
            Err(LdapError::Refused { code, .. }) if ACCOUNT_REFUSED.contains(&code) => Ok(false),
            Err(LdapError::EmptyPassword) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn connect(&self) -> Result<LdapConnection, LdapError> {
        let mut connection = self.endpoint.connect()?;
        match connection.bind(&self.settings.reader, &self.reader_password)? {
            true => Ok(connection),
            false => Err(LdapError::Reader { address: connection.address().to_owned() }),
        }
    }

    /// Groups with a role that a user is a direct member of.
    fn groups(&self, connection: &mut LdapConnection, dn: &str) -> Result<Vec<String>, LdapError> {
        let settings = self.settings;
        let id = settings.group_id_attribute.as_str();
        let named = |group: &'a String| LdapFilter::Equal(id, group.as_bytes());
        let search = LdapSearch {
            base: &settings.base_dn,
            base_only: false,
            filter: LdapFilter::And(vec![
                LdapFilter::Equal("objectClass", settings.group_object_class.as_bytes()),
                LdapFilter::Equal(&settings.group_membership_attribute, dn.as_bytes()),
                LdapFilter::Or(settings.role_groups.values().map(named).collect()),
            ]),
            attributes: &[id],
            limit: MOST_GROUPS,
        };
        let found = connection.search(&search)?;
        Ok(found.iter().filter_map(|group| group.text(id).map(str::to_owned)).collect())
    }

    fn fingerprint(&self, entry: &LdapEntry) -> Sha256 {
        let mut text = Vec::new();
        let mut add = |part: &[u8]| {
            text.extend_from_slice(&part.len().to_be_bytes());
            text.extend_from_slice(part);
        };
        add(entry.dn.as_bytes());
        for attribute in ENTRY_IDS.into_iter().chain(self.settings.user_revocation_attribute.as_deref()) {
            // A directory may return values in any order.
            let mut values: Vec<_> = entry.values(attribute).collect();
            values.sort_unstable();
            add(attribute.as_bytes());
            add(&values.len().to_be_bytes());
            values.into_iter().for_each(&mut add);
        }
        Sha256::of(&text)
    }
}

fn is_disabled(entry: &LdapEntry, now: OffsetDateTime) -> bool {
    let number = |name| entry.text(name).and_then(|text| text.parse::<i64>().ok());
    let has_flag = number(ACCOUNT_CONTROL).is_some_and(|flags| flags & DISABLED != 0);
    let has_ended = number(ACCOUNT_EXPIRES).is_some_and(|end| {
        // 0 and the largest number stand for no end.
        end > 0 && end != i64::MAX && (end - EPOCH).div_euclid(STEPS) <= now.unix_timestamp()
    });
    let is_locked = entry.text(ACCOUNT_LOCKED).is_some_and(|time| time == LOCKED_FOR_EVER)
        || entry.text(ACCOUNT_LOCK).is_some_and(|lock| lock.eq_ignore_ascii_case("true"));
    has_flag || has_ended || is_locked
}
