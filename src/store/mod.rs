//! The inventory: every issuer, certificate and revocation of the cluster, and the audit chain.
//!
//! It is one SQLite file and speaks in domain words; no SQL gets out. What is read goes through the
//! domain's own types, so that a row changed behind our back is an error and not a belief.
//!
//! Changes are made in a [`Transaction`], whose every step appends the audit entry that tells of it.
//! A certificate is *reserved* before it is signed, *issued* once it is recorded, *placed* once its
//! files are where they belong; a crash in between is seen by [`Inventory::reserved`] and
//! [`Inventory::unplaced`]. Who may write is decided elsewhere, by the lock on the home.

mod check;
mod error;
mod query;
mod row;
mod schema;
mod transaction;

pub use error::StoreError;
pub use query::{Filter, RevokedCertificate};
pub use transaction::Transaction;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::Provenance;
use crate::files::{self, FileError};
use crate::identity::{ClusterName, Name, Role, TrustDomain};
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// The cluster that the inventory is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name, also the common name of its root.
    pub name: ClusterName,
    /// Its UUID, in every subject.
    pub uuid: Uuid,
    /// Its trust domain, in every SPIFFE ID.
    pub trust_domain: TrustDomain,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// One key that signs certificates and CRLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The subject key identifier of its certificate: its name everywhere.
    pub key_id: KeyIdentifier,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its place in a rotation.
    pub state: IssuerState,
    /// The number that its next CRL will have.
    pub next_crl_number: u64,
    /// The CRL in force; `None` before the first one.
    pub crl: Option<CurrentCrl>,
}

impl Issuer {
    /// Whether a CRL number was set aside and no CRL recorded under it: a process ended in between,
    /// and the file may lack what the inventory knows.
    #[must_use]
    pub fn owes_crl(&self) -> bool {
        self.crl.is_none_or(|crl| crl.number + 1 < self.next_crl_number)
    }
}

/// An issuer's place in a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerState {
    /// Trusted already, signs nothing yet.
    Staged,
    /// Signs what is issued now.
    Active,
    /// Signs CRLs only, until its last certificate has expired.
    Retired,
}

impl IssuerState {
    /// Every state, in the order of a rotation.
    pub const ALL: [Self; 3] = [Self::Staged, Self::Active, Self::Retired];

    /// The word for it in the inventory, on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for IssuerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of an issuer's newest CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentCrl {
    /// Its CRL number (RFC 5280, section 5.2.3).
    pub number: u64,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// When it must be replaced.
    pub next_update: OffsetDateTime,
    /// SHA-256 of its DER.
    pub sha256: Sha256,
}

/// What names a certificate everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// The key that signed it.
    pub issuer: KeyIdentifier,
    /// Its serial number among that key's.
    pub serial_number: SerialNumber,
}

/// As the audit chain writes it.
impl std::fmt::Display for CertificateId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.issuer, self.serial_number)
    }
}

/// A certificate about to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The serial number that it will have.
    pub serial_number: SerialNumber,
    /// The role it is for.
    pub role: Role,
    /// The name it is for.
    pub name: Name,
    /// SHA-256 of the profile that rules it.
    pub profile: Sha256,
    /// Where its file will be.
    pub certificate_path: PathBuf,
    /// Where its key's file will be; `None` when the key stays with whoever asked, or was forgotten.
    pub key_path: Option<PathBuf>,
    /// The certificate that it takes the place of; `None` for the first of an identity.
    pub supersedes: Option<CertificateId>,
}

