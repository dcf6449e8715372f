//! Tokens on disk, readable only by their owner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ApiClientError;
use crate::clock::Clock;
use crate::files::{self, Access, DirectoryLock, Placement};
use crate::secret::Secret;

/// Time to wait for another process that uses the tokens.
const LOCK_TIMEOUT: Duration = Duration::from_secs(70);

/// File with the tokens of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    path: PathBuf,
}

/// Contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredTokens {
    /// URL of the server.
    pub(super) server: String,
    /// CA certificates that the server is verified with, in PEM.
    pub(super) ca: String,
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) token_type: String,
    /// Expiry of the access token, in seconds since 1970.
    pub(super) expires_at: i64,
}

impl TokenFile {
    /// The file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other processes from using the tokens: a refresh token is valid once.
    pub(super) fn lock(&self, clock: &dyn Clock) -> Result<DirectoryLock, ApiClientError> {
        let directory = files::parent(&self.path);
        files::make_private_directory(directory)?;
        Ok(DirectoryLock::acquire(directory, LOCK_TIMEOUT, clock)?)
    }

    /// Read the tokens; `None` if there is no file.
    pub(super) fn read(&self) -> Result<Option<StoredTokens>, ApiClientError> {
        if !files::occupied(&self.path) {
            return Ok(None);
        }
        let contents = files::read_private(&self.path)?;
        serde_json::from_slice(contents.expose()).map(Some).map_err(|_| ApiClientError::TokenFile)
    }

    pub(super) fn write(&self, tokens: &StoredTokens) -> Result<(), ApiClientError> {
        let contents = serde_json::to_vec(tokens).map(Secret::new).map_err(|_| ApiClientError::TokenFile)?;
        Ok(files::write(&self.path, Access::Private, Placement::Replace, contents.expose())?)
    }

    /// Remove the file, if there is one.
    pub(super) fn remove(&self) -> Result<(), ApiClientError> {
        match std::fs::remove_file(&self.path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(files::FileError::Io { doing: "remove", path: self.path.clone(), source }.into())
            }
            _ => Ok(()),
        }
    }
}
