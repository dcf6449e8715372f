//! Passphrases, PINs and service credentials supplied on the command line.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;

use crate::error::Code;
use crate::keys::kms::{
    Configuration, Credential, KmsError, MissingSecret, PIN_VARIABLE, PinProvider, Pkcs11Error,
};
use crate::keys::{KeyError, Unlock};
use crate::secret::Secret;

use super::environment;
use super::secrets::{self, SecretError};
use crate::terminal::report::Failure;
use crate::terminal::stderr;

/// Source of a key's passphrase; without an option, the terminal.
#[derive(Clone, Debug, Args)]
pub(crate) struct PassphraseSource {
    /// Read the passphrase of the key from the first line of this file (0600)
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,

    /// Read the passphrase of the key from this open file descriptor
    #[arg(long, global = true, value_name = "FD")]
    passphrase_fd: Option<u32>,
}

/// Source of the new passphrase of `key change-passphrase`.
#[derive(Debug, Args)]
pub(crate) struct NewPassphraseSource {
    /// Read the new passphrase from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    new_passphrase_file: Option<PathBuf>,

    /// Read the new passphrase from this open file descriptor
    #[arg(long, value_name = "FD")]
    new_passphrase_fd: Option<u32>,
}

impl PassphraseSource {
    /// Read the passphrase from the file or descriptor; `None` if neither is given.
    pub(super) fn read(&self) -> Result<Option<Secret>, SecretError> {
        match (&self.passphrase_file, self.passphrase_fd) {
            (Some(file), _) => secrets::from_file(file).map(Some),
            (None, Some(descriptor)) => secrets::from_descriptor(descriptor).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Read the passphrase of the key in `path` from the file or descriptor; `None` if neither is given.
    pub(crate) fn given(&self, path: &Path) -> Result<Option<Secret>, KeyError> {
        self.read().map_err(|error| passphrase_error(path, error))
    }

    /// Read a new passphrase from the file or descriptor, or prompt for it twice.
    pub(crate) fn choose(&self, path: &Path) -> Result<Secret, Failure> {
        self.choose_with(path, "--passphrase-file FILE or --passphrase-fd FD")
    }

    fn choose_with(&self, path: &Path, options: &str) -> Result<Secret, Failure> {
        if let Some(passphrase) = self.given(path)? {
            return Ok(passphrase);
        }
        secrets::ask_twice(&format!("New passphrase of {}: ", path.display())).map_err(|error| match error {
            SecretError::NoTerminal => Failure::new(
                Code::usage("key.passphrase_needed"),
                format!("no new passphrase was given for {}", path.display()),
            )
            .with_hint(format!("give {options}, or run the command on a terminal")),
            error => passphrase_error(path, error).into(),
        })
    }
}

impl NewPassphraseSource {
    /// Read the new passphrase from the file or descriptor, or prompt for it twice.
    pub(crate) fn choose(self, path: &Path) -> Result<Secret, Failure> {
        let Self { new_passphrase_file: passphrase_file, new_passphrase_fd: passphrase_fd } = self;
        PassphraseSource { passphrase_file, passphrase_fd }
            .choose_with(path, "--new-passphrase-file FILE or --new-passphrase-fd FD")
    }
}

/// Source of the PIN of a PKCS#11 token; without one, the stored PIN or the terminal.
#[derive(Clone, Debug, Args)]
pub(crate) struct PinSource {
    /// Read the PIN of the token that holds the root's key from the first line of this file (0600)
    #[arg(long, global = true, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

impl PinSource {
    /// Read the PIN from the file or the environment; `None` if neither has one.
    fn given(&self) -> Result<Option<Secret>, SecretError> {
        let given = std::env::var_os(PIN_VARIABLE).filter(|text| !text.is_empty());
        match &self.pin_file {
            Some(file) => secrets::from_file(file).map(Some),
            None => Ok(given.map(|text| Secret::new(text.into_vec()))),
        }
    }
}

/// Read a secret that is not stored from the environment, or prompts for it. A variable of another program is named
/// in a note.
///
/// # Errors
/// [`KmsError::CredentialMissing`].
pub(crate) fn credential(missing: &MissingSecret, is_quiet: bool) -> Result<Option<Credential>, KmsError> {
    let given = environment::text(missing.kind.variable).or_else(|| {
        let (variable, text) = environment::first(missing.kind.others)?;
        let MissingSecret { kind, address } = missing;
        stderr::note(is_quiet, format_args!("the {} for {address} is that of {variable}", kind.name));
        Some(text)
    });
    let asked = || {
        let secret = secrets::ask(&format!("The {} for {}: ", missing.kind.name, missing.address)).ok()?;
        String::from_utf8(secret.expose().to_vec()).ok()
    };
    match given.or_else(asked) {
        Some(text) if Credential::is_valid(&text) => Ok(Some(Credential::new(text))),
        _ => Err(missing.error()),
    }
}

/// Passphrase and PIN of one run of the program.
#[derive(Debug)]
pub(crate) struct Keyring {
    source: PassphraseSource,
    /// The passphrase that was read: a descriptor can be read only once.
    given: Mutex<Option<Secret>>,
    pin_source: PinSource,
    /// The PIN that was read. Tokens lock after a few wrong PINs, so only one PIN is tried.
    pin: Mutex<Option<Secret>>,
    /// Path of `kms.json`.
    kms: PathBuf,
    /// True if nothing but errors is printed.
    is_quiet: bool,
}

impl Keyring {
    pub(crate) fn new(source: PassphraseSource, pin_source: PinSource, kms: PathBuf, is_quiet: bool) -> Self {
        Self { source, given: Mutex::new(None), pin_source, pin: Mutex::new(None), kms, is_quiet }
    }
}

impl Unlock for Keyring {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        let mut given = self.given.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if given.is_none() {
            *given = self.source.given(path)?;
        }
        match given.as_ref() {
            Some(passphrase) => Ok(Secret::new(passphrase.expose().to_vec())),
            None => secrets::ask(&format!("Passphrase of {}: ", path.display()))
                .map_err(|error| passphrase_error(path, error)),
        }
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        let mut configuration = Configuration::load(&self.kms)?;
        for (missing, slot) in configuration.missing_secrets() {
            *slot = credential(&missing, self.is_quiet)?;
        }
        Ok(configuration)
    }
}

impl PinProvider for Keyring {
    fn pin(
        &self,
        token: &str,
        stored: &dyn Fn() -> Result<Option<Secret>, KmsError>,
    ) -> Result<Secret, KmsError> {
        let mut pin = self.pin.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if pin.is_none() {
            let failed = |error| pin_error(token, error);
            *pin = match self.pin_source.given().map_err(failed)? {
                Some(given) => Some(given),
                None => stored()?,
            };
            if pin.is_none() {
                *pin = Some(secrets::ask(&format!("PIN of token {token}: ")).map_err(failed)?);
            }
        }
        let needed = || Pkcs11Error::PinNeeded { token: token.to_owned() };
        let pin = pin.as_ref().filter(|pin| !pin.expose().is_empty()).ok_or_else(needed)?;
        Ok(Secret::new(pin.expose().to_vec()))
    }
}

/// The same failure, as an error of the token.
fn pin_error(token: &str, error: SecretError) -> Pkcs11Error {
    match error {
        SecretError::Empty { from } | SecretError::Unreadable { from, .. } => {
            Pkcs11Error::PinUnreadable { from }
        }
        SecretError::File(error) => error.into(),
        SecretError::NoTerminal => Pkcs11Error::PinNeeded { token: token.to_owned() },
    }
}

/// The same failure, as an error of the key.
fn passphrase_error(path: &Path, error: SecretError) -> KeyError {
    match error {
        SecretError::Empty { from } => KeyError::PassphraseEmpty { from },
        SecretError::File(error) => error.into(),
        SecretError::NoTerminal => KeyError::PassphraseNeeded { path: path.to_owned() },
        SecretError::Unreadable { from, source } => KeyError::PassphraseUnreadable { from, source },
    }
}
