//! Where a password comes from: a file, a file descriptor, or the person at the terminal. Never from the
//! arguments, which every process may read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;

use crate::files;
use crate::secret::Secret;

use super::report::Failure;

/// More than this is no password.
const LONGEST: usize = 4096;

/// Where the password of a key store or a backup comes from, unless it is asked for.
#[derive(Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,

    /// Read the password from this open file descriptor
    #[arg(long, value_name = "FD")]
    password_fd: Option<u32>,
}

impl PasswordSource {
    /// Whether anything was said of a password.
    pub(super) fn is_given(&self) -> bool {
        self.password_file.is_some() || self.password_fd.is_some()
    }

    /// The password of something that has one: from the file or descriptor, or asked for.
    pub(super) fn enter(&self, what: &str) -> Result<Secret, Failure> {
        match (&self.password_file, self.password_fd) {
            (None, None) => ask(what, &format!("Password of {what}: ")),
            _ => self.choose(what),
        }
    }

    /// A new password: from the file or descriptor, or asked for twice.
    pub(super) fn choose(&self, what: &str) -> Result<Secret, Failure> {
        match (&self.password_file, self.password_fd) {
            (Some(file), _) => Ok(first_line(&files::read_private(file)?)),
            (None, Some(descriptor)) => read_descriptor(descriptor),
            (None, None) => ask_twice(what),
        }
    }
}

fn ask_twice(what: &str) -> Result<Secret, Failure> {
    let first = ask(what, &format!("Password of {what}: "))?;
    if ask(what, "The same again: ")?.expose() == first.expose() {
        Ok(first)
    } else {
        Err(Failure::new("usage.password", "the two passwords are not the same"))
    }
}

/// Asks on the terminal; nobody is asked when nobody sits there.
fn ask(what: &str, prompt: &str) -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        let message = format!("{what} needs a password, and there is nobody to ask for one");
        return Err(Failure::new("usage.password", message)
            .with_hint("give it with --password-file FILE or --password-fd FD"));
    }
    rpassword::prompt_password(prompt)
        .map(|text| Secret::new(text.into_bytes()))
        .map_err(|error| Failure::of("system.terminal", &error))
}

fn read_descriptor(descriptor: u32) -> Result<Secret, Failure> {
    // One allocation: no copies stay behind in a growing buffer.
    let mut bytes = Vec::with_capacity(LONGEST);
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    File::open(format!("/dev/fd/{descriptor}"))
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| {
            Failure::new("file.descriptor", format!("cannot read file descriptor {descriptor}"))
                .with_causes(vec![error.to_string()])
        })?;
    Ok(first_line(&Secret::new(bytes)))
}

fn first_line(secret: &Secret) -> Secret {
    let line = secret.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}
