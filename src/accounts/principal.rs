//! The caller on whose behalf accounts are read and changed.

use super::error::AccountError;
use crate::identity::AccountRole;
use crate::store::OrganizationRecord;

/// Caller of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user of the CA machine, who can read and write the home.
    Operator,
    /// Holder of a client certificate that the server's configuration gives a role. Belongs to `Root`.
    Holder {
        /// Role in the configuration.
        role: AccountRole,
    },
    /// An account.
    User {
        /// Row ID of the user.
        user: u64,
        /// Row ID of its organization.
        organization: u64,
        /// Role by which its rights are judged.
        role: AccountRole,
    },
}

impl Principal {
    /// Role by which the rights are judged.
    #[must_use]
    pub const fn role(self) -> AccountRole {
        match self {
            Self::Operator => AccountRole::ClusterAdmin,
            Self::User { role, .. } | Self::Holder { role } => role,
        }
    }

    /// True for the user with this row ID.
    pub(super) fn is_user(self, id: u64) -> bool {
        matches!(self, Self::User { user, .. } if user == id)
    }

    /// True if the users of this organization may be seen.
    pub(super) fn sees(self, organization: &OrganizationRecord) -> bool {
        match self {
            Self::Operator => true,
            Self::User { role: AccountRole::ClusterAdmin, .. }
            | Self::Holder { role: AccountRole::ClusterAdmin } => true,
            Self::Holder { .. } => organization.is_root(),
            Self::User { organization: own, .. } => organization.id == own,
        }
    }

    /// Refuse all but cluster administrators.
    pub(super) fn require_cluster_admin(self, operation: &'static str) -> Result<(), AccountError> {
        match self.role() {
            AccountRole::ClusterAdmin => Ok(()),
            role => Err(AccountError::NotAllowed { role, operation }),
        }
    }

    /// Refuse users who may not read the configuration.
    pub(super) fn require_reader(self, operation: &'static str) -> Result<(), AccountError> {
        match self.role() {
            AccountRole::Regular => Err(AccountError::NotAllowed { role: AccountRole::Regular, operation }),
            _ => Ok(()),
        }
    }

    /// Refuse callers who may not manage users with one of these roles.
    pub(super) fn require_manager_of(
        self,
        roles: &[AccountRole],
        operation: &'static str,
    ) -> Result<(), AccountError> {
        let role = self.role();
        let may = match role {
            AccountRole::ClusterAdmin => true,
            AccountRole::OrgAdmin => !roles.contains(&AccountRole::ClusterAdmin),
            AccountRole::Regular | AccountRole::ReadOnly => false,
        };
        if may { Ok(()) } else { Err(AccountError::NotAllowed { role, operation }) }
    }
}
