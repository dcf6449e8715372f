//! Opening a backup: every part read to the end, then judged as a whole.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::error::BackupError;
use super::manifest::{FORMAT, Manifest};
use super::part::Part;
use crate::files::{self, FileError};
use crate::keys::{KeyError, KeyFile, PrivateKey};
use crate::revocation::Crl;
use crate::sealed::{Opener, SealError};
use crate::secret::Secret;
use crate::store::Inventory;
use crate::x509::crl::CrlNumber;
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, Sha256, pem};

/// What was in a backup whose end was reached. Nothing more is known of it.
pub(super) struct Unpacked {
    manifest: Manifest,
    key: Option<Secret>,
    bundle: Vec<u8>,
    crl: Vec<u8>,
    database: PathBuf,
}

/// A backup whose parts belong together.
pub(super) struct VerifiedBackup {
    pub(super) manifest: Manifest,
    /// The root's key as it was kept; none when a service holds it.
    pub(super) key: Option<Secret>,
    pub(super) bundle: Vec<u8>,
    pub(super) crl: Vec<u8>,
    /// The number of that list.
    pub(super) crl_number: CrlNumber,
    /// The inventory, in the directory that it was unpacked to.
    pub(super) inventory: Inventory,
    /// The roots that are trusted, as of when the backup was made.
    pub(super) trust: TrustBundle,
}

/// Reads a backup to its end. The inventory goes to `ca.db` in `directory`, settings and issued pairs to
/// `others`, the rest is held in memory: the root's key is not written anywhere.
pub(super) fn unpack(
    file: &Path,
    passphrase: &Secret,
    directory: &Path,
    mut others: impl FnMut(Part, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Unpacked, BackupError> {
    let source =
        File::open(file).map_err(|source| FileError::Io { doing: "read", path: file.to_owned(), source })?;
    let mut sealed = Opener::new(source, passphrase)?;
    let (mut manifest, mut key, mut bundle, mut crl) = (None, None, None, None);
    let database = directory.join(Part::Database.name());
    let mut seen = HashSet::new();
    let mut archive = tar::Archive::new(&mut sealed);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.to_string_lossy().into_owned();
        let part = Part::of_name(&name).filter(|_| entry.header().entry_type() == EntryType::Regular);
        let Some(part) = part else { return Err(BackupError::UnknownPart { name }) };
        if !seen.insert(part.clone()) {
            return Err(BackupError::UnknownPart { name });
        }
        match part {
            Part::Manifest => manifest = Some(read_manifest(&mut entry)?),
            // The first part says whether the others can be understood.
            _ if manifest.is_none() => return Err(BackupError::MissingPart { name: Part::Manifest.name() }),
            Part::Key => key = Some(Secret::new(read(&mut entry, files::SMALL_FILE)?)),
            Part::Certificate => bundle = Some(read(&mut entry, files::SMALL_FILE)?),
            Part::Crl => crl = Some(read(&mut entry, files::CRL_FILE)?),
            Part::Database => write_database(&mut entry, &database)?,
            part => others(part, &mut entry)?,
        }
    }
    // What comes after the archive counts too: only at the end is it known that nothing was cut.
    io::copy(&mut sealed, &mut io::sink()).map_err(unreadable)?;
    let missing = |part: Part| BackupError::MissingPart { name: part.name() };
    if !seen.contains(&Part::Database) {
        return Err(missing(Part::Database));
    }
    // A key that a service holds never leaves it; then its configuration says where it is.
    if key.is_none() && !seen.contains(&Part::kms()) {
        return Err(missing(Part::Key));
    }
    Ok(Unpacked {
        manifest: manifest.ok_or_else(|| missing(Part::Manifest))?,
        key,
        bundle: bundle.ok_or_else(|| missing(Part::Certificate))?,
        crl: crl.ok_or_else(|| missing(Part::Crl))?,
        database,
    })
}

impl Unpacked {
    /// Refuses a backup whose parts contradict each other.
    pub(super) fn judge(self) -> Result<VerifiedBackup, BackupError> {
        let unfit = |why| BackupError::Inconsistent { why };
        let inventory = Inventory::open_writer(&self.database)?;
        let head = inventory.check_against_audit()?;
        let facts = inventory.cluster()?;
        if facts.uuid != self.manifest.uuid || self.manifest.audit_head != (head.seq, head.hash.to_string()) {
            return Err(unfit("its inventory is not the one that it says it has"));
        }
        let root = inventory.active_issuer()?.certificate;
        let trust = TrustBundle::from_pem(&self.bundle, self.manifest.made_at)?;
        if trust.anchors().iter().all(|anchor| anchor.certificate != root) {
            return Err(unfit("the root that signs is not in its trust bundle"));
        }
        if let Some(key) = &self.key
            && !is_key_of(key, &root)?
        {
            return Err(unfit("its key is not the root's"));
        }
        let mut crl_number = CrlNumber::from(0);
        for block in pem::blocks_of(pem::ObjectKind::Crl, &self.crl)? {
            crl_number = crl_number.max(Crl::verify(block.der(), &trust, self.manifest.made_at)?.number);
        }
        let Self { manifest, key, bundle, crl, .. } = self;
        Ok(VerifiedBackup { manifest, key, bundle, crl, crl_number, inventory, trust })
    }
}

/// Whether it is the certificate's key, as far as can be told without what protects it.
pub(super) fn is_key_of(key: &Secret, certificate: &Certificate) -> Result<bool, KeyError> {
    Ok(match KeyFile::parse(Secret::new(key.expose().to_vec()))? {
        KeyFile::Plain(pem) => PrivateKey::from_pem(&pem)?.public_key_info() == certificate.public_key_info,
        KeyFile::Envelope(envelope) => *envelope.key_id() == Sha256::of(&certificate.public_key_info),
        KeyFile::Passphrase(_) => true,
    })
}

fn read_manifest(entry: &mut impl Read) -> Result<Manifest, BackupError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let text = read(entry, files::SMALL_FILE)?;
    let malformed = |_| BackupError::Inconsistent { why: "its manifest cannot be read" };
    let Version { format } = serde_json::from_slice(&text).map_err(malformed)?;
    if format != FORMAT {
        return Err(BackupError::Format { found: format, known: FORMAT });
    }
    serde_json::from_slice(&text).map_err(malformed)
}

/// A settings or issued file. It may be a key: its bytes are zeroized when they are dropped.
pub(super) fn read_small(mut contents: &mut dyn Read) -> Result<Secret, BackupError> {
    read(&mut contents, files::SMALL_FILE).map(Secret::new)
}

fn read(entry: &mut impl Read, limit: u64) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(BackupError::Inconsistent { why: "one of its parts is larger than such a file may be" })
    }
}

fn write_database(entry: &mut impl Read, path: &Path) -> Result<(), BackupError> {
    files::create_private(path)?;
    let failed = |source| FileError::Io { doing: "write", path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    io::copy(entry, &mut file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => unreadable(error),
        _ => failed(error).into(),
    })?;
    Ok(())
}

/// An error of reading is one of the seal, or of the tar in it.
fn unreadable(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => SealError::Altered.into(),
        _ => BackupError::Unreadable { source: error },
    }
}
