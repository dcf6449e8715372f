//! What opens a protected key, as the person at the command line supplies it: a passphrase from a
//! file, a file descriptor or a prompt. Never from the arguments, which every process may read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;

use crate::files;
use crate::keys::kms::{Configuration, KmsError};
use crate::keys::{KeyError, Unlock};
use crate::secret::Secret;

/// More than this is no passphrase.
const LONGEST: u64 = 4096;

/// Where the passphrase of a key comes from, unless it is asked for.
#[derive(Clone, Debug, Args)]
pub(super) struct PassphraseSource {
    /// Read the passphrase of the key from the first line of this file (0600)
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,

    /// Read the passphrase of the key from this open file descriptor
    #[arg(long, global = true, value_name = "FD")]
    passphrase_fd: Option<u32>,
}

/// Where a new passphrase comes from, where the old one is needed too.
#[derive(Debug, Args)]
pub(super) struct NewPassphraseSource {
    /// Read the new passphrase from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    new_passphrase_file: Option<PathBuf>,

    /// Read the new passphrase from this open file descriptor
    #[arg(long, value_name = "FD")]
    new_passphrase_fd: Option<u32>,
}

impl PassphraseSource {
    /// The passphrase from the file or descriptor; none when neither was given.
    pub(super) fn given(&self) -> Result<Option<Secret>, KeyError> {
        match (&self.passphrase_file, self.passphrase_fd) {
            (Some(file), _) => first_line(files::read_private(file)?, &file.display().to_string()).map(Some),
            (None, Some(fd)) => read_descriptor(fd).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A passphrase to protect a key with: from the file or descriptor, or asked for twice.
    pub(super) fn choose(&self, path: &Path) -> Result<Secret, KeyError> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask_twice(path),
        }
    }
}

impl NewPassphraseSource {
    /// The new passphrase: from the file or descriptor, or asked for twice.
    pub(super) fn choose(self, path: &Path) -> Result<Secret, KeyError> {
        let Self { new_passphrase_file: passphrase_file, new_passphrase_fd: passphrase_fd } = self;
        PassphraseSource { passphrase_file, passphrase_fd }.choose(path)
    }
}

/// Opens keys for one run of the program.
#[derive(Debug)]
pub(super) struct Keyring {
    source: PassphraseSource,
    /// What was read from the source: a descriptor can be read only once.
    given: Mutex<Option<Secret>>,
    /// Where the key management services are configured.
    kms: PathBuf,
}

impl Keyring {
    pub(super) fn new(source: PassphraseSource, kms: PathBuf) -> Self {
        Self { source, given: Mutex::new(None), kms }
    }
}

impl Unlock for Keyring {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        let mut given = self.given.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if given.is_none() {
            *given = self.source.given()?;
        }
        match given.as_ref() {
            Some(passphrase) => Ok(Secret::new(passphrase.expose().to_vec())),
            None => ask(path, &format!("Passphrase of {}: ", path.display())),
        }
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        let mut configuration = Configuration::load(&self.kms)?;
        for (missing, credential) in configuration.missing_credentials() {
            *credential = super::kms::credential(&missing)?;
        }
        Ok(configuration)
    }
}

fn ask_twice(path: &Path) -> Result<Secret, KeyError> {
    let first = ask(path, &format!("New passphrase of {}: ", path.display()))?;
    let second = ask(path, "The same again: ")?;
    if first.expose() == second.expose() {
        return Ok(first);
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "the two are not the same");
    Err(KeyError::PassphraseUnreadable { from: "the terminal".to_owned(), source })
}

fn ask(path: &Path, prompt: &str) -> Result<Secret, KeyError> {
    match ask_for(prompt) {
        Some(Ok(text)) => Ok(Secret::new(text.into_bytes())),
        Some(Err(source)) => Err(KeyError::PassphraseUnreadable { from: "the terminal".to_owned(), source }),
        None => Err(KeyError::PassphraseNeeded { path: path.to_owned() }),
    }
}

/// Asks for a secret on the terminal; none when nobody sits there.
pub(super) fn ask_for(prompt: &str) -> Option<io::Result<String>> {
    io::stdin().is_terminal().then(|| rpassword::prompt_password(prompt))
}

fn read_descriptor(fd: u32) -> Result<Secret, KeyError> {
    let from = format!("file descriptor {fd}");
    let unreadable = |source| KeyError::PassphraseUnreadable { from: from.clone(), source };
    let file = File::open(format!("/proc/self/fd/{fd}")).map_err(unreadable)?;
    // One allocation: no copies stay behind in a growing buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(LONGEST).unwrap_or_default());
    file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    first_line(Secret::new(bytes), &from)
}

fn first_line(secret: Secret, from: &str) -> Result<Secret, KeyError> {
    let line = secret.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        let source = io::Error::new(io::ErrorKind::InvalidData, "its first line is empty");
        return Err(KeyError::PassphraseUnreadable { from: from.to_owned(), source });
    }
    Ok(Secret::new(line.to_vec()))
}
