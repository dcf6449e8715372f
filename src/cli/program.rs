//! Command tree of `cluster-ca`, and entry points of the program.
//!
//! A command is a struct with its arguments and a `run` that returns a value; `terminal::report` prints it.
//! The library itself knows nothing of arguments, terminals or exit codes.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ca::Context;
use crate::cli::actor;
use crate::cli::commands::node_list::NODE_LIST_FILE;
use crate::cli::commands::{
    audit, backup, bundle, ca_cert, create, crl, distribute, doctor, explain_failure, forecast, gateways,
    hosts, initialize, inspect, key, kms, ldap, list, login, org, profiles, renew, revoke, security, serve,
    user,
};
use crate::cli::group::CommandGroup;
use crate::cli::session::{CommandSession, Global};
use crate::clock::{Clock, SystemEntropy};
use crate::distribute::DELIVERY_LIST_FILE;
use crate::gateway_client::GATEWAY_LIST_FILE;
use crate::keys::NoUnlock;
use crate::secret::{MemoryLock, forbid_core_dumps, lock_memory};
use crate::terminal::ShowGuide;
use crate::terminal::completions::Completions;
use crate::terminal::help_footer::with_filled_footers;
use crate::terminal::man::Man;
use crate::terminal::panic_guard::guarded;
use crate::terminal::report::{self, CommandResult, Format};
use crate::terminal::serve::ServerFunctions;
use crate::terminal::{stderr, usage};

/// Private certificate authority for the machines of one cluster.
///
/// Create the root once, issue a certificate to every control service, node agent and API user,
/// copy the files by ssh, and let cluster-gateway authenticate clients.
#[derive(Debug, Parser)]
#[command(
    name = "cluster-ca",
    version = env!("CLUSTER_CA_VERSION"),
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  cluster-ca initialize prod
  cluster-ca create-control api.example.com --san 10.0.0.5
  cluster-ca create-node --count 3
  cluster-ca create-api-user alice
  cluster-ca renew --expires-within 30d
  cluster-ca revoke api-user/alice --all-generations --reason key-compromise --wait

Exit codes: 0 done, 1 refused by a rule or by state, 2 usage, 3 files or database, 4 network or KMS."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Global options of the home.
const HOME: &[&str] = &["home"];

/// Global options of certificate profiles.
const TEMPLATES: &[&str] = &["templates"];

/// Global options with the secrets that open private keys.
const SECRETS: &[&str] = &["passphrase_file", "passphrase_fd", "pin_file"];

/// Declare the command tree: one entry per command, with its help text, its arguments, the global options that have an
/// effect on it and, unless that is the `run` of the arguments, its function.
macro_rules! command_tree {
    (@run $arguments:ty) => { <$arguments>::run };
    (@run $arguments:ty, $run:path) => { $run };
    ($($(#[$attribute:meta])* $name:ident($arguments:ty) uses [$($options:ident),*] $(=> $run:path)?,)+) => {
        /// Global options that have an effect, by command in the order of the tree.
        const EFFECTIVE: &[&[&[&str]]] = &[$(&[$($options),*]),+];

        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($arguments),)+
        }

        impl Command {
            fn run(self, session: &CommandSession) -> CommandResult {
                match self {
                    $(Self::$name(command) => command_tree!(@run $arguments $(, $run)?)(command, session),)+
                }
            }
        }
    };
}

