//! `key show|protect|unprotect|change-passphrase`: protection of a private key at rest.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ca::{Cluster, ProtectionChange};
use crate::files;
use crate::keys::{KeyFile, Protection};

use crate::cli::group::GroupedCommand;
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::cli::unlock::NewPassphraseSource;
use crate::terminal::report::{CommandResult, Shown, typed};

/// Subcommands of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show the protection of a private key, without opening it (default)
    Show(File),
    /// Protect a private key with a passphrase
    Protect(File),
    /// Remove the passphrase of a private key
    Unprotect(File),
    /// Change the passphrase of a private key
    ChangePassphrase(ChangePassphrase),
}

/// File argument of the `key` commands.
#[derive(Debug, Default, Args)]
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

impl Default for Key {
    fn default() -> Self {
        Self::Show(File::default())
    }
}

impl GroupedCommand for Key {
    fn run(self, session: &CommandSession) -> CommandResult {
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
                    return Ok(Box::new(Shown(KeyReport { key: None, protection })));
                }
                let key = path(key);
                let protection = KeyFile::read(&key)?.protection();
                return Ok(Box::new(Shown(KeyReport { key: Some(key), protection })));
            }
            Self::Protect(key) => {
                let (path, mut protection) = (path(key), open_key_protection(session)?);
                protection.refuse_remote_key(&path)?;
                protection.protect(&path, &session.passphrase().choose(&path)?)?
            }
            Self::Unprotect(key) => open_key_protection(session)?.unprotect(&path(key))?,
            Self::ChangePassphrase(change) => {
                let (path, mut protection) = (path(change.key), open_key_protection(session)?);
                protection.refuse_remote_key(&path)?;
                protection.change_passphrase(&path, &change.new.choose(&path)?)?
            }
        };
        Ok(Box::new(Shown(ChangeReport(changed))))
    }
}

#[derive(Serialize)]
struct KeyReport {
    /// `None` if the root's key is not in a file.
    #[serde(serialize_with = "crate::files::as_optional_text")]
    key: Option<PathBuf>,
    #[serde(flatten)]
    protection: Protection,
}

impl fmt::Display for KeyReport {
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
struct ChangeReport(ProtectionChange);

impl fmt::Display for ChangeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProtectionChange { key, before, after } = &self.0;
        writeln!(f, "{}", typed(key))?;
        writeln!(f, "  protection  {after}  (before: {before})")?;
        if *after == Protection::None {
            writeln!(f, "  weaker now  any user who can read the file, or a backup of it, has the key")
        } else if *before == Protection::None {
            writeln!(
                f,
                "  remember    backups and snapshots made until now still contain the unprotected key"
            )
        } else {
            Ok(())
        }
    }
}
