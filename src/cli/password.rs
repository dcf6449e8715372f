//! Password of a key store or backup, read from a file, a file descriptor or the terminal.

use std::path::PathBuf;

use clap::Args;

use crate::error::Code;
use crate::secret::Secret;

use super::secrets::{self, SecretError};
use super::unlock::PassphraseSource;
use crate::terminal::report::Failure;

/// Source of the password of a key store or backup; without an option, the terminal.
#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,

    /// Read the password from this open file descriptor
    #[arg(long, value_name = "FD")]
    password_fd: Option<u32>,
}

/// Source of a new password beside the present one.
#[derive(Debug, Args)]
pub(crate) struct NewPasswordSource {
    /// Read the new password from the first line of this file (0600)
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

impl NewPasswordSource {
    /// Read the new password from the file, or prompt for it twice.
    pub(crate) fn choose(self) -> Result<Secret, Failure> {
        PasswordSource { password_file: self.new_password_file, password_fd: None }.read(
            "the user, the new one",
            None,
            secrets::ask_twice,
        )
    }
}

impl PasswordSource {
    /// True if a password option is given.
    pub(crate) fn is_given(&self) -> bool {
        self.password_file.is_some() || self.password_fd.is_some()
    }

    /// Read an existing password from the file or descriptor, or prompt for it.
    pub(crate) fn enter(&self, what: &str, also: &PassphraseSource) -> Result<Secret, Failure> {
        self.read(what, Some(also), secrets::ask)
    }

    /// [`PasswordSource::enter`] for a command that may need a passphrase, too.
    pub(crate) fn enter_alone(&self, what: &str) -> Result<Secret, Failure> {
        self.read(what, None, secrets::ask)
    }

    /// Read a new password from the file or descriptor, or prompt for it twice.
    pub(crate) fn choose(&self, what: &str, also: Option<&PassphraseSource>) -> Result<Secret, Failure> {
        self.read(what, also, secrets::ask_twice)
    }

    /// Read the password. Where nothing else has a passphrase, the options for one are `also` options for it.
    fn read(
        &self,
        what: &str,
        also: Option<&PassphraseSource>,
        ask: fn(&str) -> Result<Secret, SecretError>,
    ) -> Result<Secret, Failure> {
        let secret = match (&self.password_file, self.password_fd) {
            (Some(file), _) => secrets::from_file(file),
            (None, Some(descriptor)) => secrets::from_descriptor(descriptor),
            (None, None) => match also.map(PassphraseSource::read).transpose() {
                Ok(Some(Some(secret))) => Ok(secret),
                Ok(_) => ask(&format!("Password of {what}: ")),
                Err(error) => Err(error),
            },
        };
        secret.map_err(|error| match error {
            SecretError::File(error) => error.into(),
            SecretError::NoTerminal => {
                let message = format!("{what} needs a password, and there is no terminal to prompt on");
                Failure::new(Code::usage("usage.password"), message)
                    .with_hint("give it with --password-file FILE or --password-fd FD")
            }
            empty @ SecretError::Empty { .. } => Failure::caused(Code::usage("input.password"), &empty),
            unreadable @ SecretError::Unreadable { .. } => {
                Failure::caused(Code::environment("file.descriptor"), &unreadable)
            }
        })
    }
}
