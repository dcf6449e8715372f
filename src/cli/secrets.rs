//! Secrets as people supply them: in a private file, through a file descriptor, on the terminal. Never
//! in the arguments, which every process may read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::files::{self, FileError};
use crate::secret::Secret;

/// More than this is no secret that anybody types.
const LONGEST: usize = 4096;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// There is nothing in its first line.
    #[error("the first line of {from} is empty")]
    Empty {
        /// Where it should have come from.
        from: String,
    },
    /// The file could not be read, or others can read it too.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody sits at a terminal.
    #[error("there is nobody to ask")]
    Nobody,
    /// It could not be read.
    #[error("cannot read {from}")]
    Unreadable {
        /// Where it should have come from.
        from: String,
        /// Why not.
        source: io::Error,
    },
}

/// The first line of a file that its owner alone may read.
pub(crate) fn from_file(path: &Path) -> Result<Secret, SecretError> {
    first_line(&files::read_private(path)?, || path.display().to_string())
}

/// The first line of what comes through an open file descriptor.
pub(crate) fn from_descriptor(descriptor: u32) -> Result<Secret, SecretError> {
    let from = || format!("file descriptor {descriptor}");
    // One allocation: no copies stay behind in a growing buffer.
    let mut bytes = Vec::with_capacity(LONGEST);
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    File::open(format!("/dev/fd/{descriptor}"))
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| SecretError::Unreadable { from: from(), source })?;
    first_line(&Secret::new(bytes), from)
}

/// Asks on the terminal.
pub(crate) fn ask(prompt: &str) -> Result<Secret, SecretError> {
    if !io::stdin().is_terminal() {
        return Err(SecretError::Nobody);
    }
    let unreadable = |source| SecretError::Unreadable { from: "the terminal".to_owned(), source };
    rpassword::prompt_password(prompt).map(|text| Secret::new(text.into_bytes())).map_err(unreadable)
}

/// Asks on the terminal for a new secret, twice.
pub(crate) fn ask_twice(prompt: &str) -> Result<Secret, SecretError> {
    let first = ask(prompt)?;
    if ask("The same again: ")?.expose() == first.expose() {
        return Ok(first);
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "the two are not the same");
    Err(SecretError::Unreadable { from: "the terminal".to_owned(), source })
}

fn first_line(secret: &Secret, from: impl FnOnce() -> String) -> Result<Secret, SecretError> {
    secret.first_line().ok_or_else(|| SecretError::Empty { from: from() })
}