command_tree! {
    /// Create a new cluster: root certificate, key, empty CRL and inventory
    #[command(visible_alias = "init")]
    Initialize(initialize::Initialize) uses [HOME, TEMPLATES, SECRETS],

    /// Issue a certificate for a control service
    #[command(visible_alias = "create-control-certificate")]
    CreateControl(create::CreateControl) uses [HOME, TEMPLATES, SECRETS],

    /// Issue certificates for node agents
    #[command(visible_alias = "create-node-certificate")]
    CreateNode(create::CreateNode) uses [HOME, TEMPLATES, SECRETS],

    /// Issue certificates for API users
    #[command(visible_alias = "create-api-certificate")]
    CreateApiUser(create::CreateApiUser) uses [HOME, TEMPLATES, SECRETS],

    /// Copy certificate, key, trust bundle and CRL to a machine, by ssh
    Distribute(distribute::Distribute) uses [HOME, SECRETS],

    /// List, add or remove the deliveries of `distribute`
    Hosts(CommandGroup<hosts::Hosts>) uses [HOME],

    /// Create one file to hand over: a tar, or PKCS#12 for browsers and Java
    Bundle(bundle::Bundle) uses [HOME, SECRETS],

    /// List the certificates of this cluster
    List(list::ListCertificates) uses [HOME],

    /// Show one certificate with its history
    Show(list::ShowCertificate) uses [HOME],

    /// Renew certificates and keep their keys
    #[command(override_usage = renew::usage("renew"))]
    Renew(renew::Renew) uses [HOME, TEMPLATES, SECRETS],

    /// Renew certificates with new keys
    #[command(override_usage = renew::usage("rekey"))]
    Rekey(renew::Rekey) uses [HOME, TEMPLATES, SECRETS],

    /// Revoke certificates permanently and sign a new CRL
    Revoke(revoke::Revoke) uses [HOME, SECRETS],

    /// Suspend a certificate (CRL reason certificateHold)
    Hold(revoke::Hold) uses [HOME, SECRETS] => revoke::Hold::hold,

    /// Lift the hold on a certificate
    Release(revoke::Hold) uses [HOME, SECRETS] => revoke::Hold::release,

    /// Show, publish, push or verify the CRL
    Crl(CommandGroup<crl::CrlCommand>) uses [HOME, SECRETS],

    /// Show gateway status: CRL in force, trust anchors, certificate
    Gateways(gateways::Gateways) uses [HOME, SECRETS],

    /// Check a certificate against this cluster: chain, validity, usage, role rules, revocation
    Verify(inspect::VerifyCertificate) uses [HOME],

    /// Show the contents of certificate, CSR, CRL and key files
    Inspect(inspect::Inspect) uses [HOME],

    /// Check the whole home, and repair it without losing data
    Doctor(doctor::Doctor) uses [HOME, TEMPLATES, SECRETS],

    /// Report upcoming expirations; exits 1 if any fall within the window
    Forecast(forecast::ShowForecast) uses [HOME],

    /// Explain in one line why a connection is refused, with the remedy
    ExplainFailure(explain_failure::ExplainFailure) uses [HOME, SECRETS],

    /// Create an encrypted online backup of the CA, or verify one
    Backup(backup::Backup) uses [HOME],

    /// Restore a backup without losing revocations
    Restore(backup::Restore) uses [HOME, SECRETS],

    /// Show or change the protection of a private key
    Key(CommandGroup<key::Key>) uses [HOME, SECRETS],

    /// Configure the key management service that wraps private keys: Vault, OpenBao or KMIP
    Kms(CommandGroup<kms::Kms>) uses [HOME, SECRETS],

    /// Configure the CA that is trusted for KMS server certificates
    CaCert(CommandGroup<ca_cert::CaCert>) uses [HOME],

    /// Log in to the server, and keep the tokens
    Login(login::LogIn) uses [HOME],

    /// Log out: revoke the tokens on the server, and remove them here
    Logout(login::LogOut) uses [HOME],

    /// Show the account that is logged in
    Whoami(login::ShowAccount) uses [HOME],

    /// Change your password on the server
    Passwd(login::ChangeOwnPassword) uses [HOME],

    /// Manage users: people and programs that log in with a password
    User(CommandGroup<user::User>) uses [HOME],

    /// Manage organizations of users
    Org(CommandGroup<org::Org>) uses [HOME],

    /// Let the users of a directory log in: LDAP, Active Directory
    Ldap(CommandGroup<ldap::Ldap>) uses [HOME, SECRETS],

    /// Change settings of logins and tokens: lockout, login banner, lifetimes
    Security(security::Security) uses [HOME, SECRETS],

    /// List, show or check certificate profiles
    Profiles(CommandGroup<profiles::Profiles>) uses [TEMPLATES],

    /// List or verify the audit log of the cluster
    Audit(CommandGroup<audit::Audit>) uses [HOME],

    /// Serve the CA as a REST API over TLS
    Serve(serve::Serve) uses [HOME, TEMPLATES, SECRETS],

    /// Show a guide: the commands of a task in their order, and reference tables
    Guide(ShowGuide<false>) uses [] => guide,

    /// Print a completion script for a shell
    Completions(Completions) uses [] => completions,

    /// Print the manual page of the program, or of one command
    Man(Man) uses [] => man_page,
}

/// Run `cluster-ca` with these arguments, the program's name first.
#[must_use]
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    context: Context,
    server: ServerFunctions,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut format = Format::Text;
    let finished = guarded(|| {
        let cli = match command().try_get_matches_from(&arguments).and_then(|m| Cli::from_arg_matches(&m)) {
            Ok(cli) => cli,
            Err(error) => return usage::refuse("cluster-ca", &arguments, error),
        };
        format = cli.global.format();
        let session = CommandSession::new(cli.global, context, server);
        report::finish(format, cli.command.run(&session))
    });
    finished.unwrap_or_else(|failure| report::finish(format, Err(failure)))
}

