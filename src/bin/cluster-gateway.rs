//! Command line of the mutual-TLS gateway.

#[path = "cluster-gateway/admin.rs"]
mod admin;
#[path = "cluster-gateway/report.rs"]
mod report;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use cluster_ca::clock::{Clock, SystemClock};
use cluster_ca::error::{Class, Coded};
use cluster_ca::gateway::config::schema::FILE;
use cluster_ca::gateway::offline::check::{KeyCheck, check};
use cluster_ca::gateway::offline::explain::{Explanation, Question, RequestLine, explain, parse_moment};
use cluster_ca::gateway::offline::replay::{ReplayReport, replay};
use cluster_ca::gateway::process::{RunError, run};
use cluster_ca::gateway::telemetry::line_log::LineLog;
use cluster_ca::terminal::hints::{Audience, hint};
use cluster_ca::terminal::stderr::{self, Stderr};
use cluster_ca::terminal::{self, Shell, ShowGuide, completion_script, usage_message};
use report::{Failure, Shown};
use serde::Serialize;
use time::OffsetDateTime;
use tracing_subscriber::filter::LevelFilter;

/// jemalloc has the smallest and steadiest memory under many connections, and returns it after a burst.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Mutual-TLS gateway in front of a cluster's REST API.
#[derive(Parser)]
#[command(
    name = "cluster-gateway",
    version,
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
    #[command(flatten)]
    Admin(admin::Command),
    /// Show a guide: the commands of a task in their order, and reference tables.
    Guide(ShowGuide<true>),
    /// Print a completion script for a shell.
    Completions {
        /// Shell to complete for.
        shell: Shell,
    },
    /// Print the manual page of the program, or of one command.
    Man {
        /// Command, such as `run`.
        #[arg(value_name = "COMMAND")]
        page: Vec<String>,
    },
    /// Check a configuration and all files it names, and report all problems at once. Private keys are opened
    /// last: if one cannot be opened, everything else is valid.
    Check {
        /// Configuration file (YAML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Do not open private keys, as on a machine without access to their KMS or passphrase.
        #[arg(long)]
        without_keys: bool,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Explain the decision on a certificate and a request, without a connection. Exits 0 if the request is
    /// permitted, 1 if it is denied.
    Explain {
        /// Configuration file (YAML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Certificate of the client, followed by its issuers. By default, the client presents none.
        #[arg(long, value_name = "FILE")]
        cert: Option<PathBuf>,
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
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the requests in an access log that another configuration would decide differently. Exits 1 if there
    /// are any, or if a request could not be decided.
    Replay {
        /// Access log; `-` for standard input.
        access_log: PathBuf,
        /// Other configuration file (YAML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serve until SIGTERM or SIGINT.
    Run {
        /// Configuration file (YAML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Forward all requests to an embedded echo service instead of the configured upstreams.
        #[arg(long)]
        demo_upstream: bool,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&arguments, &error),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match arguments.command {
        Command::Admin(command) => admin::run(command),
        Command::Guide(guide) => raw(guide.text().as_bytes()),
        Command::Completions { shell } => raw(&completion_script(shell, Arguments::command())),
        Command::Man { page } => match terminal::page(Arguments::command(), &[&FILE], &page) {
            Some(page) => raw(&page),
            None => report::fail(&Failure {
                code: "usage.command".to_owned(),
                class: Class::Usage,
                message: format!("there is no command `{}`", page.join(" ").escape_debug()),
                causes: Vec::new(),
                hint: Some(SEE_HELP),
            }),
        },
        Command::Check { config, without_keys, json } => {
            start_logging(|| Stderr, arguments.verbose);
            let keys = if without_keys { KeyCheck::Skip } else { KeyCheck::Open };
            print(&check(&config, keys, &clock), json, |_| true)
        }
        Command::Explain { config, cert, request, at, listener, from, json } => {
            start_logging(|| Stderr, arguments.verbose);
            let question = Question { certificate: cert, request, at, listener, from };
            print(&explain(&config, &question, &clock), json, Explanation::is_permit)
        }
        Command::Replay { access_log, config, json } => {
            start_logging(|| Stderr, arguments.verbose);
            print(&replay(&access_log, &config), json, ReplayReport::is_without_change)
        }
        Command::Run { config, demo_upstream } => {
            let log = match LineLog::start("standard-error", Box::new(io::stderr())) {
                Ok(log) => Arc::new(log),
                Err(source) => return report::fail(&failure(&RunError::Environment { source })),
            };
            let writer = Arc::clone(&log);
            start_logging(move || LogWriter(Arc::clone(&writer)), arguments.verbose);
            let ran = run::run(&config, demo_upstream, clock, |addresses| {
                for address in addresses {
                    stderr::line(format_args!("listening on {address}"));
                }
            });
            log.close();
            match ran {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => report::fail(&failure(&error)),
            }
        }
    }
}

/// Log to `writer`.
fn start_logging<W: io::Write>(writer: impl Fn() -> W + Send + Sync + 'static, verbose: bool) {
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        // It would report a failing write on standard error, and panic when that fails too.
        .log_internal_errors(false)
        .with_target(false)
        .with_max_level(if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO })
        .init();
}

/// Buffered standard error of a serving gateway: a slow reader blocks no request.
struct LogWriter(Arc<LineLog>);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append_text(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SEE_HELP: &str = "see cluster-gateway --help";

/// Report a usage error: clap's message as text, the envelope as JSON.
fn usage(arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let (code, message) = ("usage.arguments".to_owned(), usage_message(error));
        return report::finish(
            true,
            Err(Failure { code, class: Class::Usage, message, causes: Vec::new(), hint: Some(SEE_HELP) }),
        );
    }
    // A failed write to standard error cannot be reported.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn raw(bytes: &[u8]) -> ExitCode {
    // A closed pipe is no error.
    let _ = io::stdout().write_all(bytes);
    ExitCode::SUCCESS
}

/// Print a result as text or in the envelope. Exits 1 if `good` is false.
fn print<T: Serialize + Display>(
    result: &Result<T, RunError>,
    as_json: bool,
    good: impl Fn(&T) -> bool,
) -> ExitCode {
    let shown = |value: &T| -> Result<Shown, Failure> {
        let unserializable = |error: serde_json::Error| Failure {
            code: "system.json".to_owned(),
            class: Class::Environment,
            message: error.to_string(),
            causes: Vec::new(),
            hint: None,
        };
        let json = serde_json::to_value(value).map_err(unserializable)?;
        Ok(Shown { text: value.to_string(), json, is_good: good(value) })
    };
    report::finish(as_json, result.as_ref().map_err(failure).and_then(shown))
}

fn failure(error: &RunError) -> Failure {
    let (code, message) = (error.code().to_owned(), error.to_string());
    Failure {
        code,
        class: error.class(),
        message,
        causes: causes(error),
        hint: hint(Audience::Gateway, error.code()),
    }
}

fn causes(error: &RunError) -> Vec<String> {
    if let RunError::Configuration { problems, .. } = error {
        return problems.iter().map(ToString::to_string).collect();
    }
    std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect()
}
