//! Groups of commands: `crl`, `key` and others, which run their default command when called alone.

use clap::{Args, Subcommand};

use crate::cli::session::CommandSession;
use crate::terminal::report::CommandResult;

/// The commands of a group. `default` is the one that shows the state and changes nothing.
pub(crate) trait GroupedCommand: Subcommand + Default {
    fn run(self, session: &CommandSession) -> CommandResult;
}

/// A group with one of its commands, or alone.
#[derive(Debug, Args)]
pub(crate) struct CommandGroup<C: Subcommand> {
    #[command(subcommand)]
    command: Option<C>,
}

impl<C: GroupedCommand> CommandGroup<C> {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        self.command.unwrap_or_default().run(session)
    }
}
