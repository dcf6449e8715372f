//! Pages of long lists: a limit, and a cursor that names the last item of the page before.

use super::extract::bad_query;
use super::problem::Problem;
use crate::store::CertificateId;

/// Items of a page, unless the caller gives another number.
const DEFAULT_LIMIT: usize = 100;

/// Most items of a page.
pub(super) const MAX_LIMIT: usize = 1_000;

/// Number of items that a caller asks for.
pub(super) fn limit(given: Option<usize>) -> Result<usize, Problem> {
    match given.unwrap_or(DEFAULT_LIMIT) {
        limit if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(bad_query(&format!("limit: a whole number from 1 to {MAX_LIMIT} was expected"))),
    }
}

/// Cursor after a certificate.
pub(super) fn cursor_of(id: &CertificateId) -> String {
    format!("{}.{}", id.issuer, id.serial_number)
}

/// Read a cursor after a certificate.
pub(super) fn certificate_cursor(text: &str) -> Result<CertificateId, Problem> {
    let parts = text.split_once('.').and_then(|(issuer, serial_number)| {
        Some(CertificateId { issuer: issuer.parse().ok()?, serial_number: serial_number.parse().ok()? })
    });
    parts.ok_or_else(bad_cursor)
}

/// A cursor that this server did not make.
pub(super) fn bad_cursor() -> Problem {
    bad_query("cursor: give the `next` of the page before, unchanged")
}
