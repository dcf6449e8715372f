//! `org create|list|rename|delete`: organizations of users.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::accounts::{Accounts, OrganizationView, Principal};
use crate::cli::group::GroupedCommand;
use crate::cli::session::CommandSession;
use crate::identity::OrganizationName;
use crate::terminal::report::{CommandResult, Shown};
use crate::terminal::table::{Cell, Column, Table, TableArgs, TableOutput, date_in};

/// Subcommands of `org`.
#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// Create an organization
    Create(OrganizationArgs),
    /// List the organizations (default)
    List(TableArgs),
    /// Rename an organization
    Rename(RenameOrganization),
    /// Delete an organization that has no users
    Delete(OrganizationArgs),
}

impl Default for Org {
    fn default() -> Self {
        Self::List(TableArgs::default())
    }
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
            Self::List(table) => {
                let (organizations, output) = (accounts.organizations(by)?, table.output());
                return Ok(Box::new(Shown(OrganizationTable { organizations, output })));
            }
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
struct OrganizationTable {
    organizations: Vec<OrganizationView>,
    #[serde(skip)]
    output: TableOutput,
}

impl OrganizationTable {
    const COLUMNS: [Column; 4] = [
        Column::new("ID").number(),
        Column::new("ORG").flexible(),
        Column::new("USERS").number(),
        Column::new("CREATED"),
    ];
}

impl fmt::Display for OrganizationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&Self::COLUMNS, self.output);
        for org in &self.organizations {
            let created = date_in(self.output, &org.created_at);
            table.push([Cell::new(org.id), Cell::new(&org.name), Cell::new(org.users), Cell::new(created)]);
        }
        write!(f, "{table}")
    }
}
