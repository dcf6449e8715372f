//! Users: list, create, change, delete, set a password, unlock.

use serde_json::json;
use time::Duration;

use super::directory::{Accounts, any_user, organization, user};
use super::error::{AccountError, PasswordWeakness};
use super::password_hash::{self, PasswordCheck};
use super::password_rules;
use super::principal::Principal;
use super::views::UserView;
use crate::audit::{Action, Outcome};
use crate::identity::{AccountRole, Name, OrganizationName, Role};
use crate::secret::Secret;
use crate::store::{AccountRows, AccountSource, LockoutState, OrganizationRecord, UserFacts, UserRecord};

/// Most local users of a cluster.
const MOST_USERS: usize = 1152;

/// A user about to be created.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Name of its organization.
    pub organization: OrganizationName,
    /// Name, unique in the organization.
    pub name: Name,
    /// Rights of the user.
    pub role: AccountRole,
    /// First password.
    pub password: &'a Secret,
    /// True if the password must be changed at the first login.
    pub must_change_password: bool,
}

/// Change of the certificate that is linked to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateLink {
    /// Link the identity of a certificate.
    Set(Role, Name),
    /// Link none.
    Remove,
}

/// Change of a user; `None` leaves a fact as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// New role.
    pub role: Option<AccountRole>,
    /// New certificate.
    pub certificate: Option<CertificateLink>,
    /// True if a login needs the linked certificate.
    pub certificate_required: Option<bool>,
}

impl Accounts {
    /// The users that the caller may see, of one organization or of all.
    ///
    /// # Errors
    /// [`AccountError::UnknownOrganization`], [`AccountError::NotAllowed`], and errors of the home.
    pub fn users(&self, by: Principal, of: Option<&OrganizationName>) -> Result<Vec<UserView>, AccountError> {
        by.require_reader("list users")?;
        self.read(|rows| {
            let organizations = match of {
                Some(name) => vec![organization(rows, by, name)?],
                None => rows.organizations()?.into_iter().filter(|one| by.sees(one)).collect(),
            };
            let mut views = Vec::new();
            for organization in &organizations {
                for user in rows.users(Some(organization.id))? {
                    views.push(self.view(rows, organization, &user)?);
                }
            }
            Ok(views)
        })
    }

    /// One user.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::UnknownOrganization`], and errors of the home.
    pub fn user(&self, by: Principal, of: &OrganizationName, name: &Name) -> Result<UserView, AccountError> {
        self.read(|rows| {
            let organization = organization(rows, by, of)?;
            self.view(rows, &organization, &user(rows, by, &organization, name)?)
        })
    }

