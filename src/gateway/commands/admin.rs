//! `close`, `rejected`, `reload`, `sessions` and `status`: commands that talk to a running gateway.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::gateway::admin::AdminRequest;
use crate::gateway::admin::client::{self, AdminClientError};
use crate::gateway::admin::text;
use crate::gateway::commands::output::OutputOptions;
use crate::terminal::hints::Audience;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Format};
use crate::terminal::table::TableArgs;

#[derive(Subcommand)]
pub(crate) enum AdminCommand {
    /// Show the state in force, its expirations, and the result of the last reload.
    Status(TableArguments),
    /// Show the open connections.
    Sessions(TableArguments),
    /// Show the last refused handshakes, with reason and certificate.
    Rejected(TableArguments),
    /// Close the open connections of a certificate. Exits 1 if there are none. To block the client from
    /// reconnecting, revoke its certificate.
    Close {
        /// Serial number of the certificate.
        #[arg(value_name = "SERIAL", value_parser = AdminRequest::close)]
        request: AdminRequest,
        #[command(flatten)]
        arguments: AdminArguments,
    },
    /// Reload configuration, certificate, key, trust bundle, CRL and policy.
    Reload(AdminArguments),
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
    #[command(flatten)]
    output: OutputOptions,
}

/// [`AdminArguments`] of a command that prints a table.
#[derive(Args)]
pub(crate) struct TableArguments {
    #[command(flatten)]
    arguments: AdminArguments,
    #[command(flatten)]
    table: TableArgs,
}

impl AdminCommand {
    pub(crate) fn run(self) -> (Format, CommandResult) {
        let (request, TableArguments { arguments, table }) = match self {
            Self::Close { request, arguments } => (request, arguments.into()),
            Self::Rejected(arguments) => (AdminRequest::Rejected, arguments),
            Self::Reload(arguments) => (AdminRequest::Reload, arguments.into()),
            Self::Sessions(arguments) => (AdminRequest::Sessions, arguments),
            Self::Status(arguments) => (AdminRequest::Status, arguments),
        };
        let result: CommandResult = match send(&arguments, &request) {
            Ok(json) => {
                let text = text::describe(&request, &json, table.output());
                let closed_none =
                    matches!(request, AdminRequest::Close { .. }) && json["connections_closed"] == 0;
                Ok(Box::new(AdminAnswer { text, json, closed_none }))
            }
            Err(error) => Err(failure(&error)),
        };
        (arguments.output.format(), result)
    }
}

impl From<AdminArguments> for TableArguments {
    fn from(arguments: AdminArguments) -> Self {
        Self { arguments, table: TableArgs::default() }
    }
}

/// Answer of the gateway, as text and JSON.
struct AdminAnswer {
    text: String,
    json: Value,
    /// True if `close` found no connection.
    closed_none: bool,
}

impl fmt::Display for AdminAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl CommandOutcome for AdminAnswer {
    fn json(&self) -> Result<Value, serde_json::Error> {
        Ok(self.json.clone())
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.closed_none)
    }
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
    Failure::named(error.code().to_owned(), error.class(), error.to_string())
        .with_causes(error.causes())
        .read_by(Audience::Gateway)
}
