//! Password of a key store or backup, read from a file, a file descriptor or the terminal.

use std::path::PathBuf;

use clap::Args;

use crate::error::Code;
use crate::secret::Secret;

use super::secrets::{self, SecretError};
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
    /// Reads the new password from the file, or prompts for it twice.
    pub(crate) fn choose(self) -> Result<Secret, Failure> {
        PasswordSource { password_file: self.new_password_file, password_fd: None }
            .read("the user, the new one", secrets::ask_twice)
    }
}

impl PasswordSource {
    /// True if a password option is given.
    pub(crate) fn is_given(&self) -> bool {
        self.password_file.is_some() || self.password_fd.is_some()
    }

    /// Reads an existing password from the file or descriptor, or prompts for it.
    pub(crate) fn enter(&self, what: &str) -> Result<Secret, Failure> {
        self.read(what, secrets::ask)
    }

    /// Reads a new password from the file or descriptor, or prompts for it twice.
    pub(crate) fn choose(&self, what: &str) -> Result<Secret, Failure> {
        self.read(what, secrets::ask_twice)
    }

    fn read(&self, what: &str, ask: fn(&str) -> Result<Secret, SecretError>) -> Result<Secret, Failure> {
        let secret = match (&self.password_file, self.password_fd) {
            (Some(file), _) => secrets::from_file(file),
            (None, Some(descriptor)) => secrets::from_descriptor(descriptor),
            (None, None) => ask(&format!("Password of {what}: ")),
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
