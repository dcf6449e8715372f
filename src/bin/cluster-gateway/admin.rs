//! The commands that ask a running gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use cluster_ca::gateway::admin::Request;
use cluster_ca::gateway::admin::client::{self, ClientError};
use cluster_ca::gateway::admin::text;
use cluster_ca::terminal::hints::{Audience, hint};
use serde_json::Value;

use super::report::{self, Failure, Shown};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Close the open connections under one certificate: exit code 1 when there is none. To keep the caller
    /// out, revoke it.
    Close {
        /// The certificate's serial number.
        #[arg(value_name = "SERIAL", value_parser = Request::close)]
        request: Request,
        #[command(flatten)]
        which: Which,
    },
    /// Show the last handshakes that let nobody in, with the reason and the certificate.
    Rejected(Which),
    /// Load configuration, certificate, key, trust bundle, CRL and policy again.
    Reload(Which),
    /// Show the open connections.
    Sessions(Which),
    /// Show what is in force, until when, and how the last reload went.
    Status(Which),
}

/// Which gateway, and how its answer is printed.
#[derive(Args)]
pub(crate) struct Which {
    /// The gateway's admin socket [default: /run/cluster-gateway.sock].
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The gateway's configuration, which names the socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: Command) -> ExitCode {
    let (request, which) = match command {
        Command::Close { request, which } => (request, which),
        Command::Rejected(which) => (Request::Rejected, which),
        Command::Reload(which) => (Request::Reload, which),
        Command::Sessions(which) => (Request::Sessions, which),
        Command::Status(which) => (Request::Status, which),
    };
    let shown = ask(&which, &request).map(|answer| Shown {
        text: text::describe(&request, &answer),
        is_good: answer["connections_closed"] != 0,
        json: answer,
    });
    report::finish(which.json, shown.map_err(|error| failure(&error)))
}

fn ask(which: &Which, request: &Request) -> Result<Value, ClientError> {
    let socket = match (&which.socket, &which.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => client::socket_of(config)?,
        (None, None) => client::default_socket(),
    };
    client::ask(&socket, request)
}

fn failure(error: &ClientError) -> Failure {
    Failure {
        code: error.code().to_owned(),
        class: error.class(),
        message: error.to_string(),
        causes: error.causes(),
        hint: hint(Audience::Gateway, error.code()),
    }
}
