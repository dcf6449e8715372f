//! Logins of users of a directory.
//!
//! Local users come first: a directory never answers for a name that is a local account. An account that stands for a
//! user of the directory is created at the first login.

use time::{Duration, OffsetDateTime};

use super::directory::Accounts;
use super::error::AccountError;
use super::ldap_check::LdapCheck;
use super::ldap_lookup::LdapUser;
use super::login::{
    Attempt, IssuedTokens, LoginService, PasswordLogin, count_attempt, has_required_certificate,
    record_failure, start_session,
};
use super::users::{refuse_outside_root, revoked_from};
use crate::audit::Action;
use crate::identity::{AccountRole, Name, OrganizationName};
use crate::store::{
    AccountSource, LdapRecord, LockoutState, OrganizationRecord, Transaction, UserFacts, UserRecord,
};
use crate::tokens::RefreshToken;

/// Way of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRoute {
    /// True if a directory verifies the password.
    pub is_by_directory: bool,
    /// True if a directory is in use. Then a refusal tells by its time who verified the password, unless the time is
    /// fixed.
    pub needs_fixed_time: bool,
}

/// A login by a directory that is counted and not yet verified.
struct Begun {
    organization: OrganizationRecord,
    record: LdapRecord,
    attempt: Attempt,
}

impl LoginService {
    /// Way of the login of `user`, as given.
    ///
    /// # Errors
    /// Errors of the home.
    pub fn route(&self, organization: &str, user: &str) -> Result<LoginRoute, AccountError> {
        let names = names(organization, user);
        self.accounts.read(|rows| {
            let enabled = rows.all_ldap()?.into_iter().filter(|ldap| ldap.settings.enabled);
            let enabled: Vec<u64> = enabled.map(|ldap| ldap.organization).collect();
            let mut is_by_directory = false;
            if let Some((organization, name)) = &names
                && let Some(organization) = rows.organization(organization)?
                && enabled.contains(&organization.id)
            {
                let user = rows.user(organization.id, name)?;
                is_by_directory = user.is_none_or(|user| user.facts.source == AccountSource::Ldap);
            }
            Ok(LoginRoute { is_by_directory, needs_fixed_time: !enabled.is_empty() })
        })
    }

    /// [`LoginService::login`] for a user of the organization's directory, with the same lock after failures.
    ///
    /// An attempt that a directory could not verify is not counted: its failure locks no account.
    ///
    /// # Errors
    /// [`AccountError::LoginRefused`], [`AccountError::Ldap`] for a directory that cannot be used, and errors of the
    /// home.
    pub fn login_by_directory(
        &self,
        accounts: &Accounts,
        login: &PasswordLogin<'_>,
    ) -> Result<IssuedTokens, AccountError> {
        let Some((organization, name)) = names(login.organization, login.user) else {
            return Err(AccountError::LoginRefused);
        };
        let now = accounts.now();
        let begun = accounts.change(|transaction| begin(transaction, &organization, &name, now))?;
        let Some(Begun { organization, record, attempt }) = begun else {
            return Err(AccountError::LoginRefused);
        };
        let check = match attempt {
            Attempt::Open { .. } => self.directories.verify(accounts, &record, &name, login.password, now),
            Attempt::Locked | Attempt::Unknown => Ok(LdapCheck::Refused("locked")),
        };
        let refuse = |check: &LdapCheck| {
            accounts.change(|transaction| {
                let reason = match check {
                    LdapCheck::Refused(reason) => reason,
                    LdapCheck::Right(..) | LdapCheck::Unknown => "no such user",
                };
                let exists = transaction.accounts().user(organization.id, &name)?.is_some();
                if *check == LdapCheck::Unknown && !exists {
                    // Names that an attacker makes up leave no rows.
                    let transaction =
                        transaction.set_lockout(organization.id, &name, LockoutState::default())?;
                    let unknown = transaction.accounts().unknown_logins()?;
                    let attempts = unknown.attempts.saturating_add(1);
                    let transaction = transaction
                        .set_unknown_logins(crate::store::UnknownLogins { attempts, ..unknown })?;
                    return Ok((
                        record_failure(transaction, &Attempt::Unknown, None, login.address, None, now)?,
                        (),
                    ));
                }
                let named = Some((&organization, &name));
                let address = login.address;
                Ok((record_failure(transaction, &attempt, named, address, Some(reason), now)?, ()))
            })
        };
        let (found, role) = match check {
            Ok(LdapCheck::Right(found, role)) => (found, role),
            Ok(check) => {
                refuse(&check)?;
                return Err(AccountError::LoginRefused);
            }
            Err(error) => {
                accounts.change(|transaction| {
                    Ok((take_back(transaction, &organization, &name, &attempt)?, ()))
                })?;
                return Err(error);
            }
        };
        let refresh = RefreshToken::generate(&*accounts.context.entropy)?;
        let token_id = accounts.random_id()?;
        let now = accounts.now();
        let logged_in = accounts.change(|transaction| {
            let rows = transaction.accounts();
            // The settings, or the account, may have changed since.
            let is_current = rows.ldap(&organization)?.is_some_and(|current| current == record);
            let user = rows.user(organization.id, &name)?;
            let is_taken = user.as_ref().is_some_and(|user| user.facts.source == AccountSource::Local);
            if !is_current || is_taken {
                return Ok((transaction, None));
            }
            let (transaction, user) = match user {
                Some(user) => follow(transaction, &organization, user, &found, role, now)?,
                None => create(transaction, &organization, &name, &found, role, now)?,
            };
            if !has_required_certificate(&user, login.certificate) {
                let named = Some((&organization, &name));
                let reason = Some("no certificate");
                let transaction = record_failure(transaction, &attempt, named, login.address, reason, now)?;
                return Ok((transaction, None));
            }
            let (transaction, session, settings) =
                start_session(transaction, &organization, &user, login, &refresh, token_id, now)?;
            Ok((transaction, Some((user, session, settings))))
        })?;
        let (user, session, settings) = logged_in.ok_or(AccountError::LoginRefused)?;
        self.tokens(&organization, &user, &session, &settings, &refresh, now)
    }
}

