//! Requests with an `Idempotency-Key`, and their results: one that is sent twice is carried out once, also after a
//! restart.
//!
//! They have no audit entries: what a request changes has its own.

use rusqlite::{OptionalExtension, params};
use time::Duration;

use super::error::StoreError;
use super::transaction::Transaction;
use crate::x509::Sha256;

/// Time for which a result is kept.
pub const REQUESTS_KEPT: Duration = Duration::days(1);

/// Earlier request with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlierRequest {
    /// There was none. This one is recorded as begun.
    None,
    /// It was begun, and its process ended before it had a result.
    Lost,
    /// It had another body.
    Different,
    /// It was carried out, with this result.
    Done(String),
}

impl Transaction<'_> {
    /// Look for an earlier request with this key, and record this one if there was none. The caller holds the lock of
    /// the home until [`Transaction::finish_request`].
    ///
    /// # Errors
    /// Database errors.
    pub fn begin_request(
        self,
        request: &Sha256,
        body: &Sha256,
    ) -> Result<(Self, EarlierRequest), StoreError> {
        let now = self.provenance().at;
        let old = now.saturating_sub(REQUESTS_KEPT).unix_timestamp();
        self.sql.execute("DELETE FROM request WHERE begun_at <= ?1", [old])?;
        let found: Option<(Vec<u8>, Option<String>)> = self
            .sql
            .query_row("SELECT body, result FROM request WHERE id = ?1", [request.0], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let earlier = match found {
            None => {
                self.sql.execute(
                    "INSERT INTO request (id, body, begun_at) VALUES (?1, ?2, ?3)",
                    params![request.0, body.0, now.unix_timestamp()],
                )?;
                EarlierRequest::None
            }
            Some((known, _)) if known != body.0 => EarlierRequest::Different,
            Some((_, None)) => EarlierRequest::Lost,
            Some((_, Some(result))) => EarlierRequest::Done(result),
        };
        Ok((self, earlier))
    }

    /// Record the result of a request. Without one, it was refused and can be repeated.
    ///
    /// # Errors
    /// Database errors.
    pub fn finish_request(self, request: &Sha256, result: Option<&str>) -> Result<Self, StoreError> {
        match result {
            Some(result) => self
                .sql
                .execute("UPDATE request SET result = ?1 WHERE id = ?2", params![result, request.0])?,
            None => self.sql.execute("DELETE FROM request WHERE id = ?1", [request.0])?,
        };
        Ok(self)
    }
}
