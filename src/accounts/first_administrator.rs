//! First administrator of a home that has no users: created with a one-time password, which is never a fixed one.

use std::fs;
use std::path::PathBuf;

use time::Duration;

use super::directory::Accounts;
use super::error::AccountError;
use super::password_hash;
use super::password_rules;
use crate::ca::CaError;
use crate::files::{self, Access, FileError, Placement};
use crate::identity::{AccountRole, Name};
use crate::secret::Secret;
use crate::store::{AccountSource, OrganizationRecord, UserFacts, UserRecord};
use crate::x509::hex;

/// Name of the first administrator.
const NAME: &str = "admin";

/// Random bytes of the password.
const LENGTH: usize = 16;

impl Accounts {
    /// Create the user `admin` of the organization `Root` if there are no users at all, and return the path of the
    /// file with its one-time password. The first login must change it.
    ///
    /// # Errors
    /// Errors of the home and the file.
    pub fn create_first_administrator(&self) -> Result<Option<PathBuf>, AccountError> {
        if !self.read(|rows| Ok(rows.users(None)?.is_empty()))? {
            return Ok(None);
        }
        let name = Name::of_user(NAME)?;
        let password = self.one_time_password()?;
        password_rules::check(&password, NAME).map_err(|weakness| AccountError::WeakPassword { weakness })?;
        let hash = password_hash::hash(&password, &*self.context.entropy)?;
        let (now, path) = (self.now(), self.home.first_password());
        self.change(|transaction| {
            let rows = transaction.accounts();
            let root = rows.organization_by_id(OrganizationRecord::ROOT)?;
            let (true, Some(root)) = (rows.users(None)?.is_empty(), root) else {
                return Ok((transaction, None));
            };
            let facts = UserFacts {
                organization: root.id,
                name,
                role: AccountRole::ClusterAdmin,
                source: AccountSource::Local,
                password: Some((hash, now)),
                must_change_password: true,
                certificate: None,
                certificate_required: false,
                tokens_from: now.saturating_add(Duration::SECOND),
                ldap_entry: None,
                created_at: now,
            };
            let (transaction, _) = transaction.create_user(&root, facts)?;
            // Before the user exists: a crash in between leaves a file that the next start replaces.
            let line = Secret::new([password.expose(), b"\n"].concat());
            files::write(&path, Access::Private, Placement::Replace, line.expose()).map_err(CaError::from)?;
            Ok((transaction, Some(path)))
        })
    }

    /// Remove the file with the one-time password: it is used up.
    pub(super) fn forget_first_password(&self, user: &UserRecord) -> Result<(), AccountError> {
        let path = self.home.first_password();
        let is_first = user.facts.name.as_str() == NAME
            && user.facts.organization == OrganizationRecord::ROOT
            && user.facts.source == AccountSource::Local;
        if !is_first || !files::occupied(&path) {
            return Ok(());
        }
        let failed = |source| FileError::Io { doing: "remove", path: path.clone(), source };
        fs::remove_file(&path).map_err(failed).map_err(CaError::from)?;
        Ok(())
    }

    /// A random password that keeps the rules.
    fn one_time_password(&self) -> Result<Secret, AccountError> {
        let mut bytes = [0; LENGTH];
        self.context.entropy.fill(&mut bytes)?;
        // Rules ask for an upper-case letter, too.
        Ok(Secret::new(format!("One-{}", hex(&bytes)).into_bytes()))
    }
}