fn names(organization: &str, user: &str) -> Option<(OrganizationName, Name)> {
    organization.parse().ok().zip(Name::of_user(user).ok())
}

/// Count the attempt. `None` if the directory does not decide on it after all.
fn begin<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationName,
    name: &Name,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, Option<Begun>), AccountError> {
    let rows = transaction.accounts();
    let Some(organization) = rows.organization(organization)? else { return Ok((transaction, None)) };
    if let Some(user) = rows.user(organization.id, name)? {
        rows.check_user(&user)?;
        if user.facts.source == AccountSource::Local {
            return Ok((transaction, None));
        }
    }
    let Some(record) = rows.ldap(&organization)?.filter(|record| record.settings.enabled) else {
        return Ok((transaction, None));
    };
    let (transaction, attempt) = count_attempt(transaction, &organization, name, now)?;
    Ok((transaction, Some(Begun { organization, record, attempt })))
}

/// Take back an attempt that was not verified.
fn take_back<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    name: &Name,
    attempt: &Attempt,
) -> Result<Transaction<'a>, AccountError> {
    let Attempt::Open { locks, .. } = *attempt else { return Ok(transaction) };
    let counted = transaction.accounts().lockout(organization.id, name)?;
    let before = LockoutState {
        failures: counted.failures.saturating_sub(1),
        locked_until: counted.locked_until.filter(|_| !locks),
        attempts: counted.attempts,
    };
    let before = if before.failures == 0 { LockoutState::default() } else { before };
    Ok(transaction.set_lockout(organization.id, name, before)?)
}

/// Take over what has changed in the directory. Another entry or role revokes the tokens of the user.
fn follow<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    mut user: UserRecord,
    found: &LdapUser,
    role: AccountRole,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, UserRecord), AccountError> {
    transaction.accounts().check_user(&user)?;
    refuse_outside_root(organization, role)?;
    if user.facts.role == role && user.facts.ldap_entry == Some(found.entry) {
        return Ok((transaction, user));
    }
    user.facts.role = role;
    user.facts.ldap_entry = Some(found.entry);
    user.facts.tokens_from = revoked_from(&user, now);
    let transaction =
        transaction.change_user(organization, &mut user, Action::UserUpdate)?.end_sessions(user.id)?;
    Ok((transaction, user))
}

fn create<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    name: &Name,
    found: &LdapUser,
    role: AccountRole,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, UserRecord), AccountError> {
    refuse_outside_root(organization, role)?;
    let facts = UserFacts {
        organization: organization.id,
        name: name.clone(),
        role,
        source: AccountSource::Ldap,
        password: None,
        must_change_password: false,
        certificate: None,
        certificate_required: false,
        // An earlier user of this name may have had tokens.
        tokens_from: now.saturating_add(Duration::SECOND),
        ldap_entry: Some(found.entry),
        created_at: now,
    };
    Ok(transaction.create_user(organization, facts)?)
}
