//! `gateways [status]`.

use clap::{Args, Subcommand};

use super::status::ShowGatewayStatus;
use crate::cli::session::CommandSession;
use crate::terminal::report::CommandResult;

/// `gateways`, alone or with its command.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Gateways {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    alone: ShowGatewayStatus,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show gateway status: CRL in force, trust anchors, certificate (default)
    Status(ShowGatewayStatus),
}

impl Gateways {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        match self.command {
            Some(Command::Status(status)) => status.run(session),
            None => self.alone.run(session),
        }
    }
}
