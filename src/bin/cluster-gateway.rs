//! The mutual-TLS gateway's command line.

#[path = "cluster-gateway/admin.rs"]
mod admin;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use cluster_ca::gateway::explain::{Explanation, Question, RequestLine, explain, moment};
use cluster_ca::gateway::log::LineLog;
use cluster_ca::gateway::replay::replay;
use cluster_ca::gateway::run::{self, Keys, RunError};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
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
    #[command(flatten)]
    Admin(admin::Command),
    /// Check a configuration and every file that it names, and tell all problems at once. Private keys
    /// are opened last, by whatever opens them: where one cannot be, everything else is good.
    Check {
        /// The configuration, YAML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Leave the private keys closed: what opens them is out of reach here.
        #[arg(long)]
        without_keys: bool,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Explain, without a connection, what the gateway makes of a certificate and a request: exit code 0
    /// when the request may be made, 1 when it may not.
    Explain {
        /// The configuration, YAML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The caller's certificate, its issuers after it; without it, a caller that presents none.
        #[arg(long, value_name = "FILE")]
        cert: Option<PathBuf>,
        /// Method and path, such as 'PUT /v1/nodes/7'.
        #[arg(long, value_name = "METHOD PATH")]
        request: RequestLine,
        /// The time at which to judge, RFC 3339; now, unless given.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        at: Option<OffsetDateTime>,
        /// The listener that is called; the first that fits, unless given.
        #[arg(long, value_name = "ADDRESS")]
        listener: Option<SocketAddr>,
        /// The address that the caller calls from.
        #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
        from: IpAddr,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List what another configuration would have decided otherwise about the requests in an access log:
    /// exit code 1 when there is anything.
    Replay {
        /// The access log; `-` for standard input.
        access_log: PathBuf,
        /// The other configuration, YAML.
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
    match arguments.command {
        Command::Admin(command) => admin::run(command),
        Command::Check { config, without_keys, json } => {
            say_on(io::stderr, arguments.verbose);
            let keys = if without_keys { Keys::Left } else { Keys::Opened };
            print(&run::check(&config, keys), json, |_| true)
        }
        Command::Explain { config, cert, request, at, listener, from, json } => {
            say_on(io::stderr, arguments.verbose);
            let question = Question { certificate: cert, request, at, listener, from };
            print(&explain(&config, &question), json, Explanation::is_permit)
        }
        Command::Replay { access_log, config, json } => {
            say_on(io::stderr, arguments.verbose);
            print(&replay(&access_log, &config), json, |replay| replay.changed == 0)
        }
        Command::Run { config, demo_upstream } => {
            let said = match LineLog::start("standard-error", Box::new(io::stderr())) {
                Ok(said) => Arc::new(said),
                Err(source) => return fail(&RunError::Environment { source }),
            };
            let writer = Arc::clone(&said);
            say_on(move || Said(Arc::clone(&writer)), arguments.verbose);
            let ran = run::run(&config, demo_upstream, |addresses| {
                for address in addresses {
                    eprintln!("listening on {address}");
                }
            });
            said.close();
            match ran {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
    }
}

/// Where everything goes that is said along the way.
fn say_on<W: io::Write>(writer: impl Fn() -> W + Send + Sync + 'static, verbose: bool) {
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO })
        .init();
}

/// Standard error of a gateway that serves: no request waits for whoever reads it.
struct Said(Arc<LineLog>);

impl Write for Said {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append_text(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a result, as text or in the envelope; the exit code is 1 for one that is not `good`.
fn print<T: Serialize + Display>(
    result: &Result<T, RunError>,
    as_json: bool,
    good: impl Fn(&T) -> bool,
) -> ExitCode {
    let text = match result {
        _ if as_json => format!("{:#}\n", envelope(result)),
        Ok(value) => value.to_string(),
        Err(error) => return fail(error),
    };
    // A reader that has gone away has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    match result {
        Ok(value) => ExitCode::from(u8::from(!good(value))),
        Err(error) => exit_code(error),
    }
}

fn envelope<T: Serialize>(result: &Result<T, RunError>) -> serde_json::Value {
    match result {
        Ok(value) => json!({ "ok": true, "result": value }),
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
        "file.exposed" | "file.foreign_owner" | "gateway.configuration" | "gateway.no_listener" => 1,
        "kms.ca_certificate" | "kms.client_certificate" | "kms.configuration" | "kms.not_configured" => 1,
        "kms.credential_missing" | "kms.key_unfit" => 1,
        code if code.starts_with("kms.") => 4,
        code if code.starts_with("admin.") || code.starts_with("file.") || code.starts_with("gateway.") => 3,
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
        "admin.in_use" => "stop the gateway that listens there, or choose another `admin` socket",
        "admin.occupied" | "admin.open_directory" => {
            "choose a path for `admin` in a directory of the gateway's own, such as /run/cluster-gateway"
        }
        "chain.expired" => "issue a new certificate for the gateway with `cluster-ca create-control`",
        "chain.unknown_issuer" | "chain.bad_signature" => {
            "the gateway's certificate and `trust.bundle` must come from the same cluster"
        }
        "crl.bad_signature" | "crl.missing_for_issuer" | "crl.unknown_issuer" => {
            "`trust.crl` and `trust.bundle` must come from the same cluster: copy both from the CA's home; \
             each authority in `trust.intermediates` needs its own list there"
        }
        "crl.record_damaged" => {
            "put the newest list in place, then remove the record: the list that is read next counts as the newest"
        }
        "crl.rollback" => {
            "a newer list has been in force here: copy the CA's cluster.crl here again; `state_directory` has what was"
        }
        "trust.no_issuer" | "trust.path_too_long" | "trust.self_signed" => {
            "`trust.intermediates` has the authorities below the roots of `trust.bundle`, and all of those between"
        }
        "file.exposed" => "close it to others: chmod 0600",
        "file.foreign_owner" => "run as the owner, or chown it to yourself",
        "gateway.bind" => "stop what listens there, or choose another `listen` or `metrics` address",
        "key.envelope_damaged" | "key.envelope_unreadable" => {
            "put back the key file as it was written, or issue a new pair with `cluster-ca create-control`"
        }
        "key.passphrase_needed" => "name the file that holds the passphrase: `passphrase_file` beside `key`",
        "key.wrong_passphrase" => "write the key's passphrase into the first line of `passphrase_file`",
        "kms.certificate_untrusted" => {
            "set the CA of the service's certificate with `cluster-ca ca-cert set`, then `cluster-ca kms export` anew"
        }
        "kms.configuration" | "kms.not_configured" => {
            "name what `cluster-ca kms export KEY FILE` wrote for this key: `kms` beside `key`"
        }
        "kms.credential_missing" => {
            "export it where its secret is kept: `cluster-ca kms set` without --do-not-keep-secrets, then `cluster-ca kms export`"
        }
        "kms.denied" => {
            "the policy of the token or role must let it decrypt with that key; a key that does not exist reads as denied too"
        }
        "kms.key_version_refused" => {
            "lower the key's min_decryption_version in the service, then `cluster-ca kms rewrap --all` and copy the key here"
        }
        "kms.login_refused" | "kms.token_refused" => {
            "it is expired, revoked or wrong: set a new one with `cluster-ca kms set`, then `cluster-ca kms export` anew"
        }
        "kms.sealed" => "unseal it (bao operator unseal); the gateway opens its key as soon as it can",
        "kms.unavailable" => {
            "see that the service runs and can be reached from here; `kms_timeout` says how long a start waits"
        }
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
