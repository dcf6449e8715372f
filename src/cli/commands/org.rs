//! `org create|list|rename|delete`: organizations of users.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::accounts::{Accounts, OrganizationView, Principal};
use crate::cli::account_table::write_table;
use crate::cli::group::GroupedCommand;
use crate::cli::session::CommandSession;
use crate::identity::OrganizationName;
use crate::terminal::report::{CommandResult, Shown};

/// Subcommands of `org`.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Org {
    /// Create an organization
    Create(OrganizationArgs),
    /// List the organizations (default)
    #[default]
    List,
    /// Rename an organization
    Rename(RenameOrganization),
    /// Delete an organization that has no users
    Delete(OrganizationArgs),
}

/// Name of an organization.
#[derive(Debug, Args)]
pub(crate) struct OrganizationArgs {
    /// Name: letters, digits and -._; case distinguishes no two organizations
    #[arg(value_name = "ORG")]
    name: OrganizationName,
}

/// The arguments of `org rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameOrganization {
    /// Present name
    #[arg(value_name = "ORG")]
    name: OrganizationName,

    /// New name
    #[arg(value_name = "NEW")]
    new: OrganizationName,
}

impl GroupedCommand for Org {
    fn run(self, session: &CommandSession) -> CommandResult {
        let accounts = Accounts::new(session.home(), session.context.clone());
        let by = Principal::Operator;
        let (view, done) = match self {
            Self::List => return Ok(Box::new(Shown(OrganizationTable(accounts.organizations(by)?)))),
            Self::Create(org) => (accounts.create_organization(by, &org.name)?, "Created"),
            Self::Rename(rename) => (accounts.rename_organization(by, &rename.name, &rename.new)?, "Renamed"),
            Self::Delete(org) => (accounts.delete_organization(by, &org.name)?, "Deleted"),
        };
        Ok(Box::new(Shown(OrganizationReport { view, done })))
    }
}

/// Result of a change.
#[derive(Serialize)]
#[serde(transparent)]
struct OrganizationReport {
    view: OrganizationView,
    #[serde(skip)]
    done: &'static str,
}

impl fmt::Display for OrganizationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.done {
            "Renamed" => writeln!(f, "Renamed the organization to {}", self.view.name),
            done => writeln!(f, "{done} the organization {}", self.view.name),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct OrganizationTable(Vec<OrganizationView>);

impl fmt::Display for OrganizationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().map(|org| {
            [org.id.to_string(), org.name.to_string(), org.users.to_string(), org.created_at.clone()]
        });
        write_table(f, ["ID", "ORG", "USERS", "CREATED"], rows)
    }
}
