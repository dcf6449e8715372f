//! The files of one identity, under the names that its service expects.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::files::Access;
use crate::identity::Role;
use crate::secret::Secret;

/// What the files of a certificate and its key are called where they are used, without `.crt` and
/// `.key`: a service's configuration names them once and for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileStem(String);

impl FileStem {
    /// The role's own: `control-service`, `node` or `user`.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        Self(role.installed_stem().to_owned())
    }

    /// The stem as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileStem {
    type Err = FileStemError;

    /// Takes 1 to 64 letters, digits and `._-`, a letter or digit first; `cluster` is what everybody
    /// trusts.
    fn from_str(text: &str) -> Result<Self, FileStemError> {
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= 64 && text.chars().all(clean) && text != "cluster" {
            Ok(Self(text.to_owned()))
        } else {
            Err(FileStemError { given: text.escape_default().take(80).collect() })
        }
    }
}

impl fmt::Display for FileStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that files cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a name for the files: 1 to 64 letters, digits and ._- are expected, and not `cluster`"
)]
pub struct FileStemError {
    given: String,
}

impl FileStemError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "input.file_stem"
    }
}

/// Files that belong together: they take their places together or not at all.
#[derive(Debug)]
pub struct Package {
    stem: FileStem,
    files: Vec<PackedFile>,
}

/// One of them.
#[derive(Debug)]
pub struct PackedFile {
    /// Its name in the directory.
    pub name: String,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Private(Secret),
    Public(Arc<[u8]>),
}

impl Package {
    /// A certificate under `stem`, with its key if that is to go with it, and what the cluster trusts.
    #[must_use]
    pub fn new(
        stem: &FileStem,
        key: Option<Secret>,
        certificate: Vec<u8>,
        bundle: Arc<[u8]>,
        crl: Arc<[u8]>,
    ) -> Self {
        let public = |name: String, contents| PackedFile { name, contents: Contents::Public(contents) };
        let key = key.map(|key| PackedFile { name: format!("{stem}.key"), contents: Contents::Private(key) });
        // The key first: whoever sees the certificate finds its key beside it.
        let files = key.into_iter().chain([
            public(format!("{stem}.crt"), certificate.into()),
            public("cluster.crt".to_owned(), bundle),
            public("cluster.crl".to_owned(), crl),
        ]);
        Self { stem: stem.clone(), files: files.collect() }
    }

    /// What the certificate and its key are called.
    #[must_use]
    pub fn stem(&self) -> &FileStem {
        &self.stem
    }

    /// The files, in the order in which they take their places.
    #[must_use]
    pub fn files(&self) -> &[PackedFile] {
        &self.files
    }

    /// The certificate as it is delivered.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        let name = format!("{}.crt", self.stem);
        self.files.iter().find(|file| file.name == name).map_or(&[], PackedFile::bytes)
    }

    /// Whether the private key is among them.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.files.iter().any(|file| file.access() == Access::Private)
    }
}

impl PackedFile {
    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.contents {
            Contents::Private(secret) => secret.expose(),
            Contents::Public(bytes) => bytes,
        }
    }

    /// Who may read it.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.contents {
            Contents::Private(_) => Access::Private,
            Contents::Public(_) => Access::Public,
        }
    }

    /// Its mode, as octal digits without the leading zero.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match self.access() {
            Access::Private => 0o600,
            Access::Public => 0o644,
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A package with recognizable contents.
    pub(crate) fn package() -> Package {
        package_with(Some("the key\n"))
    }

    /// The same, with this key or with none.
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
    fn each_role_has_the_names_that_its_service_is_configured_with() {
        let stems = Role::ALL.map(|role| FileStem::of_role(role).to_string());
        assert_eq!(stems, ["control-service", "node", "user"]);
    }

    #[test]
    fn only_the_key_is_private() {
        let package = testing::package();
        let files: Vec<_> = package.files().iter().map(|file| (file.name.as_str(), file.mode())).collect();
        assert_eq!(
            files,
            [("node.key", 0o600), ("node.crt", 0o644), ("cluster.crt", 0o644), ("cluster.crl", 0o644)]
        );
        assert!(!format!("{package:?}").contains("the key"));
    }

    #[test]
    fn a_stem_is_one_plain_word_and_not_the_clusters() {
        for text in ["node", "plugin", "control-service", "a.b_c-1"] {
            assert!(text.parse::<FileStem>().is_ok(), "{text}");
        }
        let long = "a".repeat(65);
        for text in ["", ".", "..", "-rf", ".hidden", "a/b", "a b", "a\nb", "a'b", "é", "cluster", &long] {
            assert_eq!(text.parse::<FileStem>().unwrap_err().code(), "input.file_stem", "{text:?}");
        }
    }
}
