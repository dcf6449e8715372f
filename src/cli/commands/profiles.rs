//! `profiles list|show|check`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::format_duration;
use crate::identity::Role;
use crate::profile::{KeyRule, ProfileOrigin, ProfileSet, ValidityRule};

use crate::cli::group::GroupedCommand;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Shown};
use crate::terminal::table::{Cell, Column, Table, TableArgs, TableOutput};

/// Subcommands of `profiles`.
#[derive(Debug, Subcommand)]
pub(crate) enum Profiles {
    /// List the profiles with source, validity and key types (default)
    List(TableArgs),
    /// Show one profile: root, control-service, node-agent or api-user
    Show(ShowProfile),
    /// Check the profiles in a directory and report every problem
    Check(Check),
}

/// The arguments of `profiles show`.
#[derive(Debug, Args)]
pub(crate) struct ShowProfile {
    /// root, control-service, node-agent or api-user
    #[arg(value_name = "ROLE")]
    role: String,
}

/// The arguments of `profiles check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The directory [default: that of --templates, or the built-in profiles]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    #[command(flatten)]
    table: TableArgs,
}

impl Default for Profiles {
    fn default() -> Self {
        Self::List(TableArgs::default())
    }
}

/// A profile in a listing.
#[derive(Serialize)]
struct Row {
    role: String,
    key_types: Vec<String>,
    validity: String,
    longest: String,
    source: String,
    digest: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listing {
    rows: Vec<Row>,
    #[serde(skip)]
    output: TableOutput,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&Self::COLUMNS, self.output);
        for row in &self.rows {
            // `profiles show` lists all of them, too.
            let key_types = match (row.key_types.as_slice(), self.output) {
                ([first, others @ ..], TableOutput::Fitting) if !others.is_empty() => {
                    format!("{first} and {} more", others.len())
                }
                (all, _) => all.join(" "),
            };
            table.push([
                Cell::new(&row.role),
                Cell::new(&row.validity),
                Cell::new(&row.longest),
                Cell::new(key_types),
                Cell::new(&row.source),
                Cell::new(&row.digest),
            ]);
        }
        write!(f, "{table}")
    }
}

impl Listing {
    const COLUMNS: [Column; 6] = [
        Column::new("PROFILE"),
        Column::new("VALIDITY"),
        Column::new("AT MOST"),
        Column::new("KEY TYPES"),
        Column::new("SOURCE").flexible(),
        Column::new("DIGEST").wide(),
    ];

    fn of(set: &ProfileSet, output: TableOutput) -> Self {
        let row = |role: String, origin: &ProfileOrigin, key: &KeyRule, validity: &ValidityRule| Row {
            role,
            key_types: key.algorithms().iter().map(ToString::to_string).collect(),
            validity: format_duration(validity.default_validity()),
            longest: format_duration(validity.maximum()),
            source: origin.source.to_string(),
            digest: origin.digest.to_string(),
        };
        let root = set.root();
        let root = row(ROOT.to_owned(), root.origin(), root.key(), root.validity());
        let leaves =
            set.leaves().map(|leaf| row(leaf.role().to_string(), leaf.origin(), leaf.key(), leaf.validity()));
        Self { rows: [root].into_iter().chain(leaves).collect(), output }
    }
}

/// Name of the root's profile.
const ROOT: &str = "root";

impl GroupedCommand for Profiles {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::List(table) => Ok(Box::new(Shown(Listing::of(&session.profiles()?, table.output())))),
            Self::Show(ShowProfile { role }) if role == ROOT => {
                Ok(Box::new(Shown(session.profiles()?.root().clone())))
            }
            Self::Show(ShowProfile { role }) => {
                let role: Role = role.parse()?;
                Ok(Box::new(Shown(session.profiles()?.leaf(role).clone())))
            }
            Self::Check(Check { directory, table }) => {
                let set = match directory {
                    Some(directory) => ProfileSet::load(&directory)?,
                    None => session.profiles()?,
                };
                Ok(Box::new(Shown(Listing::of(&set, table.output()))))
            }
        }
    }
}