    /// Create a user.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::UserExists`] and [`AccountError::WeakPassword`].
    pub fn add_user(&self, by: Principal, new: &NewUser<'_>) -> Result<UserView, AccountError> {
        by.require_manager_of(&[new.role], "create such a user")?;
        check_password(new.password, &new.name)?;
        // Expensive: before the lock of the home is taken.
        let hash = password_hash::hash(new.password, &*self.context.entropy)?;
        let now = self.now();
        self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, &new.organization)?;
            refuse_outside_root(&organization, new.role)?;
            if rows.user(organization.id, &new.name)?.is_some() {
                return Err(AccountError::UserExists {
                    user: new.name.to_string(),
                    organization: organization.name.to_string(),
                });
            }
            let is_local = |user: &&UserRecord| user.facts.source == AccountSource::Local;
            if rows.users(None)?.iter().filter(is_local).count() >= MOST_USERS {
                return Err(AccountError::TooManyUsers { limit: MOST_USERS });
            }
            let facts = UserFacts {
                organization: organization.id,
                name: new.name.clone(),
                role: new.role,
                source: AccountSource::Local,
                password: Some((hash, now)),
                must_change_password: new.must_change_password,
                certificate: None,
                certificate_required: false,
                // An earlier user of this name may have had tokens.
                tokens_from: now.saturating_add(Duration::SECOND),
                ldap_entry: None,
                created_at: now,
            };
            let (transaction, created) = transaction.create_user(&organization, facts)?;
            let view = UserView::new(&organization, &created, LockoutState::default(), now);
            Ok((transaction, view))
        })
    }

    /// Change the role or the linked certificate of a user, and revoke the tokens that name the former ones.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::LastClusterAdmin`] and [`AccountError::OwnAccount`].
    pub fn update_user(
        &self,
        by: Principal,
        of: &OrganizationName,
        name: &Name,
        change: &UserChange,
    ) -> Result<UserView, AccountError> {
        let now = self.now();
        self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, of)?;
            let mut user = user(rows, by, &organization, name)?;
            let before = user.facts.clone();
            let role = change.role.unwrap_or(before.role);
            by.require_manager_of(&[before.role, role], "change such a user")?;
            if role != before.role {
                if before.source == AccountSource::Ldap {
                    return Err(AccountError::LdapRole { user: name.to_string() });
                }
                if by.is_user(user.id) {
                    return Err(AccountError::OwnAccount { operation: "change the role of" });
                }
                refuse_outside_root(&organization, role)?;
                refuse_last_cluster_admin(rows, &user)?;
            }
            user.facts.role = role;
            match &change.certificate {
                Some(CertificateLink::Set(role, name)) => {
                    refuse_linked(rows, &user, *role, name)?;
                    user.facts.certificate = Some((*role, name.clone()));
                }
                Some(CertificateLink::Remove) => {
                    user.facts.certificate = None;
                    user.facts.certificate_required = false;
                }
                None => {}
            }
            if let Some(required) = change.certificate_required {
                if required && user.facts.certificate.is_none() {
                    return Err(AccountError::NoCertificate { user: name.to_string() });
                }
                user.facts.certificate_required = required;
            }
            let lockout = rows.lockout(organization.id, name)?;
            let mut transaction = transaction;
            if user.facts != before {
                user.facts.tokens_from = revoked_from(&user, now);
                transaction = transaction
                    .change_user(&organization, &mut user, Action::UserUpdate)?
                    .end_sessions(user.id)?;
            }
            Ok((transaction, UserView::new(&organization, &user, lockout, now)))
        })
    }

    /// Delete a user with its tokens.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::LastClusterAdmin`] and [`AccountError::OwnAccount`].
    pub fn delete_user(
        &self,
        by: Principal,
        of: &OrganizationName,
        name: &Name,
    ) -> Result<UserView, AccountError> {
        let deleted = self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, of)?;
            let user = any_user(rows, by, &organization, name)?;
            by.require_manager_of(&[user.facts.role], "delete such a user")?;
            if by.is_user(user.id) {
                return Err(AccountError::OwnAccount { operation: "delete" });
            }
            refuse_last_cluster_admin(rows, &user)?;
            let view = self.view(rows, &organization, &user)?;
            Ok((transaction.delete_user(&organization, &user)?, (view, user)))
        });
        let (view, user) = deleted?;
        self.forget_first_password(&user)?;
        Ok(view)
    }

    /// Set the password of another user, and revoke the tokens of that user. `must_change` has it changed at the
    /// next login.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::WeakPassword`] and [`AccountError::NotLocal`].
    pub fn set_password(
        &self,
        by: Principal,
        of: &OrganizationName,
        name: &Name,
        password: &Secret,
        must_change: bool,
    ) -> Result<UserView, AccountError> {
        check_password(password, name)?;
        let current = self.read(|rows| user(rows, by, &organization(rows, by, of)?, name))?;
        by.require_manager_of(&[current.facts.role], "set the password of such a user")?;
        if by.is_user(current.id) {
            return Err(AccountError::OwnAccount { operation: "reset the password of" });
        }
        refuse_present_password(&current, password)?;
        let hash = password_hash::hash(password, &*self.context.entropy)?;
        let now = self.now();
        let view = self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, of)?;
            let mut user = user(rows, by, &organization, name)?;
            // The role may have changed since.
            by.require_manager_of(&[user.facts.role], "set the password of such a user")?;
            user.facts.password = Some((hash, now));
            user.facts.must_change_password = must_change;
            user.facts.tokens_from = revoked_from(&user, now);
            let transaction = transaction
                .change_user(&organization, &mut user, Action::UserPassword)?
                .end_sessions(user.id)?
                .set_lockout(organization.id, name, LockoutState::default())?;
            Ok((transaction, UserView::new(&organization, &user, LockoutState::default(), now)))
        })?;
        self.forget_first_password(&current)?;
        Ok(view)
    }

    /// Clear the failed logins of a user, which ends a lock.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::UnknownUser`].
    pub fn unlock_user(
        &self,
        by: Principal,
        of: &OrganizationName,
        name: &Name,
    ) -> Result<UserView, AccountError> {
        let now = self.now();
        self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, of)?;
            let user = user(rows, by, &organization, name)?;
            by.require_manager_of(&[user.facts.role], "unlock such a user")?;
            let lockout = rows.lockout(organization.id, name)?;
            let mut transaction = transaction;
            if lockout != LockoutState::default() {
                let details = json!({ "failures": lockout.failures, "attempts": lockout.attempts });
                let target = format!("{}/{name}", organization.name);
                transaction = transaction
                    .set_lockout(organization.id, name, LockoutState::default())?
                    .record(Action::UserUnlock, target, Outcome::Success, details)?;
            }
            Ok((transaction, UserView::new(&organization, &user, LockoutState::default(), now)))
        })
    }

    fn view(
        &self,
        rows: AccountRows<'_>,
        organization: &OrganizationRecord,
        user: &UserRecord,
    ) -> Result<UserView, AccountError> {
        let lockout = rows.lockout(organization.id, &user.facts.name)?;
        Ok(UserView::new(organization, user, lockout, self.now()))
    }
}

