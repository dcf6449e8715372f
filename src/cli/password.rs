//! Where the password of a key store or a backup comes from: a file, a file descriptor, or the person at the terminal.

use std::path::PathBuf;

use clap::Args;

use crate::error::Code;
use crate::secret::Secret;

use super::secrets::{self, SecretError};
use crate::terminal::report::Failure;

/// Where the password of a key store or a backup comes from, unless it is asked for.
#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,

    /// Read the password from this open file descriptor
    #[arg(long, value_name = "FD")]
    password_fd: Option<u32>,
}

impl PasswordSource {
    /// Whether anything was said of a password.
    pub(crate) fn is_given(&self) -> bool {
        self.password_file.is_some() || self.password_fd.is_some()
    }

    /// The password of something that has one: from the file or descriptor, or asked for.
    pub(crate) fn enter(&self, what: &str) -> Result<Secret, Failure> {
        self.read(what, secrets::ask)
    }

    /// A new password: from the file or descriptor, or asked for twice.
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
            SecretError::Nobody => {
                let message = format!("{what} needs a password, and there is nobody to ask for one");
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
