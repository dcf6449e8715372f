//! Creation of a backup: a snapshot of the inventory and the files that belong to it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{EntryType, Header};

use super::error::BackupError;
use super::manifest::{FORMAT, Manifest};
use super::part::Part;
use super::staging::{Scratch, sweep};
use crate::age_stream::Encryptor;
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::files::{self, Access, FileError, Staged};
use crate::secret::Secret;
use crate::store::Inventory;
use crate::x509::{Sha256, pem};

/// Name of the temporary directory in the home.
const SCRATCH: &str = "backup";

/// Attempts at a snapshot that matches the CRL file before the lock of the home is taken for the last
/// one.
const TRIES: u32 = 3;

/// A backup file and its contents.
#[derive(Debug, Serialize)]
pub struct CreatedBackup {
    /// Path of the backup.
    #[serde(serialize_with = "crate::files::as_text")]
    pub file: PathBuf,
    /// Summary of the contents.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Names of the files in it.
    pub files: Vec<String>,
}

/// Write a backup of the home to `file`, which must not exist. `with_issued` includes the certificates
/// and keys in `issued/`.
///
/// # Errors
/// [`BackupError`]. No file is left then.
pub fn create(
    cluster: &Cluster,
    file: &Path,
    passphrase: &Secret,
    with_issued: bool,
    context: &Context,
) -> Result<CreatedBackup, BackupError> {
    if files::occupied(file) {
        return Err(FileError::Exists { path: file.to_owned() }.into());
    }
    // The snapshot is not encrypted, so it stays in the home: a killed process leaves it there, not on the medium.
    let beside_inventory = cluster.home.directory().join(SCRATCH);
    sweep(&beside_inventory);
    sweep(file);
    let scratch = Scratch::beside(&beside_inventory, context)?;
    let snapshot = scratch.directory().join("ca.db");
    let crl = settled_snapshot(cluster, &snapshot)?;
    let manifest = manifest(&Inventory::open_reader(&snapshot)?, context)?;

    let target = EncryptedFile::create(file, context)?;
    let sink = target.sink.try_clone().map_err(|source| io_error("write", file, source))?;
    let encryptor = Encryptor::new(sink, passphrase, context.entropy.as_ref());
    let mut tar = tar::Builder::new(encryptor.map_err(BackupError::NotEncrypted)?);
    let files = Writer { target: file, tar: &mut tar, manifest: &manifest, files: Vec::new() }.write_all(
        cluster,
        &snapshot,
        &crl,
        with_issued,
    )?;
    tar.into_inner()
        .and_then(Encryptor::finish)
        .and_then(|sink| sink.sync_all())
        .map_err(|source| io_error("write", file, source))?;
    target.deliver(file)?;
    Ok(CreatedBackup { file: file.to_owned(), manifest, files })
}

/// Encrypted file under a temporary name. Dropped before it is delivered, it is removed.
struct EncryptedFile {
    temporary: PathBuf,
    /// Locked while the process lives.
    sink: File,
    is_delivered: bool,
}

impl EncryptedFile {
    fn create(file: &Path, context: &Context) -> Result<Self, BackupError> {
        let mut random = [0; 8];
        context.entropy.fill(&mut random)?;
        let temporary = Staged::temporary_path(file, &crate::x509::hex(&random));
        files::create_private(&temporary).map_err(|error| match error {
            // The name that the user knows.
            FileError::Io { doing, source, .. } => FileError::Io { doing, path: file.to_owned(), source },
            error => error,
        })?;
        let open = || {
            let sink = OpenOptions::new().write(true).open(&temporary)?;
            sink.lock()?;
            Ok(sink)
        };
        let sink = open().map_err(|source| io_error("write", file, source))?;
        Ok(Self { temporary, sink, is_delivered: false })
    }

    /// Rename the synced file to its destination, which must not exist.
    fn deliver(mut self, file: &Path) -> Result<(), FileError> {
        files::place_new(&self.temporary, file)?;
        self.is_delivered = true;
        files::sync_directory(files::parent(file))
    }
}

