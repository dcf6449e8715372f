//! Reading and verification of a backup.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::error::BackupError;
use super::manifest::{FORMAT, Manifest};
use super::part::Part;
use crate::age_stream::{AgeError, Decryptor};
use crate::ca::context::Context;
use crate::files::{self, FileError};
use crate::keys::kms::Configuration;
use crate::keys::{KeyError, KeyFile, PrivateKey};
use crate::revocation::Crl;
use crate::secret::Secret;
use crate::store::Inventory;
use crate::x509::crl::CrlNumber;
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, Sha256, pem};

/// Contents of a backup that was read to its end, not verified yet.
pub(super) struct Unpacked {
    manifest: Manifest,
    key: Option<Secret>,
    bundle: Vec<u8>,
    crl: Vec<u8>,
    database: PathBuf,
}

/// A backup with consistent parts.
pub(super) struct VerifiedBackup {
    pub(super) manifest: Manifest,
    /// The root key as stored. `None` if a service holds it.
    pub(super) key: Option<Secret>,
    pub(super) bundle: Vec<u8>,
    pub(super) crl: Vec<u8>,
    /// Highest number in `crl`.
    pub(super) crl_number: CrlNumber,
    /// The inventory, unpacked to a temporary directory.
    pub(super) inventory: Inventory,
    /// Trust bundle, validated as of the backup's creation.
    pub(super) trust: TrustBundle,
}

/// Read a backup to its end. Write the inventory to `ca.db` in `directory`, and pass settings and
/// issued files to `others`. The rest, in particular the root key, stays in memory.
pub(super) fn unpack(
    file: &Path,
    passphrase: &Secret,
    directory: &Path,
    mut others: impl FnMut(Part, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Unpacked, BackupError> {
    let source =
        File::open(file).map_err(|source| FileError::Io { doing: "read", path: file.to_owned(), source })?;
    let mut stream = Decryptor::new(source, passphrase)?;
    let (mut manifest, mut key, mut bundle, mut crl) = (None, None, None, None);
    let database = directory.join(Part::Database.name());
    let mut names_signer = false;
    let mut seen = HashSet::new();
    let mut archive = tar::Archive::new(&mut stream);
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
            // The manifest states the format of the parts that follow.
            _ if manifest.is_none() => return Err(BackupError::MissingPart { name: Part::Manifest.name() }),
            Part::Key => key = Some(Secret::new(read(&mut entry, files::SMALL_FILE)?)),
            Part::Certificate => bundle = Some(read(&mut entry, files::SMALL_FILE)?),
            Part::Crl => crl = Some(read(&mut entry, files::CRL_FILE)?),
            Part::Database => write_database(&mut entry, &database)?,
            part if part == Part::kms() => {
                let contents = Secret::new(read(&mut entry, files::SMALL_FILE)?);
                names_signer = Configuration::parse(&contents).is_ok_and(|kms| kms.signer.is_some());
                others(part, &mut contents.expose())?;
            }
            part => others(part, &mut entry)?,
        }
    }
    // Only reading to the end of the file proves that the file is complete.
    io::copy(&mut stream, &mut io::sink()).map_err(unreadable)?;
    let missing = |part: Part| BackupError::MissingPart { name: part.name() };
    if !seen.contains(&Part::Database) {
        return Err(missing(Part::Database));
    }
    // A root key held by a service is not in the backup, but the configuration must name that service.
    if key.is_none() && !names_signer {
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
    /// Refuse a backup whose parts contradict each other.
    pub(super) fn verify(self, context: &Context) -> Result<VerifiedBackup, BackupError> {
        let inconsistent = |why| BackupError::Inconsistent { why };
        // Only this copy is migrated; a backup of an older version stays as it is.
        let inventory = Inventory::open_writer(&self.database, &context.provenance(None))?;
        let head = inventory.check_against_audit()?;
        let head = inventory.head_before_migration().unwrap_or(head);
        let facts = inventory.cluster()?;
        if facts.uuid != self.manifest.uuid || self.manifest.audit_head != (head.seq, head.hash.to_string()) {
            return Err(inconsistent("the inventory does not match the manifest"));
        }
        let root = inventory.active_issuer()?.certificate;
        let trust = TrustBundle::from_pem(&self.bundle, self.manifest.made_at)?;
        if trust.anchors().iter().all(|anchor| anchor.certificate != root) {
            return Err(inconsistent("the active root is not in the trust bundle"));
        }
        if let Some(key) = &self.key
            && !is_key_of(key, &root)?
        {
            return Err(inconsistent("the key does not match the root"));
        }
        let mut crl_number = CrlNumber::from(0);
        for block in pem::blocks_of(pem::ObjectKind::Crl, &self.crl)? {
            crl_number = crl_number.max(Crl::verify(block.der(), &trust, self.manifest.made_at)?.number);
        }
        let Self { manifest, key, bundle, crl, .. } = self;
        Ok(VerifiedBackup { manifest, key, bundle, crl, crl_number, inventory, trust })
    }
}

/// True if the key belongs to the certificate, as far as its protection permits a check.
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
    let malformed = |_| BackupError::Inconsistent { why: "the manifest cannot be read" };
    let Version { format } = serde_json::from_slice(&text).map_err(malformed)?;
    if format != FORMAT {
        return Err(BackupError::Format { found: format, known: FORMAT });
    }
    serde_json::from_slice(&text).map_err(malformed)
}

/// Read a settings or issued file. It may be a key, so the buffer is zeroized on drop.
pub(super) fn read_small(mut contents: &mut dyn Read) -> Result<Secret, BackupError> {
    read(&mut contents, files::SMALL_FILE).map(Secret::new)
}

fn read(entry: &mut impl Read, limit: u64) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(BackupError::Inconsistent { why: "a part exceeds its size limit" })
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

/// Distinguish altered contents from read errors.
fn unreadable(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => AgeError::Altered.into(),
        _ => BackupError::Unreadable { source: error },
    }
}
