//! What can go wrong with the inventory, and SQLite's errors in those words.

use std::error::Error;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use time::OffsetDateTime;

use crate::audit::BrokenChain;
use crate::clock::rfc3339;
use crate::files::FileError;
use crate::revocation::RevocationReason;
use crate::x509::{KeyIdentifier, SerialNumber};

/// Why the inventory refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The certificate was revoked before.
    #[error("certificate {serial_number} was revoked on {}", rfc3339(*at))]
    AlreadyRevoked {
        /// The certificate's serial number.
        serial_number: SerialNumber,
        /// When it was revoked.
        at: OffsetDateTime,
        /// Why.
        reason: RevocationReason,
    },
    /// The audit chain does not hold.
    #[error(transparent)]
    Audit(#[from] BrokenChain),
    /// Another process holds the database for longer than we wait.
    #[error("another process is using the inventory")]
    Busy {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// A row says what no row of this program says.
    #[error("the inventory is damaged: row {row} of `{table}` has an impossible `{column}`")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Its row.
        row: i64,
        /// The column.
        column: String,
        /// The rule it breaks.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The number was not reserved for this issuer, or a CRL of it or a later one is there already.
    #[error("CRL number {number} is not one that may be published now")]
    CrlNumber {
        /// The number.
        number: u64,
    },
    /// The file is no longer what SQLite wrote.
    #[error("the inventory's file is damaged")]
    Damaged {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// SQLite failed in a way that has no word of its own here.
    #[error("the inventory failed")]
    Database {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// There is no room for the change; nothing of it was kept.
    #[error("there is no space left for the inventory")]
    DiskFull {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The issuer has used this serial number before.
    #[error("serial number {serial_number} is in use already")]
    DuplicateSerial {
        /// The serial number.
        serial_number: SerialNumber,
    },
    /// The file could not be made or found.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is a file of another program.
    #[error("{} is not an inventory of this program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The making of the file was interrupted; there is nothing in it.
    #[error("{} is empty: the making of the inventory was interrupted", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// The rows are not what the audit chain says they are.
    #[error("{target} was changed outside this program: audit entry {entry} says otherwise")]
    Inconsistent {
        /// The cluster, an issuer, or a certificate by issuer and serial number, as the entry names it.
        target: String,
        /// The entry that the inventory contradicts.
        entry: u64,
    },
    /// There is no inventory.
    #[error("there is no inventory at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error("{} has format {found}; this version knows formats up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: i32,
        /// The newest format known.
        known: i32,
    },
    /// No issuer signs now.
    #[error("the inventory has no active issuer")]
    NoActiveIssuer,
    /// No private key of the certificate is kept here.
    #[error("no private key is kept for certificate {serial_number}")]
    NoKey {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// The issuer's certificate names no key.
    #[error("the issuer's certificate has no subject key identifier")]
    NoKeyIdentifier,
    /// The serial number is only reserved: there is no certificate.
    #[error("no certificate was issued under the reserved serial number {serial_number}")]
    NotIssued {
        /// The serial number.
        serial_number: SerialNumber,
    },
    /// It is not on hold, so that nothing can be released.
    #[error("certificate {serial_number} is not on hold")]
    NotOnHold {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// A certificate was issued under this serial number before.
    #[error("a certificate was already issued under serial number {serial_number}")]
    NotReserved {
        /// The serial number.
        serial_number: SerialNumber,
    },
    /// Nothing can take its place: it was never issued, is revoked, or something took its place already.
    #[error("certificate {serial_number} is not one that can be superseded")]
    NotSupersedable {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// An older version of this program wrote it; opened for writing, it is brought up to date.
    #[error("{} was written by an older version", path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written to, or not be read without writing.
    #[error("the inventory cannot be written to")]
    ReadOnly {
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// Rows say they were issued or revoked, and no audit entry tells of it.
    #[error("{certificates} certificates or revocations are recorded that no audit entry tells of")]
    Unaccounted {
        /// How many.
        certificates: u64,
    },
    /// A CRL is recorded that no audit entry tells of.
    #[error("CRL {number} of {issuer} is recorded, and no audit entry tells of it")]
    UnaccountedCrl {
        /// The key identifier of its issuer.
        issuer: String,
        /// Its number.
        number: u64,
    },
    /// Not the word for a status.
    #[error("`{given}` is not a status: the statuses are reserved, valid, expired and revoked")]
    Status {
        /// What was given.
        given: String,
    },
    /// No such issuer is recorded.
    #[error("the issuer with key identifier {key_id} is not in the inventory")]
    UnknownIssuer {
        /// Its key identifier.
        key_id: KeyIdentifier,
    },
    /// The issuer has no certificate with this serial number, and none reserved.
    #[error("there is no certificate with serial number {serial_number}")]
    UnknownSerial {
        /// The serial number.
        serial_number: SerialNumber,
    },
}

impl StoreError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyRevoked { .. } => "store.already_revoked",
            Self::Audit(broken) => broken.code(),
            Self::Busy { .. } => "store.busy",
            Self::Corrupt { .. } | Self::Damaged { .. } => "store.corrupt",
            Self::CrlNumber { .. } => "store.crl_number",
            Self::Database { .. } => "store.database",
            Self::DiskFull { .. } => "store.disk_full",
            Self::DuplicateSerial { .. } => "store.duplicate_serial",
            Self::File(error) => error.code(),
            Self::Foreign { .. } => "store.foreign",
            Self::Incomplete { .. } => "store.incomplete",
            Self::Inconsistent { .. } | Self::Unaccounted { .. } | Self::UnaccountedCrl { .. } => {
                "store.inconsistent"
            }
            Self::Missing { .. } => "store.missing",
            Self::Newer { .. } => "store.newer",
            Self::NoActiveIssuer => "store.no_active_issuer",
            Self::NoKey { .. } => "store.no_key",
            Self::NoKeyIdentifier => "store.no_key_identifier",
            Self::NotIssued { .. } => "store.not_issued",
            Self::NotOnHold { .. } => "store.not_on_hold",
            Self::NotReserved { .. } => "store.not_reserved",
            Self::NotSupersedable { .. } => "store.not_supersedable",
            Self::Older { .. } => "store.older",
            Self::ReadOnly { .. } => "store.read_only",
            Self::Status { .. } => "input.status",
            Self::UnknownIssuer { .. } => "store.unknown_issuer",
            Self::UnknownSerial { .. } => "store.unknown_serial",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        /// Room for the index of the write-ahead log ran out: SQLite calls it an I/O error.
        const NO_ROOM_FOR_LOG_INDEX: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        let extended = source.sqlite_error().map(|error| error.extended_code);
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { source },
            Some(ErrorCode::DiskFull) => Self::DiskFull { source },
            Some(ErrorCode::SystemIoFailure) if extended == Some(NO_ROOM_FOR_LOG_INDEX) => {
                Self::DiskFull { source }
            }
            // A log that cannot be opened or made, though the database could: the directory is read-only.
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::ReadOnly { source },
            _ => Self::Database { source },
        }
    }
}
