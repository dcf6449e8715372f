//! Errors of the inventory, translated from SQLite's.

use std::error::Error;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use time::OffsetDateTime;

use crate::audit::BrokenChain;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::revocation::RevocationReason;
use crate::x509::{KeyIdentifier, SerialNumber};

/// A refused change of the inventory, or a failure of its database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The certificate was revoked before.
    #[error("certificate {serial_number} was revoked on {}", rfc3339(*at))]
    AlreadyRevoked {
        /// The certificate's serial number.
        serial_number: SerialNumber,
        /// Revocation date.
        at: OffsetDateTime,
        /// Reason code.
        reason: RevocationReason,
    },
    /// The audit chain is broken.
    #[error(transparent)]
    Audit(#[from] BrokenChain),
    /// Another process held the database's lock for longer than the timeout.
    #[error("another process is using the inventory")]
    Busy {
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A row holds a value that this program never writes.
    #[error("the inventory is damaged: row {row} of `{table}` has an invalid `{column}`")]
    Corrupt {
        /// SQL name of the table.
        table: &'static str,
        /// `rowid` of SQLite.
        row: i64,
        /// SQL name of the column, or an expression over several.
        column: String,
        /// The violated rule.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The number was not reserved for this issuer, or this CRL or a later one is recorded.
    #[error("CRL number {number} was not reserved, or a CRL with it or a later one is recorded")]
    CrlNumber {
        /// CRL number to be recorded.
        number: u64,
    },
    /// The file is not what SQLite wrote.
    #[error("the inventory file is damaged")]
    Damaged {
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Any other SQLite error.
    #[error("the inventory database failed")]
    Database {
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The disk is full; nothing was changed.
    #[error("no space is left for the inventory")]
    DiskFull {
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The issuer has used this serial number before.
    #[error("serial number {serial_number} is already in use")]
    DuplicateSerial {
        /// Number drawn for the new certificate.
        serial_number: SerialNumber,
    },
    /// The file could not be created or opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of another program.
    #[error("{} is not an inventory of this program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is empty: its creation was interrupted.
    #[error("{} is empty: the creation of the inventory was interrupted", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// A row differs from the audit chain.
    #[error("{target} was changed by another program: it contradicts audit entry {entry}")]
    Inconsistent {
        /// The entry's target: the cluster, an issuer, or a certificate by issuer and serial number.
        target: String,
        /// Sequence number of the entry.
        entry: u64,
    },
    /// An index lacks rows of its table, or the other way round.
    #[error("the indexes of the inventory differ from its rows: {found}")]
    Indexes {
        /// SQLite's finding.
        found: String,
    },
    /// The inventory does not exist.
    #[error("there is no inventory at {}", path.display())]
    Missing {
        /// The expected file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error("{} has format {found}; this version knows formats up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The newest known format.
        known: i32,
    },
    /// No issuer is active.
    #[error("the inventory has no active issuer")]
    NoActiveIssuer,
    /// The certificate's private key is not kept here.
    #[error("no private key is kept for certificate {serial_number}")]
    NoKey {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// The issuer certificate lacks the extension.
    #[error("the issuer's certificate has no subject key identifier")]
    NoKeyIdentifier,
    /// The serial number is reserved, but no certificate was issued.
    #[error("no certificate was issued under the reserved serial number {serial_number}")]
    NotIssued {
        /// Number of the reservation.
        serial_number: SerialNumber,
    },
    /// Only a hold can be lifted.
    #[error("certificate {serial_number} is not on hold")]
    NotOnHold {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// A certificate was issued under this serial number.
    #[error("a certificate was already issued under serial number {serial_number}")]
    NotReserved {
        /// Number of the issued certificate.
        serial_number: SerialNumber,
    },
    /// Never issued, revoked, or already replaced.
    #[error(
        "certificate {serial_number} cannot be replaced: it is revoked, already replaced, or was never issued"
    )]
    NotSupersedable {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// An older version of this program wrote it; opening it for writing migrates it.
    #[error("{} was written by an older version", path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// The file system is read-only, and SQLite needs to write even to read.
    #[error("the inventory cannot be written to")]
    ReadOnly {
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The tables, indexes, triggers and views are not exactly those of this version.
    #[error("{} was changed by another program: {object} {defect}", path.display())]
    Schema {
        /// Path of the inventory.
        path: PathBuf,
        /// Name of the table, index, trigger or view.
        object: String,
        /// Difference from the schema of this version.
        defect: SchemaDefect,
    },
    /// Rows without an audit entry.
    #[error("{certificates} recorded certificates or revocations have no audit entry")]
    Unaccounted {
        /// Number of rows.
        certificates: u64,
    },
    /// A recorded CRL without an audit entry.
    #[error("the recorded CRL {number} of {issuer} has no audit entry")]
    UnaccountedCrl {
        /// The key identifier of its issuer.
        issuer: String,
        /// Its CRL number.
        number: u64,
    },
    /// Not a status.
    #[error("`{given}` is not a status: the statuses are reserved, valid, expired and revoked")]
    Status {
        /// The rejected text.
        given: String,
    },
    /// No such issuer.
    #[error("the issuer with key identifier {key_id} is not in the inventory")]
    UnknownIssuer {
        /// Its key identifier.
        key_id: KeyIdentifier,
    },
    /// The issuer has neither a certificate nor a reservation with this serial number.
    #[error("there is no certificate with serial number {serial_number}")]
    UnknownSerial {
        /// Number asked for.
        serial_number: SerialNumber,
    },
}

/// Defect of a table, index, trigger or view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaDefect {
    /// This program never makes it, or not with this definition.
    #[error("was added or altered")]
    Added,
    /// Absent, or its definition is another one.
    #[error("is missing or altered")]
    Missing,
}

impl Coded for StoreError {
    fn coded(&self) -> Code {
        match self {
            Self::AlreadyRevoked { .. } => Code::refused("store.already_revoked"),
            Self::Audit(broken) => broken.coded(),
            Self::Busy { .. } => Code::environment("store.busy"),
            Self::Corrupt { .. } | Self::Damaged { .. } => Code::environment("store.corrupt"),
            Self::CrlNumber { .. } => Code::environment("store.crl_number"),
            Self::Database { .. } => Code::environment("store.database"),
            Self::DiskFull { .. } => Code::environment("store.disk_full"),
            Self::DuplicateSerial { .. } => Code::environment("store.duplicate_serial"),
            Self::File(error) => error.coded(),
            Self::Foreign { .. } => Code::environment("store.foreign"),
            Self::Incomplete { .. } => Code::environment("store.incomplete"),
            Self::Inconsistent { .. }
            | Self::Indexes { .. }
            | Self::Unaccounted { .. }
            | Self::UnaccountedCrl { .. } => Code::environment("store.inconsistent"),
            Self::Missing { .. } => Code::environment("store.missing"),
            Self::Newer { .. } => Code::environment("store.newer"),
            Self::NoActiveIssuer => Code::environment("store.no_active_issuer"),
            Self::NoKey { .. } => Code::refused("store.no_key"),
            Self::NoKeyIdentifier => Code::environment("store.no_key_identifier"),
            Self::NotIssued { .. } => Code::refused("store.not_issued"),
            Self::NotOnHold { .. } => Code::refused("store.not_on_hold"),
            Self::NotReserved { .. } => Code::environment("store.not_reserved"),
            Self::NotSupersedable { .. } => Code::refused("store.not_supersedable"),
            Self::Older { .. } => Code::environment("store.older"),
            Self::ReadOnly { .. } => Code::environment("store.read_only"),
            Self::Schema { .. } => Code::environment("store.schema"),
            Self::Status { .. } => Code::usage("input.status"),
            Self::UnknownIssuer { .. } => Code::environment("store.unknown_issuer"),
            Self::UnknownSerial { .. } => Code::refused("store.unknown_serial"),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        /// No space for the index of the write-ahead log, which SQLite reports as an I/O error.
        const NO_ROOM_FOR_LOG_INDEX: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        let extended = source.sqlite_error().map(|error| error.extended_code);
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { source },
            Some(ErrorCode::DiskFull) => Self::DiskFull { source },
            Some(ErrorCode::SystemIoFailure) if extended == Some(NO_ROOM_FOR_LOG_INDEX) => {
                Self::DiskFull { source }
            }
            // The database opened, but its log cannot be created: the directory is read-only.
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::ReadOnly { source },
            _ => Self::Database { source },
        }
    }
}
