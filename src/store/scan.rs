//! Scan of all certificates with their DER, in the order of the file.

use std::ops::RangeInclusive;

use super::error::StoreError;
use super::inventory::Inventory;
use super::record::Record;
use super::row;
use crate::x509::{Certificate, Sha256};

/// Record of a certificate, with its DER as stored.
#[derive(Debug)]
pub struct ScannedRecord<'a> {
    /// Facts as recorded, not yet compared with the certificate.
    pub record: Record,
    id: i64,
    der: Option<&'a [u8]>,
}

impl ScannedRecord<'_> {
    /// Compare the stored certificate with its recorded fingerprint.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for another certificate, or [`StoreError::UnknownSerial`] for none.
    pub fn check_fingerprint(&self) -> Result<(), StoreError> {
        let unknown = StoreError::UnknownSerial { serial_number: self.record.reservation.serial_number };
        let (Some(issue), Some(der)) = (self.record.issue, self.der) else { return Err(unknown) };
        match Sha256::of(der) == issue.fingerprint {
            true => Ok(()),
            false => Err(corrupt_der(self.id, OTHER_FINGERPRINT)),
        }
    }

    /// The stored certificate, compared with its recorded fingerprint.
    ///
    /// # Errors
    /// Those of [`ScannedRecord::check_fingerprint`], and [`StoreError::Corrupt`] for an unreadable certificate.
    pub fn certificate(&self) -> Result<Certificate, StoreError> {
        self.check_fingerprint()?;
        Certificate::from_der(self.der.unwrap_or_default()).map_err(|error| corrupt_der(self.id, error))
    }
}

pub(super) const OTHER_FINGERPRINT: &str = "its SHA-256 differs from the recorded fingerprint";

pub(super) fn corrupt_der(
    row: i64,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Corrupt { table: "certificate_der", row, column: "der".to_owned(), source: source.into() }
}

impl Inventory {
    /// The number of the newest certificate row.
    pub fn last_row(&self) -> Result<u64, StoreError> {
        let last: Option<i64> =
            self.sql.query_row("SELECT max(id) FROM certificate", [], |row| row.get(0))?;
        Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default())
    }

    /// Pass the certificates of these rows to `each`, oldest first.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the scan.
    pub fn scan<E: From<StoreError>>(
        &self,
        rows: RangeInclusive<u64>,
        mut each: impl FnMut(ScannedRecord<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!(
            "SELECT {}, (SELECT der FROM certificate_der WHERE certificate_der.id = certificate.id) AS der \
             FROM certificate WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            row::RECORD
        );
        let (first, last) = (row::to_integer(*rows.start()), row::to_integer(*rows.end()));
        let mut statement = self.sql.prepare_cached(&sql).map_err(StoreError::from)?;
        let mut rows = statement.query([first, last]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let record = row::record(row)?;
            let id = row.get(0).map_err(StoreError::from)?;
            let der = row.get_ref("der").map_err(StoreError::from)?.as_blob_or_null();
            each(ScannedRecord { record, id, der: der.map_err(|error| corrupt_der(id, error))? })?;
        }
        Ok(())
    }
}
