//! `key show|protect|unprotect|change-passphrase`: what protects a private key at rest.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ca::{Custody, Protected};
use crate::keys::{KeyFile, Protection};

use super::Session;
use super::report::{CommandResult, Failure, Shown, typed};
use super::unlock::NewPassphraseSource;

/// The commands about a private key's protection.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Say what protects a private key, without opening it
    Show(File),
    /// Protect a private key with a passphrase
    Protect(File),
    /// Take the passphrase off a private key
    Unprotect(File),
    /// Give a private key another passphrase
    ChangePassphrase(ChangePassphrase),
}

/// Which key.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The key's file [default: the root's]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The arguments of `key change-passphrase`.
#[derive(Debug, Args)]
pub(super) struct ChangePassphrase {
    #[command(flatten)]
    key: File,
    #[command(flatten)]
    new: NewPassphraseSource,
}

impl Key {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let path = |key: File| key.file.unwrap_or_else(|| session.home().key());
        let changed = match self {
            Self::Show(key) => {
                let key = path(key);
                let protection = KeyFile::read(&key)?.protection();
                return Ok(Box::new(Shown(Shape { key, protection })));
            }
            Self::Protect(key) => {
                let path = path(key);
                custody(session)?.protect(&path, &session.passphrase().choose(&path)?)?
            }
            Self::Unprotect(key) => custody(session)?.unprotect(&path(key))?,
            Self::ChangePassphrase(change) => {
                let path = path(change.key);
                custody(session)?.change_passphrase(&path, &change.new.choose(&path)?)?
            }
        };
        Ok(Box::new(Shown(Changed(changed))))
    }
}

/// Opens the home to change what protects its keys.
pub(super) fn custody(session: &Session) -> Result<Custody, Failure> {
    Ok(Custody::open(&session.home(), &session.context)?)
}

#[derive(Serialize)]
struct Shape {
    key: PathBuf,
    #[serde(flatten)]
    protection: Protection,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", typed(&self.key))?;
        writeln!(f, "  protection  {}", self.protection)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Changed(Protected);

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Protected { key, before, after } = &self.0;
        writeln!(f, "{}", typed(key))?;
        writeln!(f, "  protection  {after}  (before: {before})")?;
        if *after == Protection::None {
            writeln!(f, "  weaker now  whoever reads the file, or a backup of it, has the key")
        } else if *before == Protection::None {
            writeln!(f, "  remember    backups and snapshots made until now still hold the unprotected key")
        } else {
            Ok(())
        }
    }
}
