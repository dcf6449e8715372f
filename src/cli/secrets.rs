//! Secrets supplied by the user: in a private file, through a file descriptor, or at a prompt.
//!
//! Never in arguments, which every local process can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::files::{self, FileError};
use crate::secret::Secret;

/// Longest secret that is read, in bytes.
const LONGEST: usize = 4096;

/// Failure to read a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The first line is empty.
    #[error("the first line of {from} is empty")]
    Empty {
        /// The source that was read.
        from: String,
    },
    /// The file cannot be read, or other users can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Standard input is not a terminal.
    #[error("there is no terminal to prompt on")]
    NoTerminal,
    /// The source could not be read.
    #[error("cannot read {from}")]
    Unreadable {
        /// The source that was read.
        from: String,
        /// The I/O error.
        source: io::Error,
    },
}

/// Read the first line of a file that only its owner can read, or of a descriptor that the shell names as a file:
/// `<(command)`.
pub(crate) fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let descriptor = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|at| path.to_str()?.strip_prefix(at));
    if let Some(descriptor) = descriptor.and_then(|number| number.parse().ok()) {
        return from_descriptor(descriptor);
    }
    first_line(&files::read_private(path)?, || path.display().to_string())
}

/// Read the first line from an open file descriptor.
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

/// Prompts on the terminal.
pub(crate) fn ask(prompt: &str) -> Result<Secret, SecretError> {
    if !io::stdin().is_terminal() {
        return Err(SecretError::NoTerminal);
    }
    let unreadable = |source| SecretError::Unreadable { from: "the terminal".to_owned(), source };
    rpassword::prompt_password(prompt).map(|text| Secret::new(text.into_bytes())).map_err(unreadable)
}

/// Prompt twice on the terminal for a new secret.
pub(crate) fn ask_twice(prompt: &str) -> Result<Secret, SecretError> {
    let first = ask(prompt)?;
    if ask("Repeat it: ")?.expose() == first.expose() {
        return Ok(first);
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "the two entries differ");
    Err(SecretError::Unreadable { from: "the terminal".to_owned(), source })
}

fn first_line(secret: &Secret, from: impl FnOnce() -> String) -> Result<Secret, SecretError> {
    secret.first_line().ok_or_else(|| SecretError::Empty { from: from() })
}