impl Drop for EncryptedFile {
    fn drop(&mut self) {
        if !self.is_delivered {
            // What remains is encrypted, and the next backup of this name removes it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Take a snapshot that matches the CRL on disk, and return that CRL.
fn settled_snapshot(cluster: &Cluster, snapshot: &Path) -> Result<Vec<u8>, BackupError> {
    for _ in 0..TRIES {
        if let Some(crl) = snapshot_with_crl(cluster, snapshot)? {
            return Ok(crl);
        }
    }
    let _lock = cluster.home.lock(&*cluster.context.clock)?;
    match snapshot_with_crl(cluster, snapshot)? {
        Some(crl) => Ok(crl),
        None => Err(BackupError::CrlDiffers { path: cluster.home.crl() }),
    }
}

fn snapshot_with_crl(cluster: &Cluster, snapshot: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    if files::occupied(snapshot) {
        fs::remove_file(snapshot).map_err(|source| io_error("remove", snapshot, source))?;
    }
    cluster.inventory.snapshot(snapshot)?;
    let crl = files::read(&cluster.home.crl(), files::CRL_FILE)?;
    let published = pem::blocks_of(pem::ObjectKind::Crl, &crl)?.first().map(|block| Sha256::of(block.der()));
    let issuer = Inventory::open_reader(snapshot)?.active_issuer()?;
    // A CRL that is reserved but not published is published when the restored home is opened.
    let settled = issuer.owes_crl() || issuer.crl.map(|crl| crl.sha256) == published;
    Ok(settled.then_some(crl))
}

fn manifest(snapshot: &Inventory, context: &Context) -> Result<Manifest, BackupError> {
    let (facts, head) = (snapshot.cluster()?, snapshot.audit_head()?);
    let counts = snapshot.counts(context.now())?;
    Ok(Manifest {
        format: FORMAT,
        cluster: facts.name.to_string(),
        uuid: facts.uuid,
        made_at: context.now(),
        crl_number: snapshot.active_issuer()?.crl.map(|crl| crl.number).unwrap_or_default(),
        certificates: counts.valid + counts.expired + counts.revoked,
        audit_head: (head.seq, head.hash.to_string()),
    })
}

/// Writer of the archive, with the names of the parts written so far.
struct Writer<'a, W: Write> {
    /// Destination, for errors.
    target: &'a Path,
    tar: &'a mut tar::Builder<W>,
    manifest: &'a Manifest,
    files: Vec<String>,
}

impl<W: Write> Writer<'_, W> {
    fn write_all(
        mut self,
        cluster: &Cluster,
        snapshot: &Path,
        crl: &[u8],
        with_issued: bool,
    ) -> Result<Vec<String>, BackupError> {
        let home = &cluster.home;
        let text =
            serde_json::to_vec(self.manifest).map_err(|error| io_error("write", snapshot, error.into()))?;
        self.write_bytes(&Part::Manifest, &text)?;
        self.write_file(&Part::Database, snapshot)?;
        // The key file is required, unless the configuration names the service that holds the key.
        if cluster.remote_signer()?.is_none() {
            self.write_bytes(&Part::Key, files::read_private(&home.key())?.expose())?;
        }
        self.write_bytes(&Part::Certificate, &files::read(&home.certificate(), files::SMALL_FILE)?)?;
        self.write_bytes(&Part::Crl, crl)?;
        self.write_directory(home.directory(), Part::Settings)?;
        if with_issued {
            // The lock keeps certificates and keys from being replaced, so that pairs match.
            let _lock = home.lock(&*cluster.context.clock)?;
            self.write_directory(&home.issued(), Part::Issued)?;
        }
        Ok(self.files)
    }

    /// Write the files of a directory that are parts of the kind given by `part`.
    fn write_directory(&mut self, directory: &Path, part: fn(String) -> Part) -> Result<(), BackupError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            // `issued/` does not exist if all certificates were written to other directories.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let entries = entries.map_err(|source| io_error("read", directory, source))?;
        let mut names: Vec<String> = entries
            .into_iter()
            // Follows symbolic links, so that settings stored elsewhere are included.
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        for name in names {
            let part = part(name.clone());
            if Part::of_name(&part.name()).as_ref() == Some(&part) {
                // May be a private key, so the buffer is zeroized on drop.
                let contents = Secret::new(files::read(&directory.join(name), files::SMALL_FILE)?);
                self.write_bytes(&part, contents.expose())?;
            }
        }
        Ok(())
    }

    fn write_file(&mut self, part: &Part, path: &Path) -> Result<(), BackupError> {
        let file = File::open(path).map_err(|source| io_error("read", path, source))?;
        let size = file.metadata().map_err(|source| io_error("read", path, source))?.len();
        self.write(part, size, file)
    }

    fn write_bytes(&mut self, part: &Part, bytes: &[u8]) -> Result<(), BackupError> {
        self.write(part, u64::try_from(bytes.len()).unwrap_or(u64::MAX), bytes)
    }

    fn write(&mut self, part: &Part, size: u64, contents: impl Read) -> Result<(), BackupError> {
        let name = part.name();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if part.access() == Access::Private { 0o600 } else { 0o644 });
        header.set_mtime(u64::try_from(self.manifest.made_at.unix_timestamp()).unwrap_or_default());
        header.set_size(size);
        self.tar
            .append_data(&mut header, &name, contents)
            .map_err(|source| io_error("write", self.target, source))?;
        self.files.push(name);
        Ok(())
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> BackupError {
    FileError::Io { doing, path: path.to_owned(), source }.into()
}