/// One certificate, from the reservation of its serial number on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key that signs it.
    pub issuer: KeyIdentifier,
    /// What was intended.
    pub intent: Intent,
    /// When its serial number was reserved.
    pub reserved_at: OffsetDateTime,
    /// The audit entry of the reservation.
    pub reserve_entry: u64,
    /// The certificate; `None` while it is only reserved.
    pub issue: Option<Issue>,
    /// Its revocation; `None` unless it is revoked or on hold.
    pub revocation: Option<Revocation>,
    /// The audit entry that told of its release; `None` unless it was on hold and is no more.
    pub release_entry: Option<u64>,
    /// The certificate that took its place; `None` while it is the newest of its line.
    pub superseded_by: Option<CertificateId>,
    /// The audit entry of the removal of its private key; `None` unless that was made here and removed.
    pub key_forgotten: Option<u64>,
}

impl Record {
    /// What names it.
    #[must_use]
    pub fn id(&self) -> CertificateId {
        CertificateId { issuer: self.issuer.clone(), serial_number: self.intent.serial_number }
    }

    /// Whether it is revoked for the time being only.
    #[must_use]
    pub fn is_on_hold(&self) -> bool {
        self.revocation.is_some_and(|revocation| revocation.reason == RevocationReason::CertificateHold)
    }

    /// What it is at `now`. One that is not valid yet counts as valid.
    #[must_use]
    pub fn status(&self, now: OffsetDateTime) -> Status {
        match (&self.issue, &self.revocation) {
            (_, Some(_)) => Status::Revoked,
            (None, None) => Status::Reserved,
            (Some(issue), None) if issue.not_after < now => Status::Expired,
            (Some(_), None) => Status::Valid,
        }
    }
}

/// What is known of a certificate once it is signed; the certificate itself is read by
/// [`Inventory::certificate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The first second in which it holds.
    pub not_before: OffsetDateTime,
    /// The last second in which it holds.
    pub not_after: OffsetDateTime,
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key: Sha256,
    /// Whether its files are known to be in their places, or known to be lost.
    pub placed: bool,
    /// The audit entry that tells of it.
    pub entry: u64,
}

/// The end of a certificate before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Since when; a hold that became a revocation counts from the hold.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: RevocationReason,
    /// The audit entry that tells of it.
    pub entry: u64,
}

/// What a certificate is at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Its serial number is set aside; it was never recorded as signed.
    Reserved,
    /// Issued, neither expired nor revoked.
    Valid,
    /// Past its last second, and not revoked.
    Expired,
    /// Revoked, expired since or not.
    Revoked,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Reserved, Self::Valid, Self::Expired, Self::Revoked];

    /// The word for it on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StoreError::Status { given: text.escape_debug().take(80).collect() })
    }
}

impl serde::Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many certificates there are of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reserved ones.
    pub reserved: u64,
    /// Valid ones.
    pub valid: u64,
    /// Expired ones.
    pub expired: u64,
    /// Revoked ones.
    pub revoked: u64,
}

/// The CA's inventory, open for reading or for writing.
#[derive(Debug)]
pub struct Inventory {
    sql: Connection,
}

/// How long to wait for another process before [`StoreError::Busy`].
const PATIENCE: Duration = Duration::from_secs(10);

impl Inventory {
    /// Makes the inventory of a new cluster with its first issuer, and the chain's first entry.
    ///
    /// # Errors
    /// [`StoreError`], above all when something has the name already; nothing is left behind.
    pub fn create(
        path: &Path,
        cluster: &Cluster,
        root: &Certificate,
        provenance: &Provenance,
    ) -> Result<Self, StoreError> {
        // SQLite would make it as open as the umask says; its other files take their mode from it.
        files::create_private(path)?;
        Self::fill(path, cluster, root, provenance).inspect_err(|_| {
            // Best effort: what stays is an empty file, which is told from an inventory.
            let _ = fs::remove_file(path);
        })
    }

