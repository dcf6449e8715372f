//! The mutual-TLS gateway's command line.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cluster_ca::gateway::run::{self, Checked, RunError};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

/// Smallest and steadiest under many connections, and it gives memory back after a burst.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The mutual-TLS gateway in front of a cluster's REST API.
#[derive(Parser)]
#[command(name = "cluster-gateway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say more on standard error.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration and every file that it names, and tell all problems at once.
    Check {
        /// The configuration, YAML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serve until SIGTERM.
    Run {
        /// The configuration, YAML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Send everything to an embedded service that echoes what it receives, instead of the
        /// configured upstreams.
        #[arg(long)]
        demo_upstream: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(if arguments.verbose { LevelFilter::DEBUG } else { LevelFilter::INFO })
        .init();
    match arguments.command {
        Command::Check { config, json } => check(&config, json),
        Command::Run { config, demo_upstream } => {
            let ran = run::run(&config, demo_upstream, |addresses| {
                for address in addresses {
                    eprintln!("listening on {address}");
                }
            });
            match ran {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
    }
}

fn check(config: &Path, as_json: bool) -> ExitCode {
    let checked = run::check(config);
    let text = match &checked {
        _ if as_json => format!("{:#}\n", envelope(&checked)),
        Ok(checked) => describe(checked),
        Err(error) => return fail(error),
    };
    // A reader that has gone away has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    checked.as_ref().err().map_or(ExitCode::SUCCESS, exit_code)
}

fn describe(checked: &Checked) -> String {
    let crl = checked.crl_next_update.as_deref().map_or_else(
        || "revocation is disabled".to_owned(),
        |next_update| format!("the CRL holds until {next_update}"),
    );
    format!(
        "The configuration is good: {} route(s) to {} upstream(s) for callers of {}.\n\
         The gateway's certificate holds until {}; {crl}.\n",
        checked.routes, checked.upstreams, checked.trust_domain, checked.certificate_not_after,
    )
}

fn envelope(checked: &Result<Checked, RunError>) -> serde_json::Value {
    match checked {
        Ok(checked) => json!({ "ok": true, "result": checked }),
        Err(error) => json!({ "ok": false, "error": {
            "code": error.code(),
            "message": error.to_string(),
            "causes": causes(error),
            "hint": hint(error),
        }}),
    }
}

fn fail(error: &RunError) -> ExitCode {
    eprintln!("error: {error}");
    for cause in causes(error) {
        eprintln!("caused by: {cause}");
    }
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
    exit_code(error)
}

fn exit_code(error: &RunError) -> ExitCode {
    ExitCode::from(match error.code() {
        "file.exposed" | "file.foreign_owner" | "gateway.configuration" => 1,
        code if code.starts_with("file.") || code.starts_with("gateway.") => 3,
        _ => 1,
    })
}

fn causes(error: &RunError) -> Vec<String> {
    if let RunError::Configuration { problems, .. } = error {
        return problems.iter().map(ToString::to_string).collect();
    }
    std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect()
}

/// What to do next, by the code of the error.
fn hint(error: &RunError) -> Option<&'static str> {
    Some(match error.code() {
        "chain.expired" => "issue a new certificate for the gateway with `cluster-ca create-control`",
        "chain.unknown_issuer" | "chain.bad_signature" => {
            "the gateway's certificate and `trust.bundle` must come from the same cluster"
        }
        "crl.bad_signature" | "crl.missing_for_issuer" | "crl.unknown_issuer" => {
            "`trust.crl` and `trust.bundle` must come from the same cluster: copy both from the CA's home"
        }
        "file.exposed" => "close it to others: chmod 0600",
        "file.foreign_owner" => "run as the owner, or chown it to yourself",
        "gateway.bind" => "stop what listens there, or choose another `listen` address",
        "own_certificate.revoked" | "own_certificate.role" => {
            "use a certificate that `cluster-ca create-control` made"
        }
        "revocation.crl_expired" => {
            "write a fresh list on the CA's machine (any `cluster-ca revoke` does), and copy cluster.crl here"
        }
        "tls.key_mismatch" => "`identity.certificate` and `identity.key` must be written by the same command",
        _ => return None,
    })
}
