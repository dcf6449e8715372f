//! `gateways [status]`: how every gateway is; and what other commands need to have them enforce a list.

mod asked;
mod pushed;
mod reach;
mod states;

pub(super) use pushed::{FollowUp, Push, PushReport, Wait};
pub(super) use reach::{Reach, is_listed};

use clap::{Args, Subcommand};

use super::Session;
use super::report::CommandResult;
use states::Status;

/// `gateways`, alone or with its command.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Gateways {
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
    pub(super) fn run(self, session: &Session) -> CommandResult {
        match self.command {
            Some(Command::Status(status)) => status.run(session),
            None => self.alone.run(session),
        }
    }
}
