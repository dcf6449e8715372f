//! Global options, and the session of a command.

use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use time::OffsetDateTime;

use crate::ca::{Authority, Context, Home, PublishedCrl, RecoveryOutcome};
use crate::cli::unlock::{Keyring, PassphraseSource, PinSource};
use crate::clock::FixedClock;
use crate::files;
use crate::profile::ProfileSet;
use crate::terminal::report::{Failure, Format};
use crate::terminal::serve::ServerFunctions;
use crate::terminal::stderr;

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
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

    /// Print details on stderr: files opened and time taken
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

impl Global {
    /// Output format of results and errors.
    pub(crate) fn format(&self) -> Format {
        Format::of(self.json, self.quiet)
    }
}

/// Options and context of one run of a command.
pub(crate) struct CommandSession {
    global: Global,
    home: Home,
    pub(crate) context: Context,
    server: ServerFunctions,
}

impl CommandSession {
    /// Create a session. The home becomes absolute, so that paths in results are valid in any directory.
    pub(crate) fn new(global: Global, context: Context, server: ServerFunctions) -> Self {
        let given = if global.home.as_os_str().is_empty() { Path::new(".") } else { &global.home };
        let home = Home::new(files::absolute(given).unwrap_or_else(|_| given.to_owned())).given_as(given);
        let (passphrase, pin) = (global.passphrase.clone(), global.pin.clone());
        let keyring = Keyring::new(passphrase, pin, home.kms(), global.quiet);
        Self { context: Context { unlock: Arc::new(keyring), ..context }, global, home, server }
    }

    /// Output format of results and errors.
    pub(crate) fn format(&self) -> Format {
        self.global.format()
    }

    /// Functions of the server.
    pub(crate) fn server(&self) -> ServerFunctions {
        self.server
    }

    /// True with `--verbose`.
    pub(crate) fn is_verbose(&self) -> bool {
        self.global.verbose
    }

    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }

    pub(crate) fn passphrase(&self) -> &PassphraseSource {
        &self.global.passphrase
    }

    pub(crate) fn profiles(&self) -> Result<ProfileSet, Failure> {
        Ok(match &self.global.templates {
            Some(directory) => ProfileSet::load(directory)?,
            None => ProfileSet::built_in()?,
        })
    }

    /// The context with the clock set to `at`, if given.
    pub(crate) fn context_at(&self, at: Option<OffsetDateTime>) -> Context {
        match at {
            Some(at) => {
                let clock = FixedClock::new(at, Arc::clone(&self.context.clock));
                Context { clock: Arc::new(clock), ..self.context.clone() }
            }
            None => self.context.clone(),
        }
    }

    /// True with `--quiet`: nothing but errors is printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.global.quiet
    }

    /// Print a note on stderr, unless `--quiet` is given.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        stderr::note(self.global.quiet, text);
    }

    /// Print a detail on stderr if `--verbose` is given.
    pub(crate) fn detail(&self, text: impl std::fmt::Display) {
        if self.global.verbose {
            stderr::line(text);
        }
    }

    /// Note the CRLs of removed roots that a new CRL file lacks.
    pub(crate) fn report_left_out(&self, crl: &PublishedCrl) {
        for issuer in &crl.left_out {
            self.note(RecoveryOutcome::CrlLeftOut { issuer: issuer.clone() });
        }
    }

    /// Report the opened cluster, and the recovery of changes that an earlier run left incomplete.
    pub(crate) fn report_opened(&self, authority: &Authority) {
        let cluster = authority.cluster();
        self.detail(format_args!("opened {} in {}", cluster.facts().name, self.home.directory().display()));
        self.report_recovered(authority.recovered());
    }

    /// Report the recovery of changes that an earlier run left incomplete.
    pub(crate) fn report_recovered<'o>(&self, outcomes: impl IntoIterator<Item = &'o RecoveryOutcome>) {
        // A killed bulk may have left thousands of one kind.
        let mut kinds: Vec<(Discriminant<RecoveryOutcome>, &RecoveryOutcome, usize)> = Vec::new();
        for found in outcomes {
            let kind = discriminant(found);
            match kinds.iter_mut().find(|(known, ..)| *known == kind) {
                Some((.., count)) => *count += 1,
                None => kinds.push((kind, found, 1)),
            }
        }
        for (_, first, count) in kinds {
            match count {
                1 => self.note(first),
                count => {
                    self.note(format_args!("{first} (and {} more; see cluster-ca audit list)", count - 1))
                }
            }
        }
    }
}
