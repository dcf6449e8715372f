//! Rows by key.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::record::{CertificateId, Record};
use super::row;
use crate::audit::Head;
use crate::x509::{KeyIdentifier, SerialNumber};

/// The recorded head of the audit chain.
pub(super) fn head(sql: &Connection) -> Result<Head, StoreError> {
    let last = format!("SELECT {} FROM audit ORDER BY seq DESC LIMIT 1", row::ENTRY);
    let mut statement = sql.prepare_cached(&last)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(Head::EMPTY) };
    let entry = row::entry(row)?;
    Ok(Head { seq: entry.seq, hash: entry.hash })
}

/// See [`Inventory::mark_placed`](super::inventory::Inventory::mark_placed).
pub(super) fn mark_placed(sql: &Connection, entries: RangeInclusive<u64>) -> Result<(), StoreError> {
    let (first, last) = (row::to_integer(*entries.start()), row::to_integer(*entries.end()));
    sql.prepare_cached(MARK_PLACED)?.execute([first, last])?;
    Ok(())
}

pub(super) const MARK_PLACED: &str = "UPDATE certificate INDEXED BY certificate_pending SET placed = 1 \
    WHERE placed = 0 AND issue_entry BETWEEN ?1 AND ?2";

/// The row of a certificate that may be replaced.
pub(super) fn supersedable(sql: &Connection, old: &CertificateId) -> Result<i64, StoreError> {
    let issuer_id = issuer_id(sql, &old.issuer)?;
    sql.prepare_cached(
        "SELECT id FROM certificate WHERE issuer = ?1 AND serial = ?2 AND issue_entry IS NOT NULL \
         AND revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM certificate AS new \
         WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL)",
    )?
    .query_row(params![issuer_id, old.serial_number.to_octets()], |row| row.get(0))
    .optional()?
    .ok_or(StoreError::NotSupersedable { serial_number: old.serial_number })
}

/// The row of a certificate.
pub(super) fn row_id(sql: &Connection, id: &CertificateId) -> Result<i64, StoreError> {
    let serial_number = id.serial_number;
    Ok(existing(sql, issuer_id(sql, &id.issuer)?, serial_number)?.0)
}

pub(super) fn issuer_id(sql: &Connection, issuer: &KeyIdentifier) -> Result<i64, StoreError> {
    sql.prepare_cached("SELECT id FROM issuer WHERE key_id = ?1")?
        .query_row([&issuer.0], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::UnknownIssuer { key_id: issuer.clone() })
}

/// The row ID and record of a serial number.
pub(super) fn existing(
    sql: &Connection,
    issuer_id: i64,
    serial_number: SerialNumber,
) -> Result<(i64, Record), StoreError> {
    let select = format!("SELECT {} FROM certificate WHERE issuer = ?1 AND serial = ?2", row::RECORD);
    let mut statement = sql.prepare_cached(&select)?;
    let mut rows = statement.query(params![issuer_id, serial_number.to_octets()])?;
    let row = rows.next()?.ok_or(StoreError::UnknownSerial { serial_number })?;
    Ok((row.get(0)?, row::record(row)?))
}
