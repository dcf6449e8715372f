//! Functions that `cluster-ca serve` calls.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::config::schema::FILE;
use super::error::ServerError;
use super::process;
use crate::clock::rfc3339;
use crate::serving::line_log::LineLog;
use crate::serving::logging::{log_to_lines, log_to_standard_error};
use crate::terminal::report::{CommandResult, Failure, Shown};
use crate::terminal::serve::{ServeRequest, ServerFunctions};
use crate::terminal::stderr;

/// Functions of the server, for the command line.
pub const FUNCTIONS: ServerFunctions = ServerFunctions { serve, check, file: &FILE };

fn serve(request: ServeRequest) -> Result<(), Failure> {
    let lines = LineLog::start("standard-error", Box::new(io::stderr()))
        .map_err(|source| failure(&ServerError::Environment { source }))?;
    let lines = Arc::new(lines);
    log_to_lines(Arc::clone(&lines), request.verbose);
    let served = process::run(request, |address| {
        stderr::line(format_args!("listening on {address}"));
    });
    lines.close();
    served.map_err(|error| failure(&error))
}

fn check(request: ServeRequest) -> CommandResult {
    log_to_standard_error(request.verbose);
    let checked = process::check(&request).map_err(|error| failure(&error))?;
    Ok(Box::new(Shown(CheckReport {
        listen: checked.config.listen.to_string(),
        hosts: checked.config.hosts.iter().map(ToString::to_string).collect(),
        operators: checked.config.operators.len(),
        certificate: checked.certificate.map(rfc3339),
        key_protected: checked.key_protected,
    })))
}

/// Error of the server; the causes of an invalid configuration are all its problems.
fn failure(error: &ServerError) -> Failure {
    let failure = Failure::of(error);
    match error {
        ServerError::Configuration { problems, .. } => {
            failure.with_causes(problems.iter().map(ToString::to_string).collect())
        }
        _ => failure,
    }
}

/// Result of `serve --check`.
#[derive(Serialize)]
struct CheckReport {
    listen: String,
    hosts: Vec<String>,
    operators: usize,
    /// Expiry of the certificate; `None` if the server will issue one.
    certificate: Option<String>,
    key_protected: bool,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The configuration is valid")?;
        writeln!(f, "  listen       {}", self.listen)?;
        writeln!(f, "  hosts        {}", self.hosts.join(", "))?;
        writeln!(f, "  operators    {}", self.operators)?;
        match &self.certificate {
            Some(until) => writeln!(f, "  certificate  valid until {until}")?,
            None => writeln!(f, "  certificate  issued at the start")?,
        }
        match self.key_protected {
            true => Ok(()),
            false => writeln!(f, "\nwarning: {}", process::UNPROTECTED),
        }
    }
}
