//! `gateways [status]`: how every gateway is.

use clap::{Args, Subcommand};

use super::status::Status;
use crate::cli::session::Session;
use crate::terminal::report::CommandResult;

/// `gateways`, alone or with its command.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Gateways {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    alone: Status,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show of every gateway which list it enforces, what it trusts and serves (also `gateways` alone)
    Status(Status),
}

impl Gateways {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        match self.command {
            Some(Command::Status(status)) => status.run(session),
            None => self.alone.run(session),
        }
    }
}
