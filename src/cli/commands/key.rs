//! `key show|protect|unprotect|change-passphrase`: what protects a private key at rest.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ca::{Cluster, ProtectionChange};
use crate::files;
use crate::keys::{KeyFile, Protection};

use crate::cli::custody::custody;
use crate::cli::session::Session;
use crate::cli::unlock::NewPassphraseSource;
use crate::terminal::report::{CommandResult, Shown, typed};

/// The commands about a private key's protection.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
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
pub(crate) struct File {
    /// The key's file [default: the root's]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The arguments of `key change-passphrase`.
#[derive(Debug, Args)]
pub(crate) struct ChangePassphrase {
    #[command(flatten)]
    key: File,
    #[command(flatten)]
    new: NewPassphraseSource,
}

impl Key {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let path = |key: File| match key.file {
            Some(file) => files::absolute(&file).unwrap_or(file),
            None => session.home().key(),
        };
        let changed = match self {
            Self::Show(key) => {
                let held = match key.file {
                    None if !files::occupied(&session.home().key()) => {
                        Cluster::open(&session.home(), &session.context)?.remote_signer()?
                    }
                    _ => None,
                };
                if let Some(signer) = held {
                    let protection = Protection::NotExportable { by: signer.to_string() };
                    return Ok(Box::new(Shown(Shape { key: None, protection })));
                }
                let key = path(key);
                let protection = KeyFile::read(&key)?.protection();
                return Ok(Box::new(Shown(Shape { key: Some(key), protection })));
            }
            Self::Protect(key) => {
                let (path, mut custody) = (path(key), custody(session)?);
                custody.refuse_remote_key(&path)?;
                custody.protect(&path, &session.passphrase().choose(&path)?)?
            }
            Self::Unprotect(key) => custody(session)?.unprotect(&path(key))?,
            Self::ChangePassphrase(change) => {
                let (path, mut custody) = (path(change.key), custody(session)?);
                custody.refuse_remote_key(&path)?;
                custody.change_passphrase(&path, &change.new.choose(&path)?)?
            }
        };
        Ok(Box::new(Shown(Changed(changed))))
    }
}

#[derive(Serialize)]
struct Shape {
    /// None when the root's key is not in a file.
    #[serde(serialize_with = "crate::files::as_optional_text")]
    key: Option<PathBuf>,
    #[serde(flatten)]
    protection: Protection,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => writeln!(f, "{}", typed(key))?,
            None => writeln!(f, "The root's key")?,
        }
        writeln!(f, "  protection  {}", self.protection)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Changed(ProtectionChange);

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProtectionChange { key, before, after } = &self.0;
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
