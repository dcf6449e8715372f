//! Directories as logins use them: a password is verified by them, and a user is looked up again at each refresh.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::directory::{Accounts, owner};
use super::error::AccountError;
use super::ldap_lookup::{LdapLookup, LdapUser};
use super::ldap_settings::open_reader_password;
use super::users::{refuse_outside_root, revoked_from};
use crate::audit::Action;
use crate::identity::{AccountRole, Name};
use crate::keys::SecretSealer;
use crate::ldap::LdapError;
use crate::secret::Secret;
use crate::store::{AccountSource, LdapRecord, OrganizationRecord, Transaction, UserRecord};
use crate::tokens::RefreshToken;

/// Time for which a directory that does not answer is left alone: its logins fail at once, and hold up no others.
const PAUSE: Duration = Duration::from_secs(10);

/// Longest password that is sent to a directory, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// Directories in use.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// Cipher of the passwords of readers: its key may be wrapped by a service.
    sealer: Mutex<Option<Arc<SecretSealer>>>,
    /// End of the pause of a directory, by organization and audit entry of its settings.
    paused: Mutex<BTreeMap<u64, (u64, Instant)>>,
}

/// Result of a login by a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LdapCheck {
    /// The password is right, and the user has a role.
    Right(LdapUser, AccountRole),
    /// The login is refused, for this reason.
    Refused(&'static str),
    /// The directory has no such user.
    Unknown,
}

/// Result of a second look at the user of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundAgain {
    /// There was nothing to look for.
    NotAsked,
    /// The user has gone, is disabled, has no role, or is another one.
    Gone,
    /// The user is there.
    There {
        /// Row ID.
        user: u64,
        /// Present role.
        role: AccountRole,
    },
}

impl Directories {
    /// Verify the password of a user. An empty or endless one is refused before anything is sent.
    pub(super) fn verify(
        &self,
        accounts: &Accounts,
        record: &LdapRecord,
        name: &Name,
        password: &Secret,
        now: OffsetDateTime,
    ) -> Result<LdapCheck, AccountError> {
        match password.expose().len() {
            0 => return Ok(LdapCheck::Refused("empty password")),
            length if length > LONGEST_PASSWORD => return Ok(LdapCheck::Refused("password too long")),
            _ => {}
        }
        self.contact(accounts, record, |lookup| {
            let Some(user) = lookup.find(name, now)? else { return Ok(LdapCheck::Unknown) };
            if !lookup.verify(&user.dn, password)? {
                return Ok(LdapCheck::Refused("wrong password"));
            }
            Ok(match user.role {
                _ if user.is_disabled => LdapCheck::Refused("disabled account"),
                Some(role) => LdapCheck::Right(user, role),
                None => LdapCheck::Refused("no group with a role"),
            })
        })
    }

    /// Look for the user of a session again, if a directory keeps it.
    pub(super) fn find_again(
        &self,
        accounts: &Accounts,
        given: &RefreshToken,
        certificate: Option<[u8; 32]>,
        now: OffsetDateTime,
    ) -> Result<FoundAgain, AccountError> {
        let asked = accounts.read(|rows| {
            let is_valid = |session: &crate::store::LoginSession| {
                session.secret == given.secret_hash().0
                    && session.expires_at > now
                    && (session.certificate.is_none() || session.certificate == certificate)
            };
            let Some(session) = rows.session(&given.selector_hash().0)?.filter(is_valid) else {
                return Ok(None);
            };
            let (organization, user) = owner(rows, session.user)?;
            if user.facts.source == AccountSource::Local {
                return Ok(None);
            }
            let record = rows.ldap(&organization)?.filter(|record| record.settings.enabled);
            Ok(Some((user, record)))
        })?;
        let Some((user, record)) = asked else { return Ok(FoundAgain::NotAsked) };
        let Some(record) = record else { return Ok(FoundAgain::Gone) };
        let found = self.contact(accounts, &record, |lookup| lookup.find(&user.facts.name, now))?;
        Ok(match found {
            Some(LdapUser { is_disabled: false, role: Some(role), entry, .. })
                if user.facts.ldap_entry == Some(entry) =>
            {
                FoundAgain::There { user: user.id, role }
            }
            _ => FoundAgain::Gone,
        })
    }

    fn contact<T>(
        &self,
        accounts: &Accounts,
        record: &LdapRecord,
        operation: impl FnOnce(&LdapLookup<'_>) -> Result<T, LdapError>,
    ) -> Result<T, AccountError> {
        let is_paused = |paused: &(u64, Instant)| {
            paused.0 == record.entry && paused.1 > accounts.context.clock.monotonic()
        };
        let paused =
            self.paused.lock().unwrap_or_else(PoisonError::into_inner).get(&record.organization).copied();
        if paused.as_ref().is_some_and(is_paused) {
            let source = io::Error::other("it failed a moment ago, and is left alone for 10 seconds");
            let address = record.settings.server_uri.clone();
            return Err(LdapError::Unavailable { address, source }.into());
        }
        let result = self.reader_password(accounts, record).and_then(|password| {
            let lookup = LdapLookup::new(&record.settings, password)?;
            Ok(operation(&lookup)?)
        });
        let concerns_one_user = |error: &AccountError| {
            matches!(error, AccountError::Ldap(LdapError::Ambiguous { .. } | LdapError::Refused { .. }))
        };
        if result.as_ref().err().is_some_and(|error| !concerns_one_user(error)) {
            let until = accounts.context.clock.monotonic() + PAUSE;
            let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
            paused.insert(record.organization, (record.entry, until));
        }
        result
    }

    fn reader_password(&self, accounts: &Accounts, record: &LdapRecord) -> Result<Secret, AccountError> {
        let known = self.sealer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(password) = known.and_then(|sealer| open_reader_password(&sealer, record).ok()) {
            return Ok(password);
        }
        // The key may have been created or replaced since.
        let sealer = Arc::new(accounts.ldap_sealer()?);
        let password = open_reader_password(&sealer, record)?;
        *self.sealer.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealer);
        Ok(password)
    }
}

/// Apply a second look at the user of a session, and return whether the session may continue.
pub(super) fn follow_directory<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    user: &mut UserRecord,
    found: FoundAgain,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, bool), AccountError> {
    match (user.facts.source, found) {
        (AccountSource::Local, _) => Ok((transaction, true)),
        (AccountSource::Ldap, FoundAgain::There { user: id, role }) if id == user.id => {
            if role == user.facts.role {
                return Ok((transaction, true));
            }
            refuse_outside_root(organization, role)?;
            user.facts.role = role;
            user.facts.tokens_from = revoked_from(user, now);
            Ok((transaction.change_user(organization, user, Action::UserUpdate)?, true))
        }
        (AccountSource::Ldap, FoundAgain::Gone) => {
            user.facts.tokens_from = revoked_from(user, now);
            let transaction = transaction
                .change_user(organization, user, Action::UserRevokeTokens)?
                .end_sessions(user.id)?;
            Ok((transaction, false))
        }
        // The session has changed meanwhile.
        (AccountSource::Ldap, FoundAgain::NotAsked | FoundAgain::There { .. }) => Ok((transaction, false)),
    }
}
