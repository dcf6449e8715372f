//! The command tree of `cluster-ca`, one line a command, and how a run goes.
//!
//! A command is a struct with its arguments and a `run` that returns a value; `terminal::report` prints it.
//! Nothing below this module knows of arguments, terminals or exit codes.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ca::Context;
use crate::cli::actor;
use crate::cli::commands::{
    audit, backup, bundle, ca_cert, create, crl, distribute, doctor, explain_failure, forecast, gateways,
    initialize, inspect, key, kms, list, profiles, renew, revoke,
};
use crate::cli::session::{Global, Session};
use crate::clock::{Clock, SystemEntropy};
use crate::distribute::DELIVERY_LIST_FILE;
use crate::gateway_client::GATEWAY_LIST_FILE;
use crate::keys::NoUnlock;
use crate::terminal::ShowGuide;
use crate::terminal::completions::Completions;
use crate::terminal::man::Man;
use crate::terminal::report::{self, CommandResult};
use crate::terminal::usage;

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
    Verify(inspect::Verify),

    /// Say what is in certificate, request, revocation list and key files
    Inspect(inspect::Inspect),

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

    /// Show a guide: the commands of a task in their order, and reference tables
    Guide(ShowGuide<false>),

    /// Print a completion script for a shell
    Completions(Completions),

    /// Print the manual page of the program, or of one command
    Man(Man),
}

/// Runs `cluster-ca` with these arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, context: Context) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match command().try_get_matches_from(&arguments).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return usage::refuse("cluster-ca", &arguments, &error),
    };
    let session = Session::new(cli.global, context);
    report::finish(session.format(), cli.command.run(&session))
}

/// The command tree, for parsing, completions and the manual page.
fn command() -> clap::Command {
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
            Self::Guide(guide) => guide.run(),
            Self::Completions(completions) => completions.run(command()),
            Self::Man(man) => man.run(command(), &[&GATEWAY_LIST_FILE, &DELIVERY_LIST_FILE]),
        }
    }
}

/// Runs `cluster-ca` as a process: real arguments, randomness and user.
#[must_use]
pub fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let context = Context {
        clock,
        entropy: Arc::new(SystemEntropy),
        actor: actor::current(),
        unlock: Arc::new(NoUnlock),
    };
    run(std::env::args_os(), context)
}