/// The command tree, for parsing, completions and manual pages.
fn command() -> clap::Command {
    let mut command = Cli::command();
    // Every global option is accepted before any command, but only shown where it has an effect.
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    let limited = [HOME, TEMPLATES, SECRETS].concat();
    let globals: Vec<Arg> =
        command.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    for (name, effective) in names.iter().zip(EFFECTIVE) {
        let effective = effective.concat();
        for option in &globals {
            let id = option.get_id().as_str();
            if limited.contains(&id) && !effective.contains(&id) {
                command = command.mut_subcommand(name, |subcommand| hide(subcommand, option));
            }
        }
    }
    for (id, spelling) in SPELLINGS {
        command = with_spelling(command, id, spelling);
    }
    with_filled_footers(command)
}

/// Options for a passphrase, and the spelling of those for a password, which commands without a password take, too.
const SPELLINGS: [(&str, &str); 2] = [("passphrase_file", "password-file"), ("passphrase_fd", "password-fd")];

/// Accept the spelling for the global option on every command that has no option of that name.
fn with_spelling(mut command: clap::Command, id: &str, spelling: &'static str) -> clap::Command {
    let Some(plain) = declared(&command, id).cloned() else { return command };
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |subcommand| {
            match (has_option(&subcommand, spelling), declared(&subcommand, id).is_some()) {
                // The spelling is taken: the global option is declared here without it.
                (true, false) => subcommand.arg(plain.clone()),
                (false, true) => spelled(subcommand, id, spelling),
                (true, true) | (false, false) => subcommand,
            }
        });
    }
    command.mut_arg(id, |option| option.alias(spelling))
}

/// Add the spelling where the option is declared on a command and its subcommands.
fn spelled(command: clap::Command, id: &str, spelling: &'static str) -> clap::Command {
    let command = command.mut_subcommands(|subcommand| spelled(subcommand, id, spelling));
    match declared(&command, id).is_some() {
        true => command.mut_arg(id, |option| option.alias(spelling)),
        false => command,
    }
}

fn declared<'a>(command: &'a clap::Command, id: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|option| option.get_id().as_str() == id)
}

/// True for a command that has an option of this name, or a subcommand with one.
fn has_option(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|option| option.get_long() == Some(name))
        || command.get_subcommands().any(|subcommand| has_option(subcommand, name))
}

/// Declare a global option once more, hidden, on a command and its subcommands.
fn hide(command: clap::Command, option: &Arg) -> clap::Command {
    command.arg(option.clone().hide(true)).mut_subcommands(|subcommand| hide(subcommand, option))
}

fn guide(guide: ShowGuide<false>, _: &CommandSession) -> CommandResult {
    guide.run()
}

fn completions(completions: Completions, _: &CommandSession) -> CommandResult {
    completions.run(command())
}

fn man_page(man: Man, session: &CommandSession) -> CommandResult {
    let server = session.server().file;
    man.run(command(), &[&GATEWAY_LIST_FILE, &DELIVERY_LIST_FILE, &NODE_LIST_FILE, server])
}

/// Run `cluster-ca` as a process: real arguments, randomness and user.
#[must_use]
pub fn main(clock: Arc<dyn Clock>, server: ServerFunctions) -> ExitCode {
    if let Err(error) = forbid_core_dumps() {
        stderr::line(format_args!("warning: this process may leave a core file: {error}"));
    }
    lock_memory(MemoryLock::Everything);
    let context = Context {
        clock,
        entropy: Arc::new(SystemEntropy),
        actor: actor::current(),
        unlock: Arc::new(NoUnlock),
    };
    run(std::env::args_os(), context, server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_options_exist_and_every_command_lists_those_with_an_effect() {
        let program = Cli::command();
        for name in [HOME, TEMPLATES, SECRETS].concat() {
            let is_global = |one: &Arg| one.is_global_set() && one.get_id().as_str() == name;
            assert!(program.get_arguments().any(is_global), "no global option {name}");
        }
        assert_eq!(EFFECTIVE.len(), program.get_subcommands().count());
        let program = command();
        let is_shown = |name: &str, option: &str| {
            let command = program.find_subcommand(name).unwrap();
            // Global options are copied to the commands when the tree is built; here, only the hidden ones are there.
            !command.get_arguments().any(|one| one.get_id().as_str() == option && one.is_hide_set())
        };
        assert!(is_shown("initialize", "templates") && is_shown("list", "home"));
        assert!(
            !is_shown("list", "templates") && !is_shown("man", "home") && !is_shown("whoami", "pin_file")
        );
    }

    #[test]
    fn examples_in_footers_fit_the_width_of_help_pages() {
        let mut open = vec![command()];
        while let Some(one) = open.pop() {
            let footer = one.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in footer.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 100, "{}: {line}", one.get_name());
            }
            open.extend(one.get_subcommands().cloned());
        }
    }
}
