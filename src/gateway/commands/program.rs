//! Command tree of `cluster-gateway`, and dispatch to the commands.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::Clock;
use crate::gateway::commands::admin::AdminCommand;
use crate::gateway::commands::offline::{CheckConfiguration, Explain, ReplayLog};
use crate::gateway::commands::run::Run;
use crate::gateway::config::schema::FILE;
use crate::secret::forbid_core_dumps;
use crate::serving::logging::log_to_standard_error;
use crate::terminal::ShowGuide;
use crate::terminal::completions::Completions;
use crate::terminal::help_footer::with_filled_footers;
use crate::terminal::hints::Audience;
use crate::terminal::man;
use crate::terminal::panic_guard::guarded;
use crate::terminal::report::{self, Format};
use crate::terminal::{stderr, usage};

/// Mutual-TLS gateway in front of a cluster's REST API.
#[derive(Parser)]
#[command(
    name = "cluster-gateway",
    version = env!("CLUSTER_CA_VERSION"),
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  cluster-gateway check --config gateway.yaml
  cluster-gateway explain --config gateway.yaml --cert user-alice.crt --request 'GET /v1/volumes'
  cluster-gateway run --config gateway.yaml

Exit codes: 0 done, 1 refused by a rule or by state, 2 usage, 3 files, 4 network or KMS."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Log more on standard error.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Run(Run),
    /// Check a configuration and all files it names, and report all problems at once. Private keys are opened
    /// last: if one cannot be opened, everything else is valid.
    Check(CheckConfiguration),
    /// Explain the decision on a certificate and a request, without a connection. Exits 0 if the request is
    /// permitted, 1 if it is denied.
    Explain(Explain),
    /// List the requests in an access log that another configuration would decide differently. Exits 1 if there
    /// are any, or if a request could not be decided.
    Replay(ReplayLog),
    #[command(flatten)]
    Admin(AdminCommand),
    /// Show a guide: the commands of a task in their order, and reference tables.
    Guide(ShowGuide<true>),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the manual page of the program, or of one command.
    Man {
        /// Command, such as `run`, or configuration file, such as `cluster-gateway.yaml`.
        #[arg(value_name = "COMMAND")]
        page: Vec<String>,
    },
}

/// Run `cluster-gateway` with the arguments of the process.
#[must_use]
pub fn main(clock: Arc<dyn Clock>) -> ExitCode {
    if let Err(error) = forbid_core_dumps() {
        stderr::line(format_args!("warning: this process may leave a core file: {error}"));
    }
    run(std::env::args_os(), clock)
}

/// Run `cluster-gateway` with these arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, clock: Arc<dyn Clock>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let finished = guarded(|| match parsed(&arguments) {
        Ok(Arguments { command, verbose }) => command.run(verbose, clock),
        Err(error) => usage::refuse("cluster-gateway", &arguments, error),
    });
    finished.unwrap_or_else(|failure| report::finish(Format::Text, Err(failure.read_by(Audience::Gateway))))
}

/// The command tree, for parsing, completions and manual pages.
fn command() -> clap::Command {
    with_filled_footers(Arguments::command())
}

fn parsed(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

impl Command {
    fn run(self, verbose: bool, clock: Arc<dyn Clock>) -> ExitCode {
        if matches!(self, Self::Check(_) | Self::Explain(_) | Self::Replay(_)) {
            log_to_standard_error(verbose);
        }
        let (format, result) = match self {
            Self::Admin(command) => command.run(),
            Self::Guide(guide) => (Format::Text, guide.run()),
            Self::Completions(completions) => (Format::Text, completions.run(command())),
            Self::Man { page } => (Format::Text, man::show(command(), &[&FILE], &page)),
            Self::Check(command) => command.run(&clock),
            Self::Explain(command) => command.run(&clock),
            Self::Replay(command) => command.run(),
            Self::Run(command) => return command.run(verbose, clock),
        };
        report::finish(format, result)
    }
}
