//! The command line of `cluster-ca`: the whole command tree, one line each.
//!
//! A command is a struct with its arguments and a `run` that returns a value; `report` prints it.
//! Nothing below this module knows of arguments, terminals or exit codes.

mod actor;
mod audit;
mod backup;
mod bundle;
mod ca_cert;
mod create;
mod crl;
mod distribute;
mod doctor;
mod exit;
mod explain_failure;
mod forecast;
mod gateways;
mod initialize;
mod input;
mod key;
mod kms;
mod list;
mod look;
mod password;
mod profiles;
mod progress;
mod renew;
mod report;
mod revoke;
mod secrets;
mod shell;
mod unlock;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use time::OffsetDateTime;

use crate::ca::{Authority, Context, Home};
use crate::clock::{Clock, FixedClock, SystemEntropy};
use crate::files;
use crate::keys::NothingToUnlockWith;
use crate::profile::ProfileSet;

pub use clap_complete::Shell;
pub use exit::exit_code;
pub use shell::{completion_script, manual_page};

use report::{CommandResult, Failure, Format};
use unlock::{Keyring, PassphraseSource, PinSource};

/// A private certificate authority for the machines of one cluster.
///
/// Make the cluster's root once, issue a certificate to every control service, node and API user,
/// carry the files to them by ssh, and let cluster-gateway check who calls.
#[derive(Debug, Parser)]
#[command(
    name = "cluster-ca",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  cluster-ca initialize prod
  cluster-ca create-control api.example.com --san 10.0.0.5
  cluster-ca create-node --count 3
  cluster-ca create-api-user alice
  cluster-ca renew --expires-within 30d
  cluster-ca revoke api-user/alice --reason key-compromise --wait

Exit codes: 0 done, 1 refused by a rule or by state, 2 usage, 3 files or database, 4 network or KMS."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The CA's home directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CLUSTER_CA_HOME",
        default_value = ".",
        hide_default_value = true,
        hide_env_values = true
    )]
    home: PathBuf,

    /// Print one JSON object: {"ok": true, "result": ...} or {"ok": false, "error": ...}
    #[arg(long, global = true)]
    json: bool,

    /// Print nothing but errors
    #[arg(long, short, global = true, conflicts_with = "json")]
    quiet: bool,

    /// Say more, on stderr: what is opened, and how long it takes
    #[arg(long, short, global = true)]
    verbose: bool,

    /// Profiles to use instead of the built-in ones
    #[arg(long, global = true, value_name = "DIR")]
    templates: Option<PathBuf>,

    #[command(flatten)]
    passphrase: PassphraseSource,

    #[command(flatten)]
    pin: PinSource,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new cluster: root certificate, key, empty revocation list and inventory
    Initialize(initialize::Initialize),

    /// Issue a certificate for a control service
    #[command(visible_alias = "create-control-certificate")]
    CreateControl(create::CreateControl),

    /// Issue certificates for node agents
    #[command(visible_alias = "create-node-certificate")]
    CreateNode(create::CreateNode),

    /// Issue certificates for API users
    #[command(visible_alias = "create-api-certificate")]
    CreateApiUser(create::CreateApiUser),

    /// Copy certificate, key, trust bundle and revocation list to a machine, by ssh
    Distribute(distribute::Distribute),

    /// Make one file to hand over: a tar, or PKCS#12 for browsers and Java
    Bundle(bundle::Bundle),

    /// List the certificates of this cluster
    List(list::List),

    /// Show all that is known of one certificate
    Show(list::Show),

    /// Renew certificates for the keys they have
    Renew(renew::Renew),

    /// Renew certificates for new keys
    Rekey(renew::Rekey),

    /// Revoke certificates and rewrite the revocation list
    Revoke(revoke::Revoke),

    /// Revoke a certificate for the time being
    Hold(revoke::Hold),

    /// Let a certificate that is on hold hold again
    Release(revoke::Hold),

    /// The revocation list
    #[command(subcommand)]
    Crl(crl::Crl),

    /// How every gateway is: the list that it enforces, what it trusts and serves
    Gateways(gateways::Gateways),

    /// Check a certificate against this cluster: chain, validity, usage, role rules, revocation
    Verify(look::Verify),

    /// Say what is in certificate, request, revocation list and key files
    Inspect(look::Inspect),

    /// Look over the whole home, and repair what is safe to repair
    Doctor(doctor::Doctor),

    /// Say what breaks first, and when; exit code 1 when something does
    Forecast(forecast::Forecast),

    /// Say in one line why a connection is refused, and what to do about it
    ExplainFailure(explain_failure::ExplainFailure),

    /// Put the whole home into one file that a password opens, while others work; or check such a file
    Backup(backup::Backup),

    /// Put a backup back, without forgetting a revocation
    Restore(backup::Restore),

    /// What protects the root's private key, or another one
    #[command(subcommand)]
    Key(key::Key),

    /// The key management service that wraps private keys: Vault, OpenBao, or a server that speaks KMIP
    Kms(kms::Kms),

    /// The CA that the certificates of key management services must come from
    #[command(subcommand)]
    CaCert(ca_cert::CaCert),

    /// The profiles that decide what is issued
    #[command(subcommand)]
    Profiles(profiles::Profiles),

    /// The record of everything that was done to the cluster
    #[command(subcommand)]
    Audit(audit::Audit),

    /// Print a completion script for a shell
    Completions(shell::Completions),

    /// Print the manual page of the program, or of one command
    Man(shell::Man),
}

