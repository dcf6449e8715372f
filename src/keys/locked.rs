//! A private key as a program that nobody sits at finds it: in a file, and what opens it in another. Both
//! are read at one moment, and the key is opened when there is time for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kms::{Configuration, KmsError};
use super::{KeyError, KeyFile, NothingToUnlockWith, PrivateKey, Protection, Unlock};
use crate::files;
use crate::secret::Secret;
use crate::x509::Sha256;

/// The private file that opens a protected key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The key management services that may have wrapped its data key, with their secrets.
    Kms(PathBuf),
    /// A passphrase, in the first line.
    Passphrase(PathBuf),
}

impl Opener {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Kms(path) | Self::Passphrase(path) => path,
        }
    }
}

/// A private key, read but not opened, with what opens it.
#[derive(Debug)]
pub struct LockedKey {
    path: PathBuf,
    file: KeyFile,
    supplies: Supplies,
    fingerprint: Sha256,
}

impl LockedKey {
    /// Reads the key in `path`, and what is to open it.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, exposed, or of no form that is known.
    pub fn read(path: &Path, opener: Option<&Opener>) -> Result<Self, KeyError> {
        let key = files::read_private(path)?;
        let supplies = match opener {
            None => Supplies::None,
            Some(Opener::Kms(file)) => Supplies::Kms(files::read_private(file)?),
            Some(Opener::Passphrase(file)) => {
                Supplies::Passphrase { from: file.clone(), contents: files::read_private(file)? }
            }
        };
        let fingerprint = fingerprint(&key, &supplies);
        Ok(Self { path: path.to_owned(), file: KeyFile::parse(key)?, supplies, fingerprint })
    }

    /// What changes when a byte of the key's file, or of what opens it, does.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        self.fingerprint
    }

    /// What protects it.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.file.protection()
    }

    /// Prolongs the login to the service that opens it, where that ends by itself; says when to come again.
    ///
    /// # Errors
    /// What the service says.
    pub fn keep_login(&self) -> Result<Option<Duration>, KeyError> {
        match &self.file {
            KeyFile::Envelope(envelope) => Ok(self.supplies.kms()?.keep_login(envelope)?),
            KeyFile::Passphrase(_) | KeyFile::Plain(_) => Ok(None),
        }
    }

    /// Opens it. May ask a key management service, and so take its time.
    ///
    /// # Errors
    /// As [`KeyFile::open`].
    pub fn open(&self) -> Result<PrivateKey, KeyError> {
        self.file.open(&self.path, &self.supplies)
    }
}

#[derive(Debug)]
enum Supplies {
    Kms(Secret),
    None,
    Passphrase { from: PathBuf, contents: Secret },
}

impl Unlock for Supplies {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        match self {
            Self::Passphrase { from, contents } => contents
                .first_line()
                .ok_or_else(|| KeyError::PassphraseEmpty { from: from.display().to_string() }),
            _ => NothingToUnlockWith.passphrase(path),
        }
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        match self {
            Self::Kms(contents) => Configuration::parse(contents),
            _ => NothingToUnlockWith.kms(),
        }
    }
}

/// Of digests, so that no secret is copied for it.
fn fingerprint(key: &Secret, supplies: &Supplies) -> Sha256 {
    let (kind, contents) = match supplies {
        Supplies::None => (0, &[][..]),
        Supplies::Kms(contents) => (1, contents.expose()),
        Supplies::Passphrase { contents, .. } => (2, contents.expose()),
    };
    Sha256::of(&[&Sha256::of(key.expose()).0[..], &[kind], &Sha256::of(contents).0].concat())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;
    use crate::keys::NewProtection;
    use crate::x509::KeyAlgorithm;

    fn write(directory: &Path, name: &str, contents: &[u8], mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_passphrase_in_a_file_opens_what_it_sealed_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let passphrase = Secret::new(b"correct horse battery".to_vec());
        let sealed = KeyFile::seal(&key, Uuid::from_u128(1), NewProtection::Passphrase(&passphrase)).unwrap();
        let file = write(at, "gateway.key", sealed.into_contents().unwrap().expose(), 0o600);
        let right = Opener::Passphrase(write(at, "right", b"correct horse battery\n", 0o600));
        let locked = LockedKey::read(&file, Some(&right)).unwrap();
        assert_eq!(locked.protection(), Protection::Passphrase);
        assert_eq!(locked.open().unwrap().key_id(), key.key_id());

        let code = |opener: Option<&Opener>| {
            LockedKey::read(&file, opener).and_then(|locked| locked.open()).unwrap_err().code()
        };
        assert_eq!(code(None), "key.passphrase_needed");
        for (contents, mode, expected) in [
            (&b"wrong"[..], 0o600, "key.wrong_passphrase"),
            (b"\ncorrect horse battery", 0o600, "key.passphrase_empty"),
            (b"correct horse battery", 0o644, "file.exposed"),
        ] {
            let opener = Opener::Passphrase(write(at, "wrong", contents, mode));
            assert_eq!(code(Some(&opener)), expected);
            fs::remove_file(opener.path()).unwrap();
        }
        assert_eq!(code(Some(&Opener::Passphrase(at.join("none")))), "file.missing");
        assert_eq!(code(Some(&Opener::Kms(right.path().to_owned()))), "key.passphrase_needed");
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
        let print =
            |key: &Path, opener: Option<Opener>| LockedKey::read(key, opener.as_ref()).unwrap().fingerprint();
        assert_eq!(print(&file, None), print(&same, None));
        let all = [
            print(&file, None),
            print(&other, None),
            print(&file, Some(Opener::Kms(first.clone()))),
            print(&file, Some(Opener::Passphrase(first.clone()))),
            print(&file, Some(Opener::Passphrase(second))),
            print(&other, Some(Opener::Passphrase(first))),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
