//! Commands that talk to a running gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use cluster_ca::gateway::admin::AdminRequest;
use cluster_ca::gateway::admin::client::{self, AdminClientError};
use cluster_ca::gateway::admin::text;
use cluster_ca::terminal::hints::{Audience, hint};
use serde_json::Value;

use super::report::{self, Failure, Shown};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Close the open connections of a certificate. Exits 1 if there are none. To block the client from
    /// reconnecting, revoke its certificate.
    Close {
        /// Serial number of the certificate.
        #[arg(value_name = "SERIAL", value_parser = AdminRequest::close)]
        request: AdminRequest,
        #[command(flatten)]
        arguments: AdminArguments,
    },
    /// Show the last refused handshakes, with reason and certificate.
    Rejected(AdminArguments),
    /// Reload configuration, certificate, key, trust bundle, CRL and policy.
    Reload(AdminArguments),
    /// Show the open connections.
    Sessions(AdminArguments),
    /// Show the state in force, its expirations, and the result of the last reload.
    Status(AdminArguments),
}

/// Gateway to talk to, and format of the result.
#[derive(Args)]
pub(crate) struct AdminArguments {
    /// Admin socket of the gateway [default: /run/cluster-gateway.sock].
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Configuration file that names the socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: Command) -> ExitCode {
    let (request, arguments) = match command {
        Command::Close { request, arguments } => (request, arguments),
        Command::Rejected(arguments) => (AdminRequest::Rejected, arguments),
        Command::Reload(arguments) => (AdminRequest::Reload, arguments),
        Command::Sessions(arguments) => (AdminRequest::Sessions, arguments),
        Command::Status(arguments) => (AdminRequest::Status, arguments),
    };
    let shown = send(&arguments, &request).map(|answer| Shown {
        text: text::describe(&request, &answer),
        is_good: answer["connections_closed"] != 0,
        json: answer,
    });
    report::finish(arguments.json, shown.map_err(|error| failure(&error)))
}

fn send(arguments: &AdminArguments, request: &AdminRequest) -> Result<Value, AdminClientError> {
    let socket = match (&arguments.socket, &arguments.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => client::socket_of(config)?,
        (None, None) => client::default_socket(),
    };
    client::ask(&socket, request)
}

fn failure(error: &AdminClientError) -> Failure {
    Failure {
        code: error.code().to_owned(),
        class: error.class(),
        message: error.to_string(),
        causes: error.causes(),
        hint: hint(Audience::Gateway, error.code()),
    }
}