    fn fill(
        path: &Path,
        cluster: &Cluster,
        root: &Certificate,
        provenance: &Provenance,
    ) -> Result<Self, StoreError> {
        let mut sql = connect(&resolve(path)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::migrate(&transaction)?;
        Transaction::new(transaction, provenance)?.initialize(cluster, root)?.commit()?;
        prepare_for_writing(&sql)?;
        Ok(Self { sql })
    }

    /// Opens the inventory for writing, and brings an older one up to date.
    ///
    /// # Errors
    /// [`StoreError`]: missing, another program's, a newer version's, damaged or read-only.
    pub fn open_writer(path: &Path) -> Result<Self, StoreError> {
        let mut sql = connect(&resolve(path)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if !schema::is_current(&sql, path)? {
            let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::migrate(&transaction)?;
            transaction.commit()?;
        }
        prepare_for_writing(&sql)?;
        Ok(Self { sql })
    }

    /// Opens the inventory for reading: no writer is waited for or kept waiting, and a read-only
    /// file system will do.
    ///
    /// # Errors
    /// [`StoreError`]: missing, another program's, another version's or damaged.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let resolved = resolve(path)?;
        match Self::read(&resolved, OpenFlags::SQLITE_OPEN_READ_ONLY, path) {
            // Even readers share the log's index, which is a file that they make when it is missing.
            Err(StoreError::ReadOnly { .. }) if log_is_empty(&resolved) => {
                Self::read_immutable(&resolved, path)
            }
            other => other,
        }
    }

    /// Reads a database that nobody can be changing, without any file beside it.
    fn read_immutable(resolved: &Path, path: &Path) -> Result<Self, StoreError> {
        let mut uri = b"file:".to_vec();
        for byte in resolved.as_os_str().as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => uri.push(*byte),
                other => uri.extend(format!("%{other:02x}").into_bytes()),
            }
        }
        uri.extend(b"?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Self::read(Path::new(&OsString::from_vec(uri)), flags, path)
    }

    fn read(target: &Path, flags: OpenFlags, path: &Path) -> Result<Self, StoreError> {
        let sql = connect(target, flags)?;
        if schema::is_current(&sql, path)? {
            Ok(Self { sql })
        } else {
            Err(StoreError::Older { path: path.to_owned() })
        }
    }

    /// Begins a change; `provenance` stands in every audit entry of it. Dropped, it never happened.
    ///
    /// # Errors
    /// [`StoreError`], above all when the inventory was opened for reading.
    pub fn begin(&mut self, provenance: &Provenance) -> Result<Transaction<'_>, StoreError> {
        self.sql.pragma_update(None, "synchronous", "FULL")?;
        Transaction::new(self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?, provenance)
    }

    /// Notes that the files of these certificates are in their places.
    ///
    /// It is not made durable at once and has no audit entry: should it be lost, the files are put in
    /// their places again.
    ///
    /// # Errors
    /// [`StoreError`], above all [`StoreError::NotIssued`] and [`StoreError::UnknownSerial`].
    pub fn mark_placed(&mut self, issuer: &KeyIdentifier, placed: &[SerialNumber]) -> Result<(), StoreError> {
        self.sql.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction::mark_placed(&transaction, issuer, placed)?;
        Ok(transaction.commit()?)
    }
}

/// The file as an absolute path without links: SQLite reads some relative names as something else.
fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
        _ => FileError::Io { doing: "open", path: path.to_owned(), source }.into(),
    })
}

fn connect(target: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let sql = Connection::open_with_flags(target, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    sql.busy_timeout(PATIENCE)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // One plan a statement, whatever its values: else SQLite plans many of them anew for each use.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.execute_batch("PRAGMA cell_size_check = ON")?;
    sql.set_prepared_statement_cache_capacity(32);
    Ok(sql)
}

/// Readers see the last commit while the next one goes to the log, which is taken into the database
/// when it has grown to 32 MiB and when the last process closes it. The cache is sized for the indexes
/// of a million certificates, where serial numbers and node names fall at random.
fn prepare_for_writing(sql: &Connection) -> Result<(), StoreError> {
    Ok(sql.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -131072;",
    )?)
}

fn log_is_empty(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(true, |metadata| metadata.len() == 0)
}

#[cfg(test)]
mod tests;
