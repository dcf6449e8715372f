//! Tar archive of a package, with a README for its recipient.

use std::io::{self, Read};

use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;

use super::installation::KeyMode;
use super::package::{FileStem, Package};
use crate::clock::rfc3339;
use crate::identity::{Identity, Recipient};
use crate::secret::Secret;

/// Block size of tar. A header is one block; contents are padded to whole blocks.
const BLOCK: usize = 512;

/// Write `package` as a tar archive with a single directory `name`. `readme` is its first file.
///
/// # Errors
/// [`io::Error`] if a file name or size exceeds the limits of the ustar format.
pub fn archive(name: &str, readme: &str, package: &Package, at: OffsetDateTime) -> io::Result<Secret> {
    let files = [("README", 0o644, readme.as_bytes())].into_iter().chain(
        package.files().iter().map(|file| (file.name.as_str(), file.mode(KeyMode::default()), file.bytes())),
    );
    // Allocated at full size: a growing buffer would leave copies of the key in freed memory.
    let blocks = files.clone().map(|(_, _, bytes)| 1 + bytes.len().div_ceil(BLOCK)).sum::<usize>();
    let mut tar = Builder::new(Vec::with_capacity((blocks + 3) * BLOCK));
    let seconds = u64::try_from(at.unix_timestamp()).unwrap_or_default();
    let header = |kind, mode, size: usize| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(seconds);
        header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
        header
    };
    tar.append_data(&mut header(EntryType::Directory, 0o700, 0), format!("{name}/"), io::empty())?;
    for (file, mode, bytes) in files {
        let mut header = header(EntryType::Regular, mode, bytes.len());
        tar.append_data(&mut header, format!("{name}/{file}"), bytes)?;
    }
    tar.into_inner().map(Secret::new)
}

/// File in an archive.
#[derive(Debug)]
pub struct ArchivedFile {
    /// Path in the archive.
    pub path: String,
    /// Bytes of the file, zeroized when dropped.
    pub contents: Secret,
}

/// True for a tar archive in a POSIX format.
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Read the files of an archive. Together they are at most as large as the archive: a sparse file cannot fill the memory.
///
/// # Errors
/// [`io::Error`] for a damaged archive.
pub fn read_archive(bytes: &[u8]) -> io::Result<Vec<ArchivedFile>> {
    let mut left = bytes.len();
    let mut files = Vec::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let entry = entry?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let path = entry.path()?.display().to_string();
        // Allocated at full size: a growing buffer would leave copies of a key in freed memory.
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX).min(left);
        let mut contents = Vec::with_capacity(size);
        entry.take(u64::try_from(size).unwrap_or(u64::MAX)).read_to_end(&mut contents)?;
        left = left.saturating_sub(contents.len());
        files.push(ArchivedFile { path, contents: Secret::new(contents) });
    }
    Ok(files)
}

/// Text of the README: three lines on identity, validity and use of the files.
#[must_use]
pub fn readme(identity: &Identity, stem: &FileStem, not_after: OffsetDateTime, package: &Package) -> String {
    let keep = if package.has_key() {
        format!("Keep {stem}.key secret, with mode 0600 in a directory of mode 0700; do not share it.")
    } else {
        format!("{stem}.crt belongs to the private key that signed its certificate signing request.")
    };
    let usage = match identity.role.recipient() {
        Recipient::Person => format!(
            "Call the API: curl --cacert cluster.crt --cert {stem}.crt --key {stem}.key https://HOST/"
        ),
        Recipient::NamedHost | Recipient::Machine(_) => format!(
            "Configure the service with {stem}.crt and {stem}.key, trust anchors from cluster.crt, and revocation from cluster.crl."
        ),
    };
    format!("This is {identity}, valid until {}.\n{keep}\n{usage}\n", rfc3339(not_after))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::package::testing::package;
    use super::*;

    #[test]
    fn an_archive_has_one_directory_with_all_files_and_modes() {
        let bytes = archive("node-1", "read me\n", &package(), datetime!(2027-01-31 0:00 UTC)).unwrap();
        assert!(is_archive(bytes.expose()));
        let read = read_archive(bytes.expose()).unwrap();
        assert_eq!(read.len(), 5);
        assert_eq!(
            (read[1].path.as_str(), read[1].contents.expose()),
            ("node-1/node.key", &b"the key\n"[..])
        );
        let mut entries = Vec::new();
        for entry in tar::Archive::new(bytes.expose()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            entries.push((path, entry.header().mode().unwrap(), text));
        }
        let expected = [
            ("node-1/", 0o700, ""),
            ("node-1/README", 0o644, "read me\n"),
            ("node-1/node.key", 0o600, "the key\n"),
            ("node-1/node.crt", 0o644, "the certificate\n"),
            ("node-1/cluster.crt", 0o644, "the bundle\n"),
            ("node-1/cluster.crl", 0o644, ""),
        ];
        assert_eq!(entries, expected.map(|(path, mode, text)| (path.to_owned(), mode, text.to_owned())));
    }

    #[test]
    fn a_damaged_archive_never_panics() {
        let whole = archive("node-1", "read me\n", &package(), datetime!(2027-01-31 0:00 UTC)).unwrap();
        for at in (0..whole.expose().len()).step_by(7) {
            let mut flipped = whole.expose().to_vec();
            flipped[at] ^= 0x21;
            let _ = read_archive(&flipped).map(|files| files.len());
            let _ = read_archive(&whole.expose()[..at]).map(|files| files.len());
        }
    }

    #[test]
    fn a_readme_has_three_lines() {
        for identity in ["spiffe://prod/api-user/alice", "spiffe://prod/control-service/api.example.com"] {
            let identity: Identity = identity.parse().unwrap();
            let stem = FileStem::of_role(identity.role);
            let text = readme(&identity, &stem, datetime!(2027-01-31 0:00 UTC), &package());
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }
}
