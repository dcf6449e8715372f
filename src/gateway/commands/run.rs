//! `run`: serve until SIGTERM or SIGINT.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::clock::Clock;
use crate::gateway::commands::outcome::failure;
use crate::gateway::process::{RunError, run};
use crate::serving::line_log::LineLog;
use crate::serving::logging::log_to_lines;
use crate::terminal::report::{self, Format};
use crate::terminal::stderr;

/// Arguments of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// Configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Forward all requests to an embedded echo service instead of the configured upstreams.
    #[arg(long)]
    demo_upstream: bool,
}

impl Run {
    pub(crate) fn run(self, verbose: bool, clock: Arc<dyn Clock>) -> ExitCode {
        match self.serve(verbose, clock) {
            // Nothing is printed: standard output may be the access log.
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report::finish(Format::Text, Err(failure(&error))),
        }
    }

    fn serve(self, verbose: bool, clock: Arc<dyn Clock>) -> Result<(), RunError> {
        let lines = LineLog::start("standard-error", Box::new(io::stderr()))
            .map_err(|source| RunError::Environment { source })?;
        let lines = Arc::new(lines);
        log_to_lines(Arc::clone(&lines), verbose);
        let served = run::run(&self.config, self.demo_upstream, clock, |addresses| {
            for address in addresses {
                stderr::line(format_args!("listening on {address}"));
            }
        });
        lines.close();
        served
    }
}
