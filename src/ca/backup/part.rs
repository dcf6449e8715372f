//! Parts of a backup: names in the archive, and paths in a home.

use std::path::{Path, PathBuf};

use crate::ca::home::directory::Home;
use crate::files::Access;

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The manifest, which is the first part.
    Manifest,
    /// The inventory.
    Database,
    /// The root's private key with its protection.
    Key,
    /// The trust bundle.
    Certificate,
    /// The current CRL, `cluster.crl`.
    Crl,
    /// A settings file such as `hosts.yaml`.
    Settings(String),
    /// An issued certificate or its key.
    Issued(String),
}

impl Part {
    /// The configuration of key management services.
    pub(super) fn kms() -> Self {
        Self::Settings("kms.json".to_owned())
    }

    /// Name in the archive.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Manifest => "manifest.json".to_owned(),
            Self::Database => "ca.db".to_owned(),
            Self::Key => "cluster.key".to_owned(),
            Self::Certificate => "cluster.crt".to_owned(),
            Self::Crl => "cluster.crl".to_owned(),
            Self::Settings(name) => name.clone(),
            Self::Issued(name) => format!("issued/{name}"),
        }
    }

    /// Parse a name in the archive. `None` for any other name, in particular one that leads out of the
    /// home.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let fixed = [Self::Manifest, Self::Database, Self::Key, Self::Certificate, Self::Crl];
        if let Some(part) = fixed.into_iter().find(|part| part.name() == name) {
            return Some(part);
        }
        match name.strip_prefix("issued/") {
            Some(name) if is_plain(name, &["crt", "key"]) => Some(Self::Issued(name.to_owned())),
            None if is_plain(name, &["json", "yaml"]) => Some(Self::Settings(name.to_owned())),
            _ => None,
        }
    }

    /// Path in a home.
    pub(super) fn path(&self, home: &Home) -> PathBuf {
        match self {
            Self::Issued(name) => home.issued().join(name),
            other => home.directory().join(other.name()),
        }
    }

    /// Permissions of the restored file.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Certificate | Self::Crl => Access::Public,
            Self::Issued(name) if name.ends_with(".crt") => Access::Public,
            _ => Access::Private,
        }
    }
}

/// True for the plain name of a visible file with one of these extensions.
fn is_plain(name: &str, extensions: &[&str]) -> bool {
    let path = Path::new(name);
    !name.starts_with('.')
        && !name.contains(['/', '\0'])
        && path.extension().and_then(|found| found.to_str()).is_some_and(|found| extensions.contains(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_home_are_parts_of_a_backup() {
        for name in ["ca.db", "cluster.key", "hosts.yaml", "issued/user-alice.crt", "issued/user-alice.key"] {
            assert_eq!(Part::of_name(name).unwrap().name(), name);
        }
        for name in [
            "",
            "/etc/passwd",
            "../cluster.key",
            "issued/../cluster.key",
            "issued/.user.key",
            "issued/a/b.key",
            "issued/x.sh",
            ".hosts.yaml",
            "x/hosts.yaml",
            "ca.db-wal",
        ] {
            assert_eq!(Part::of_name(name), None, "{name}");
        }
    }
}