/// What every command is given.
pub(crate) struct Session {
    global: Global,
    context: Context,
}

impl Session {
    fn home(&self) -> Home {
        Home::new(&self.global.home)
    }

    fn passphrase(&self) -> &PassphraseSource {
        &self.global.passphrase
    }

    fn profiles(&self) -> Result<ProfileSet, Failure> {
        Ok(match &self.global.templates {
            Some(directory) => ProfileSet::load(directory)?,
            None => ProfileSet::built_in()?,
        })
    }

    /// The context as of `at` instead of now, where a time was given.
    fn context_at(&self, at: Option<OffsetDateTime>) -> Context {
        match at {
            Some(at) => {
                let clock = FixedClock::new(at, Arc::clone(&self.context.clock));
                Context { clock: Arc::new(clock), ..self.context.clone() }
            }
            None => self.context.clone(),
        }
    }

    /// Something worth knowing that is neither result nor error.
    fn note(&self, text: impl std::fmt::Display) {
        if !self.global.quiet {
            eprintln!("note: {text}");
        }
    }

    /// Something that only `--verbose` shows.
    fn detail(&self, text: impl std::fmt::Display) {
        if self.global.verbose {
            eprintln!("{text}");
        }
    }

    /// Tells which cluster is open, what an earlier run had left half done in it, and what became of that.
    fn tell_opened(&self, authority: &Authority) {
        let cluster = authority.cluster();
        self.detail(format_args!("opened {} in {}", cluster.facts().name, self.global.home.display()));
        for found in authority.recovered() {
            self.note(found);
        }
    }
}

/// Runs `cluster-ca` with these arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, context: Context) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut cli = match command().try_get_matches_from(&arguments).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return usage(&arguments, &error),
    };
    let format = match (cli.global.json, cli.global.quiet) {
        (true, _) => Format::Json,
        (_, true) => Format::Quiet,
        _ => Format::Text,
    };
    // A result names its files so that they are found from anywhere.
    let given = if cli.global.home.as_os_str().is_empty() { Path::new(".") } else { &cli.global.home };
    cli.global.home = files::absolute(given).unwrap_or_else(|_| given.to_owned());
    let (passphrase, pin) = (cli.global.passphrase.clone(), cli.global.pin.clone());
    let keyring = Keyring::new(passphrase, pin, Home::new(&cli.global.home).kms());
    let session = Session { context: Context { unlock: Arc::new(keyring), ..context }, global: cli.global };
    report::finish(format, cli.command.run(&session))
}

/// The command tree, for parsing, completions and the manual page.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

impl Command {
    fn run(self, session: &Session) -> CommandResult {
        match self {
            Self::Initialize(command) => command.run(session),
            Self::CreateControl(command) => command.run(session),
            Self::CreateNode(command) => command.run(session),
            Self::CreateApiUser(command) => command.run(session),
            Self::List(command) => command.run(session),
            Self::Show(command) => command.run(session),
            Self::Renew(command) => command.run(session),
            Self::Rekey(command) => command.run(session),
            Self::Revoke(command) => command.run(session),
            Self::Key(command) => command.run(session),
            Self::Kms(command) => command.run(session),
            Self::CaCert(command) => command.run(session),
            Self::Hold(command) => command.hold(session),
            Self::Release(command) => command.release(session),
            Self::Crl(command) => command.run(session),
            Self::Gateways(command) => command.run(session),
            Self::Distribute(command) => command.run(session),
            Self::Bundle(command) => command.run(session),
            Self::Inspect(command) => command.run(),
            Self::Verify(command) => command.run(session),
            Self::ExplainFailure(command) => command.run(session),
            Self::Backup(command) => command.run(session),
            Self::Restore(command) => command.run(session),
            Self::Doctor(command) => command.run(session),
            Self::Forecast(command) => command.run(session),
            Self::Profiles(command) => command.run(session),
            Self::Audit(command) => command.run(session),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}

/// Arguments that make no sense: clap's own words for people, the envelope for programs.
fn usage(arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let failure =
            Failure::new("usage.arguments", usage_message(error)).with_hint("see cluster-ca --help");
        return report::finish(Format::Json, Err(failure));
    }
    // Nobody is left to tell when this fails.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// What is wrong with the arguments, in one line: without usage and tips.
#[must_use]
pub fn usage_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = lines.join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}

/// Runs `cluster-ca` as a process: real arguments, randomness and user.
#[must_use]
pub fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let context = Context {
        clock,
        entropy: Arc::new(SystemEntropy),
        actor: actor::current(),
        unlock: Arc::new(NothingToUnlockWith),
    };
    run(std::env::args_os(), context)
}
