//! Access to the accounts of a home.

use std::sync::Arc;

use time::OffsetDateTime;

use super::error::AccountError;
use super::principal::Principal;
use super::token_key::TokenKeyHolder;
use crate::audit::Actor;
use crate::ca::{Cluster, Context, Home, InventoryWriter};
use crate::identity::{Name, OrganizationName};
use crate::store::{AccountRows, OrganizationRecord, Transaction, UserRecord};

/// Organizations, users and settings of a home.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub(super) home: Home,
    pub(super) context: Context,
    /// Key that signs tokens, if it is open. Otherwise it is opened when it is needed.
    pub(super) token_key: Option<Arc<TokenKeyHolder>>,
}

impl Accounts {
    /// The accounts of `home`. Nothing is opened before the first operation.
    #[must_use]
    pub fn new(home: Home, context: Context) -> Self {
        Self { home, context, token_key: None }
    }

    /// The same accounts, with another actor in audit entries.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { context: Context { actor, ..self.context.clone() }, ..self.clone() }
    }

    /// Current time in whole seconds.
    pub(super) fn now(&self) -> OffsetDateTime {
        let now = self.context.clock.now();
        now.replace_nanosecond(0).unwrap_or(now)
    }

    /// Read the accounts, as of now.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(AccountRows<'_>) -> Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        read(Cluster::open(&self.home, &self.context)?.inventory().accounts())
    }

    /// Make one change, under the lock of the home. If it revokes tokens, the statement about them is signed again
    /// before another change.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(Transaction<'_>) -> Result<(Transaction<'_>, T), AccountError>,
    ) -> Result<T, AccountError> {
        let mut writer = InventoryWriter::open(&self.home, &self.context)?;
        let before = writer.cluster().inventory().accounts().last_entry()?;
        let result = writer.change(None, change)?;
        if writer.cluster().inventory().accounts().revokes_tokens_since(before)? {
            self.publish_after(&writer)?;
        }
        Ok(result)
    }
}

/// The organization of this name, if the caller may see it.
pub(super) fn organization(
    rows: AccountRows<'_>,
    by: Principal,
    name: &OrganizationName,
) -> Result<OrganizationRecord, AccountError> {
    let found = rows.organization(name)?.filter(|organization| by.sees(organization));
    found.ok_or_else(|| AccountError::UnknownOrganization { name: name.to_string() })
}

/// Organization and account of a row ID.
pub(super) fn owner(
    rows: AccountRows<'_>,
    id: u64,
) -> Result<(OrganizationRecord, UserRecord), AccountError> {
    let user = rows.user_by_id(id)?.ok_or(AccountError::TokenRevoked)?;
    rows.check_user(&user)?;
    let organization = rows.organization_by_id(user.facts.organization)?.ok_or(AccountError::TokenRevoked)?;
    Ok((organization, user))
}

/// The user of this name, if the caller may see it. Refuses one that another program changed.
pub(super) fn user(
    rows: AccountRows<'_>,
    by: Principal,
    organization: &OrganizationRecord,
    name: &Name,
) -> Result<UserRecord, AccountError> {
    let found = any_user(rows, by, organization, name)?;
    rows.check_user(&found)?;
    Ok(found)
}

/// The user of this name, if the caller may see it, even one that another program changed.
pub(super) fn any_user(
    rows: AccountRows<'_>,
    by: Principal,
    organization: &OrganizationRecord,
    name: &Name,
) -> Result<UserRecord, AccountError> {
    // Regular users see no account but their own.
    let found = rows
        .user(organization.id, name)?
        .filter(|user| by.require_reader("see other users").is_ok() || by.is_user(user.id));
    found.ok_or_else(|| AccountError::UnknownUser {
        user: name.to_string(),
        organization: organization.name.to_string(),
    })
}
