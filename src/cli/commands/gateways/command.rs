//! `gateways [status|push-tokens]`.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::push_statement::PushStatement;
use super::status::ShowGatewayStatus;
use super::target_args::is_listed;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Shown};

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
    /// Push the statement about tokens to every gateway
    PushTokens(PushStatement),
}

/// Result of `gateways` alone in a home that lists none. `gateways status` refuses: a check must not pass.
#[derive(Serialize)]
struct NoGateways {}

impl fmt::Display for NoGateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "No gateways: the home has no gateways.yaml")?;
        writeln!(
            f,
            "\nNext: list them, as cluster-ca crl push --help shows; or name one with --gateway HOST:PORT"
        )
    }
}

impl Gateways {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        match self.command {
            Some(Command::Status(status)) => status.run(session),
            Some(Command::PushTokens(push)) => push.run(session),
            None if !self.alone.is_given() && !is_listed(session) => Ok(Box::new(Shown(NoGateways {}))),
            None => self.alone.run(session),
        }
    }
}
