//! Organizations: list, create, rename, delete.

use super::directory::{Accounts, organization};
use super::error::AccountError;
use super::principal::Principal;
use super::views::OrganizationView;
use crate::identity::OrganizationName;

/// Most organizations of a cluster.
const MOST_ORGANIZATIONS: usize = 256;

impl Accounts {
    /// The organizations that the caller may see: `Root`, then the others by name.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn organizations(&self, by: Principal) -> Result<Vec<OrganizationView>, AccountError> {
        by.require_reader("list organizations")?;
        self.read(|rows| {
            let users = rows.users(None)?;
            let visible = rows.organizations()?.into_iter().filter(|organization| by.sees(organization));
            let views = visible.map(|organization| {
                let members = users.iter().filter(|user| user.facts.organization == organization.id);
                OrganizationView::new(&organization, members.count())
            });
            Ok(views.collect())
        })
    }

    /// Create an organization.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::OrganizationExists`].
    pub fn create_organization(
        &self,
        by: Principal,
        name: &OrganizationName,
    ) -> Result<OrganizationView, AccountError> {
        by.require_cluster_admin("manage organizations")?;
        self.change(|transaction| {
            let rows = transaction.accounts();
            if let Some(taken) = rows.organization(name)? {
                return Err(AccountError::OrganizationExists { name: taken.name.to_string() });
            }
            if rows.organizations()?.len() >= MOST_ORGANIZATIONS {
                return Err(AccountError::TooManyOrganizations { limit: MOST_ORGANIZATIONS });
            }
            let (transaction, created) = transaction.create_organization(name)?;
            Ok((transaction, OrganizationView::new(&created, 0)))
        })
    }

    /// Rename an organization. The change of case alone is a new name too.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::RootOrganization`].
    pub fn rename_organization(
        &self,
        by: Principal,
        name: &OrganizationName,
        new: &OrganizationName,
    ) -> Result<OrganizationView, AccountError> {
        by.require_cluster_admin("manage organizations")?;
        self.change(|transaction| {
            let rows = transaction.accounts();
            let found = organization(rows, by, name)?;
            if found.is_root() {
                return Err(AccountError::RootOrganization { operation: "renamed" });
            }
            if let Some(taken) = rows.organization(new)?
                && taken.id != found.id
            {
                return Err(AccountError::OrganizationExists { name: taken.name.to_string() });
            }
            let users = rows.users(Some(found.id))?.len();
            let (transaction, renamed) = transaction.rename_organization(&found, new)?;
            Ok((transaction, OrganizationView::new(&renamed, users)))
        })
    }

    /// Delete an organization without users.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::OrganizationNotEmpty`].
    pub fn delete_organization(
        &self,
        by: Principal,
        name: &OrganizationName,
    ) -> Result<OrganizationView, AccountError> {
        by.require_cluster_admin("manage organizations")?;
        self.change(|transaction| {
            let rows = transaction.accounts();
            let found = organization(rows, by, name)?;
            if found.is_root() {
                return Err(AccountError::RootOrganization { operation: "deleted" });
            }
            let users = rows.users(Some(found.id))?.len();
            if users > 0 {
                return Err(AccountError::OrganizationNotEmpty { name: found.name.to_string(), users });
            }
            if rows.ldap(&found)?.is_some() {
                return Err(AccountError::OrganizationHasLdap { name: found.name.to_string() });
            }
            let transaction = transaction.delete_organization(&found)?;
            Ok((transaction, OrganizationView::new(&found, 0)))
        })
    }
}
