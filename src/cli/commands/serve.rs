//! `serve`: the CA as a server.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult};
use crate::terminal::serve::ServeRequest;

/// The arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca serve --check --config server.yaml
  cluster-ca serve --config server.yaml --passphrase-file /run/secrets/passphrase

SIGHUP reloads the configuration, the CRL and the certificate; SIGTERM lets requests in flight finish.
See cluster-ca guide server, and cluster-ca man server.yaml.")]
pub(crate) struct Serve {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Check the configuration and the home, and do not serve
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let functions = session.server();
        let request = ServeRequest {
            config: self.config,
            home: session.home(),
            context: session.context.clone(),
            profiles: session.profiles()?,
            verbose: session.is_verbose(),
        };
        if self.check {
            return (functions.check)(request);
        }
        (functions.serve)(request)?;
        Ok(Box::new(Served))
    }
}

/// Result of a server that ended. Nothing is printed: standard output may be the access log.
#[derive(Serialize)]
struct Served;

impl std::fmt::Display for Served {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl CommandOutcome for Served {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}
