//! Protected keys of a daemon: the key in one file, the credentials that open it in another. Both are read at
//! the same time; the key may be opened later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::KeyError;
use super::key_file::{KeyFile, Protection};
use super::kms::{Configuration, KmsError, PinProvider};
use super::private_key::PrivateKey;
use super::unlock::{NoUnlock, Unlock};
use crate::files;
use crate::secret::Secret;
use crate::x509::Sha256;

/// Private file (0600) that opens a protected key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsFile {
    /// Configuration of key management services, with their secrets.
    Kms(PathBuf),
    /// Passphrase, in the first line.
    Passphrase(PathBuf),
}

impl CredentialsFile {
    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Kms(path) | Self::Passphrase(path) => path,
        }
    }
}

/// A private key with its credentials, read but not opened.
#[derive(Debug)]
pub struct ProtectedKey {
    path: PathBuf,
    file: KeyFile,
    credentials: Credentials,
    fingerprint: Sha256,
}

impl ProtectedKey {
    /// Read the key file `path` and its credentials.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, readable by other users, or of an unknown form.
    pub fn read(path: &Path, credentials: Option<&CredentialsFile>) -> Result<Self, KeyError> {
        let key = files::read_private(path)?;
        let credentials = match credentials {
            None => Credentials::None,
            Some(CredentialsFile::Kms(file)) => Credentials::Kms(files::read_private(file)?),
            Some(CredentialsFile::Passphrase(file)) => {
                Credentials::Passphrase { from: file.clone(), contents: files::read_private(file)? }
            }
        };
        let fingerprint = fingerprint(&key, &credentials);
        Ok(Self { path: path.to_owned(), file: KeyFile::parse(key)?, credentials, fingerprint })
    }

    /// Digest of both files, to detect a change of either.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        self.fingerprint
    }

    /// Protection of the key.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.file.protection()
    }

    /// Renew the login to the service that opens the key, and return the time until the next renewal. `None`
    /// if there is nothing to renew.
    ///
    /// # Errors
    /// [`KeyError::Kms`].
    pub fn renew_login(&self) -> Result<Option<Duration>, KeyError> {
        match &self.file {
            KeyFile::Envelope(envelope) => Ok(self.credentials.kms()?.renew_login(envelope)?),
            KeyFile::Passphrase(_) | KeyFile::Plain(_) => Ok(None),
        }
    }

    /// Open the key. Blocks for a request to a key management service, if one wraps the key.
    ///
    /// # Errors
    /// As [`KeyFile::open`].
    pub fn open(&self) -> Result<PrivateKey, KeyError> {
        self.file.open(&self.path, &self.credentials)
    }
}

#[derive(Debug)]
enum Credentials {
    Kms(Secret),
    None,
    Passphrase { from: PathBuf, contents: Secret },
}

impl PinProvider for Credentials {}

impl Unlock for Credentials {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        match self {
            Self::Passphrase { from, contents } => contents
                .first_line()
                .ok_or_else(|| KeyError::PassphraseEmpty { from: from.display().to_string() }),
            _ => NoUnlock.passphrase(path),
        }
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        match self {
            Self::Kms(contents) => Configuration::parse(contents),
            _ => NoUnlock.kms(),
        }
    }
}

/// Digest of digests: the secrets are not copied for it.
fn fingerprint(key: &Secret, credentials: &Credentials) -> Sha256 {
    let (kind, contents) = match credentials {
        Credentials::None => (0, &[][..]),
        Credentials::Kms(contents) => (1, contents.expose()),
        Credentials::Passphrase { contents, .. } => (2, contents.expose()),
    };
    Sha256::of(&[&Sha256::of(key.expose()).0[..], &[kind], &Sha256::of(contents).0].concat())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;
    use crate::error::Coded;
    use crate::keys::key_file::NewProtection;
    use crate::x509::KeyAlgorithm;

    fn write(directory: &Path, name: &str, contents: &[u8], mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_the_right_passphrase_file_opens_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let passphrase = Secret::new(b"correct horse battery".to_vec());
        let sealed = KeyFile::seal(&key, Uuid::from_u128(1), NewProtection::Passphrase(&passphrase)).unwrap();
        let file = write(at, "gateway.key", sealed.into_contents().unwrap().expose(), 0o600);
        let right = CredentialsFile::Passphrase(write(at, "right", b"correct horse battery\n", 0o600));
        let protected = ProtectedKey::read(&file, Some(&right)).unwrap();
        assert_eq!(protected.protection(), Protection::Passphrase);
        assert_eq!(protected.open().unwrap().key_id(), key.key_id());

        let code = |credentials: Option<&CredentialsFile>| {
            ProtectedKey::read(&file, credentials).and_then(|protected| protected.open()).unwrap_err().code()
        };
        assert_eq!(code(None), "key.passphrase_needed");
        for (contents, mode, expected) in [
            (&b"wrong"[..], 0o600, "key.wrong_passphrase"),
            (b"\ncorrect horse battery", 0o600, "key.passphrase_empty"),
            (b"correct horse battery", 0o644, "file.exposed"),
        ] {
            let opener = CredentialsFile::Passphrase(write(at, "wrong", contents, mode));
            assert_eq!(code(Some(&opener)), expected);
            fs::remove_file(opener.path()).unwrap();
        }
        assert_eq!(code(Some(&CredentialsFile::Passphrase(at.join("none")))), "file.missing");
        assert_eq!(code(Some(&CredentialsFile::Kms(right.path().to_owned()))), "key.passphrase_needed");
    }

    #[test]
    fn the_fingerprint_changes_with_either_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let pem = |key: &PrivateKey| key.to_pem().unwrap().expose().to_vec();
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let file = write(at, "a.key", &pem(&key), 0o600);
        let same = write(at, "b.key", &pem(&key), 0o600);
        let other = write(at, "c.key", &pem(&PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()), 0o600);
        let (first, second) = (write(at, "1", b"first", 0o600), write(at, "2", b"second", 0o600));
        let print = |key: &Path, credentials: Option<CredentialsFile>| {
            ProtectedKey::read(key, credentials.as_ref()).unwrap().fingerprint()
        };
        assert_eq!(print(&file, None), print(&same, None));
        let all = [
            print(&file, None),
            print(&other, None),
            print(&file, Some(CredentialsFile::Kms(first.clone()))),
            print(&file, Some(CredentialsFile::Passphrase(first.clone()))),
            print(&file, Some(CredentialsFile::Passphrase(second))),
            print(&other, Some(CredentialsFile::Passphrase(first))),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
