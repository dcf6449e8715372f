//! Files of one identity, under the names that its service expects.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::installation::KeyMode;
use crate::error::{Code, Coded, excerpt};
use crate::files::Access;
use crate::identity::Role;
use crate::secret::Secret;

/// File name of a certificate and its key on the target machine, without `.crt` and `.key`. It stays the
/// same across renewals, so that a service's configuration never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileStem(String);

impl FileStem {
    /// Default stem of `role`: `control-service`, `node` or `user`.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        Self(role.installed_stem().to_owned())
    }

    /// Stem as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileStem {
    type Err = FileStemError;

    /// Accept 1 to 64 letters, digits and `._-`, a letter or digit first. `cluster` is reserved for the
    /// trust files.
    fn from_str(text: &str) -> Result<Self, FileStemError> {
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= 64 && text.chars().all(clean) && text != "cluster" {
            Ok(Self(text.to_owned()))
        } else {
            Err(FileStemError { given: excerpt(text) })
        }
    }
}

impl fmt::Display for FileStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that is not a [`FileStem`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a valid file name stem: 1 to 64 letters, digits and ._- are expected, and not `cluster`"
)]
pub struct FileStemError {
    given: String,
}

impl Coded for FileStemError {
    fn coded(&self) -> Code {
        Code::usage("input.file_stem")
    }
}

/// Files that are installed together or not at all.
#[derive(Debug)]
pub struct Package {
    stem: FileStem,
    files: Vec<PackageFile>,
}

/// Contents of one file on the destination, with its mode.
#[derive(Debug)]
pub struct PackageFile {
    /// File name without directory.
    pub name: String,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Private(Secret),
    Public(Arc<[u8]>),
}

impl Package {
    /// Pack a certificate as `stem`, its private key if there is one, the trust bundle and the CRL.
    #[must_use]
    pub fn new(
        stem: &FileStem,
        key: Option<Secret>,
        certificate: Vec<u8>,
        bundle: Arc<[u8]>,
        crl: Arc<[u8]>,
    ) -> Self {
        let public = |name: String, contents| PackageFile { name, contents: Contents::Public(contents) };
        let key =
            key.map(|key| PackageFile { name: format!("{stem}.key"), contents: Contents::Private(key) });
        // The key first: a service that reads the new certificate finds the new key in place.
        let files = key.into_iter().chain([
            public(format!("{stem}.crt"), certificate.into()),
            public("cluster.crt".to_owned(), bundle),
            public("cluster.crl".to_owned(), crl),
        ]);
        Self { stem: stem.clone(), files: files.collect() }
    }

    /// Add the statement about tokens, for a gateway.
    #[must_use]
    pub fn with_statement(mut self, statement: Arc<[u8]>) -> Self {
        let name = "cluster.tokens".to_owned();
        self.files.push(PackageFile { name, contents: Contents::Public(statement) });
        self
    }

    /// File name of certificate and key.
    #[must_use]
    pub fn stem(&self) -> &FileStem {
        &self.stem
    }

    /// Files, in the order of installation.
    #[must_use]
    pub fn files(&self) -> &[PackageFile] {
        &self.files
    }

    /// Content of the certificate file.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        let name = format!("{}.crt", self.stem);
        self.files.iter().find(|file| file.name == name).map_or(&[], PackageFile::bytes)
    }

    /// True if the package contains the private key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.files.iter().any(|file| file.access() == Access::Private)
    }
}

impl PackageFile {
    /// Content of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.contents {
            Contents::Private(secret) => secret.expose(),
            Contents::Public(bytes) => bytes,
        }
    }

    /// Access class of the file.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.contents {
            Contents::Private(_) => Access::Private,
            Contents::Public(_) => Access::Public,
        }
    }

    /// Mode bits: those of `key` for private files, 0644 for public ones.
    #[must_use]
    pub fn mode(&self, key: KeyMode) -> u32 {
        match self.access() {
            Access::Private => key.bits(),
            Access::Public => 0o644,
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Package with recognizable contents.
    pub(crate) fn package() -> Package {
        package_with(Some("the key\n"))
    }

    /// Package with the given key, or none.
    pub(crate) fn package_with(key: Option<&str>) -> Package {
        let text = |text: &str| text.as_bytes().to_vec();
        let key = key.map(|key| Secret::new(text(key)));
        let stem = FileStem::of_role(Role::NodeAgent);
        Package::new(&stem, key, text("the certificate\n"), text("the bundle\n").into(), text("").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_default_file_names() {
        let stems = Role::ALL.map(|role| FileStem::of_role(role).to_string());
        assert_eq!(stems, ["control-service", "node", "user"]);
    }

    #[test]
    fn only_the_key_is_private() {
        let package = testing::package();
        let files: Vec<_> =
            package.files().iter().map(|file| (file.name.as_str(), file.mode(KeyMode::default()))).collect();
        assert_eq!(
            files,
            [("node.key", 0o600), ("node.crt", 0o644), ("cluster.crt", 0o644), ("cluster.crl", 0o644)]
        );
        assert!(!format!("{package:?}").contains("the key"));
    }

    #[test]
    fn a_stem_is_one_plain_word_other_than_cluster() {
        for text in ["node", "plugin", "control-service", "a.b_c-1"] {
            assert!(text.parse::<FileStem>().is_ok(), "{text}");
        }
        let long = "a".repeat(65);
        for text in ["", ".", "..", "-rf", ".hidden", "a/b", "a b", "a\nb", "a'b", "é", "cluster", &long] {
            assert_eq!(text.parse::<FileStem>().unwrap_err().code(), "input.file_stem", "{text:?}");
        }
    }
}