/// Time from which new tokens are valid, so that all earlier ones are revoked. Tokens have whole seconds, and one
/// of the present second may exist; or a later one, dated after an earlier revocation in this second.
pub(super) fn revoked_from(user: &UserRecord, now: time::OffsetDateTime) -> time::OffsetDateTime {
    now.max(user.facts.tokens_from).saturating_add(Duration::SECOND)
}

pub(super) fn check_password(password: &Secret, name: &Name) -> Result<(), AccountError> {
    password_rules::check(password, name.as_str()).map_err(|weakness| AccountError::WeakPassword { weakness })
}

/// A change to the present password would keep one that others may know.
pub(super) fn refuse_present_password(user: &UserRecord, password: &Secret) -> Result<(), AccountError> {
    let name = user.facts.name.as_str();
    let Some((hash, _)) = &user.facts.password else {
        return Err(AccountError::NotLocal { user: name.to_owned() });
    };
    match password_hash::verify(password, Some(hash), name) {
        Ok(PasswordCheck::Right | PasswordCheck::RightButOutdated) => {
            Err(AccountError::WeakPassword { weakness: PasswordWeakness::Unchanged })
        }
        // A hash that cannot be verified is replaced.
        Ok(PasswordCheck::Wrong) | Err(AccountError::Hash { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn refuse_outside_root(
    organization: &OrganizationRecord,
    role: AccountRole,
) -> Result<(), AccountError> {
    match role {
        AccountRole::ClusterAdmin if !organization.is_root() => {
            Err(AccountError::RoleOutsideRoot { organization: organization.name.to_string() })
        }
        _ => Ok(()),
    }
}

/// Refuse to take away the last local cluster-admin. One of a directory is lost when the directory is down.
fn refuse_last_cluster_admin(rows: AccountRows<'_>, user: &UserRecord) -> Result<(), AccountError> {
    if user.facts.role != AccountRole::ClusterAdmin {
        return Ok(());
    }
    let others = rows.users(Some(OrganizationRecord::ROOT))?.into_iter().filter(|other| {
        other.id != user.id
            && other.facts.role == AccountRole::ClusterAdmin
            && other.facts.source == AccountSource::Local
    });
    match others.count() {
        0 => Err(AccountError::LastClusterAdmin { user: user.facts.name.to_string() }),
        _ => Ok(()),
    }
}

fn refuse_linked(
    rows: AccountRows<'_>,
    user: &UserRecord,
    role: Role,
    name: &Name,
) -> Result<(), AccountError> {
    match rows.user_by_certificate(role, name)? {
        Some(other) if other.id != user.id => Err(AccountError::CertificateLinked {
            certificate: format!("{role}/{name}"),
            user: other.facts.name.to_string(),
        }),
        _ => Ok(()),
    }
}
