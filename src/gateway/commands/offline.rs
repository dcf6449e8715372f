//! `check`, `explain` and `replay`: commands that need no running gateway.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::gateway::commands::outcome::checked;
use crate::gateway::commands::output::OutputOptions;
use crate::gateway::offline::check::{KeyCheck, check};
use crate::gateway::offline::explain::{Explanation, Question, RequestLine, explain, parse_moment};
use crate::gateway::offline::replay::{ReplayReport, replay};
use crate::terminal::report::{CommandResult, Format};

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct CheckConfiguration {
    /// Configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Do not open private keys, as on a machine without access to their KMS or passphrase.
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    output: OutputOptions,
}

impl CheckConfiguration {
    pub(crate) fn run(self, clock: &Arc<dyn Clock>) -> (Format, CommandResult) {
        let keys = if self.without_keys { KeyCheck::Skip } else { KeyCheck::Open };
        (self.output.format(), checked(check(&self.config, keys, clock), |_| true))
    }
}

/// Arguments of `explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// Configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Certificate of the client, followed by its issuers. By default, the client presents none.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// File with the access token of the request. By default, it has none.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Method and path, such as 'PUT /v1/nodes/7'.
    #[arg(long, value_name = "METHOD PATH")]
    request: RequestLine,
    /// Time of the decision (RFC 3339). By default, now.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    at: Option<OffsetDateTime>,
    /// Address of the listener. By default, the first that would accept the client.
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<SocketAddr>,
    /// Address of the client.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    from: IpAddr,
    /// The request has a body.
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    output: OutputOptions,
}

impl Explain {
    pub(crate) fn run(self, clock: &Arc<dyn Clock>) -> (Format, CommandResult) {
        let Self { config, cert, token, request, at, listener, from, body, output } = self;
        let question = Question { certificate: cert, token, request, at, listener, from, body };
        (output.format(), checked(explain(&config, &question, clock), Explanation::is_permit))
    }
}

/// Arguments of `replay`.
#[derive(Args)]
pub(crate) struct ReplayLog {
    /// Access log; `-` for standard input.
    access_log: PathBuf,
    /// Other configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: OutputOptions,
}

impl ReplayLog {
    pub(crate) fn run(self) -> (Format, CommandResult) {
        let replay = replay(&self.access_log, &self.config);
        (self.output.format(), checked(replay, ReplayReport::is_without_change))
    }
}
