//! Rows to types: the one file that knows the columns.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::types::FromSql;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::account::{
    AccountSource, LockoutState, LoginSession, OrganizationRecord, PasswordHashText, SecuritySettings,
    UnknownLogins, UserFacts, UserRecord,
};
use super::cluster::ClusterRecord;
use super::error::StoreError;
use super::issuer::{CurrentCrl, IssuerRecord, IssuerState};
use super::record::{CertificateId, Issuance, Record, Reservation, RevocationRecord, RevokedCertificate};
use crate::audit::{AuditEntry, AuditEvent, Provenance};
use crate::identity::{Name, Role, role_and_name};
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// The columns that [`cluster`] reads.
pub(super) const CLUSTER: &str = "id, name, uuid, trust_domain, created_at";

pub(super) fn cluster(row: &Row<'_>) -> Result<ClusterRecord, StoreError> {
    let mut columns = Columns::new("cluster", row)?;
    Ok(ClusterRecord {
        name: columns.parse(|text: String| text.parse())?,
        uuid: columns.parse(|bytes: [u8; 16]| Ok::<_, uuid::Error>(Uuid::from_bytes(bytes)))?,
        trust_domain: columns.parse(|text: String| text.parse())?,
        created_at: columns.time()?,
    })
}

/// The columns that [`issuer`] reads.
pub(super) const ISSUER: &str = "id, key_id, certificate, state, next_crl_number, crl_number, crl_this_update, crl_next_update, crl_sha256";

pub(super) fn issuer(row: &Row<'_>) -> Result<IssuerRecord, StoreError> {
    let mut columns = Columns::new("issuer", row)?;
    Ok(IssuerRecord {
        key_id: KeyIdentifier(columns.next()?),
        certificate: columns.parse(|der: Vec<u8>| Certificate::from_der(&der))?,
        state: columns.parse(|word: String| issuer_state(&word))?,
        next_crl_number: columns.optional_number()?.unwrap_or_default(),
        crl: match columns.optional_number()? {
            None => None,
            Some(number) => Some(CurrentCrl {
                number,
                this_update: columns.time()?,
                next_update: columns.time()?,
                sha256: Sha256(columns.next()?),
            }),
        },
    })
}

fn issuer_state(word: &str) -> Result<IssuerState, UnknownWord> {
    IssuerState::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownWord)
}

#[derive(Debug, thiserror::Error)]
#[error("unknown word")]
struct UnknownWord;

/// The columns of `certificate` that [`record`] reads.
pub(super) const RECORD: &str = "id, (SELECT key_id FROM issuer WHERE issuer.id = certificate.issuer) AS key_id, serial, \
     role, name, profile, certificate_path, key_path, label, reserved_at, reserve_entry, issue_entry, not_before, not_after, \
     fingerprint, public_key, placed, revoked_at, revocation_reason, revocation_entry, \
     forget_entry, \
     (SELECT key_id FROM certificate AS old JOIN issuer ON issuer.id = old.issuer WHERE old.id = certificate.supersedes), \
     (SELECT serial FROM certificate AS old WHERE old.id = certificate.supersedes), \
     (SELECT key_id FROM certificate AS new JOIN issuer ON issuer.id = new.issuer \
      WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL), \
     (SELECT serial FROM certificate AS new WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL)";

pub(super) fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let mut columns = Columns::new("certificate", row)?;
    let issuer = KeyIdentifier(columns.next()?);
    let serial_number = columns.serial_number()?;
    let role: Role = columns.parse(|text: String| text.parse())?;
    let mut record = Record {
        issuer,
        reservation: Reservation {
            serial_number,
            role,
            name: columns.parse(|text: String| Name::parse(role, &text))?,
            profile: Sha256(columns.next()?),
            certificate_path: path(columns.next()?),
            key_path: columns.next::<Option<_>>()?.map(path),
            label: columns.parse(|text: Option<String>| text.map(|text| text.parse()).transpose())?,
            supersedes: None,
        },
        reserved_at: columns.time()?,
        reserve_entry: columns.number()?,
        issue: match columns.optional_number()? {
            None => columns.skip(5),
            Some(entry) => Some(Issuance {
                entry,
                not_before: columns.time()?,
                not_after: columns.time()?,
                fingerprint: Sha256(columns.next()?),
                public_key: Sha256(columns.next()?),
                placed: columns.next()?,
            }),
        },
        revocation: None,
        release_entry: None,
        key_forgotten: None,
        superseded_by: None,
    };
    match columns.optional_time()? {
        Some(at) => {
            let (reason, entry) = (columns.reason()?, columns.number()?);
            record.revocation = Some(RevocationRecord { at, reason, entry });
        }
        None => {
            columns.skip::<()>(1);
            record.release_entry = columns.optional_number()?;
        }
    }
    record.key_forgotten = columns.optional_number()?;
    record.reservation.supersedes = columns.optional_certificate_id()?;
    record.superseded_by = columns.optional_certificate_id()?;
    Ok(record)
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// The columns of `certificate` that [`revoked`] reads, all of them in `certificate_revoked`.
pub(super) const REVOKED: &str = "id, serial, revoked_at, revocation_reason, not_after";

pub(super) fn revoked(row: &Row<'_>) -> Result<RevokedCertificate, StoreError> {
    let mut columns = Columns::new("certificate", row)?;
    Ok(RevokedCertificate {
        serial_number: columns.serial_number()?,
        revoked_at: columns.time()?,
        reason: columns.reason()?,
        not_after: columns.time()?,
    })
}

/// Read the row ID and the serial number of a certificate.
pub(super) fn serial_number(row: &Row<'_>) -> Result<SerialNumber, StoreError> {
    Columns::new("certificate", row)?.serial_number()
}

/// The columns that [`organization`] reads.
pub(super) const ORGANIZATION: &str = "id, name, created_at, entry";

pub(super) fn organization(row: &Row<'_>) -> Result<OrganizationRecord, StoreError> {
    let mut columns = Columns::new("organization", row)?;
    Ok(OrganizationRecord {
        id: columns.id.unsigned_abs(),
        name: columns.parse(|text: String| text.parse())?,
        created_at: columns.time()?,
        entry: columns.number()?,
    })
}

/// The columns that [`user`] reads.
pub(super) const USER: &str = "id, organization, name, role, source, password, password_changed_at, must_change_password, \
     certificate, certificate_required, tokens_from, ldap_entry, created_at, entry";

pub(super) fn user(row: &Row<'_>) -> Result<UserRecord, StoreError> {
    let mut columns = Columns::new("user", row)?;
    let facts = UserFacts {
        organization: columns.number()?,
        name: columns.parse(|text: String| Name::of_user(&text))?,
        role: columns.parse(|text: String| text.parse())?,
        source: columns.parse(|word: String| account_source(&word))?,
        password: match columns.next::<Option<String>>()? {
            Some(hash) => Some((PasswordHashText(hash), columns.time()?)),
            None => columns.skip(1),
        },
        must_change_password: columns.next()?,
        certificate: columns
            .parse(|text: Option<String>| text.map(|text| role_and_name(&text)).transpose())?,
        certificate_required: columns.next()?,
        tokens_from: columns.time()?,
        ldap_entry: columns.next::<Option<[u8; 32]>>()?.map(Sha256),
        created_at: columns.time()?,
    };
    Ok(UserRecord { id: columns.id.unsigned_abs(), facts, entry: columns.number()? })
}

fn account_source(word: &str) -> Result<AccountSource, UnknownWord> {
    AccountSource::ALL.into_iter().find(|source| source.as_str() == word).ok_or(UnknownWord)
}

/// The columns that [`lockout`] reads.
pub(super) const LOCKOUT: &str = "organization, failures, locked_until, attempts";

pub(super) fn lockout(row: &Row<'_>) -> Result<LockoutState, StoreError> {
    let mut columns = Columns::new("lockout", row)?;
    Ok(LockoutState {
        failures: columns.next()?,
        locked_until: columns.optional_time()?,
        attempts: columns.number()?,
    })
}

pub(super) fn unknown_logins(row: &Row<'_>) -> Result<UnknownLogins, StoreError> {
    let mut columns = Columns::new("unknown_login", row)?;
    Ok(UnknownLogins { attempts: columns.number()?, noted_at: columns.time()? })
}

/// The columns that [`security`] reads.
pub(super) const SECURITY: &str = "id, failed_attempts, lockout_seconds, banner, banner_enabled, access_seconds, \
     refresh_seconds, access_maximum, refresh_maximum, console_seconds";

pub(super) fn security(row: &Row<'_>) -> Result<SecuritySettings, StoreError> {
    let mut columns = Columns::new("security", row)?;
    Ok(SecuritySettings {
        failed_attempts: columns.next()?,
        lockout_duration: columns.duration()?,
        banner: columns.next()?,
        banner_enabled: columns.next()?,
        access_token: columns.duration()?,
        refresh_token: columns.duration()?,
        access_token_maximum: columns.duration()?,
        refresh_token_maximum: columns.duration()?,
        console_timeout: columns.duration()?,
    })
}

/// The columns that [`session`] reads.
pub(super) const SESSION: &str = "id, selector, secret, token_id, user, certificate, created_at, expires_at";

pub(super) fn session(row: &Row<'_>) -> Result<LoginSession, StoreError> {
    let mut columns = Columns::new("session", row)?;
    Ok(LoginSession {
        id: columns.id.unsigned_abs(),
        selector: columns.next()?,
        secret: columns.next()?,
        token_id: columns.next()?,
        user: columns.number()?,
        certificate: columns.next()?,
        created_at: columns.time()?,
        expires_at: columns.time()?,
    })
}

/// The columns that [`entry`] reads and an insertion fills, in this order.
pub(super) const ENTRY: &str = "seq, at, actor, action, target, outcome, reason, details, previous, hash";

pub(super) fn entry(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    let mut columns = Columns::new("audit", row)?;
    Ok(AuditEntry {
        seq: u64::try_from(columns.id).map_err(|e| columns.corrupt(e))?,
        event: {
            let (at, actor) = (columns.time()?, columns.parse(|text: String| text.parse())?);
            let action = columns.parse(|text: String| text.parse())?;
            let target = columns.next()?;
            let outcome = columns.parse(|text: String| text.parse())?;
            let provenance = Provenance { at, actor, reason: columns.next()? };
            AuditEvent {
                provenance,
                action,
                target,
                outcome,
                details: columns.parse(|text: String| json(&text))?,
            }
        },
        previous: Sha256(columns.next()?),
        hash: Sha256(columns.next()?),
    })
}

/// Parse JSON, which must have the spelling that was hashed.
fn json(text: &str) -> Result<serde_json::Value, Box<dyn Error + Send + Sync>> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    let spelling = value.to_string();
    if spelling == text { Ok(value) } else { Err("its spelling is not the one that was hashed".into()) }
}

/// Convert a number to SQLite's signed integers.
pub(super) fn to_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Columns of one row, read from left to right; the first one is the row ID.
struct Columns<'a> {
    row: &'a Row<'a>,
    table: &'static str,
    id: i64,
    index: usize,
}

impl<'a> Columns<'a> {
    fn new(table: &'static str, row: &'a Row<'a>) -> Result<Self, StoreError> {
        Ok(Self { row, table, id: row.get(0)?, index: 0 })
    }

    fn next<T: FromSql>(&mut self) -> Result<T, StoreError> {
        self.index += 1;
        self.row.get(self.index).map_err(|e| self.corrupt(e))
    }

    fn parse<T: FromSql, U, E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        read: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<U, StoreError> {
        let value = self.next()?;
        read(value).map_err(|e| self.corrupt(e))
    }

    fn time(&mut self) -> Result<OffsetDateTime, StoreError> {
        self.parse(OffsetDateTime::from_unix_timestamp)
    }

    fn optional_time(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.parse(|seconds: Option<i64>| seconds.map(OffsetDateTime::from_unix_timestamp).transpose())
    }

    fn duration(&mut self) -> Result<Duration, StoreError> {
        Ok(Duration::seconds(self.next()?))
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        self.parse(|number: i64| u64::try_from(number))
    }

    fn optional_number(&mut self) -> Result<Option<u64>, StoreError> {
        self.parse(|number: Option<i64>| number.map(u64::try_from).transpose())
    }

    /// Read exactly the 20 octets that [`SerialNumber::to_octets`] writes; queries would not find others.
    fn serial_number(&mut self) -> Result<SerialNumber, StoreError> {
        self.parse(|octets: [u8; 20]| SerialNumber::from_be_bytes(&octets))
    }

    fn reason(&mut self) -> Result<RevocationReason, StoreError> {
        self.parse(|code: u8| RevocationReason::from_code(code).ok_or(UnknownWord))
    }

    fn optional_certificate_id(&mut self) -> Result<Option<CertificateId>, StoreError> {
        match self.next()? {
            None => Ok(self.skip(1)),
            Some(key_id) => {
                let (issuer, serial_number) = (KeyIdentifier(key_id), self.serial_number()?);
                Ok(Some(CertificateId { issuer, serial_number }))
            }
        }
    }

    fn skip<T>(&mut self, columns: usize) -> Option<T> {
        self.index += columns;
        None
    }

    fn corrupt(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        let column = self.row.as_ref().column_name(self.index).unwrap_or_default().to_owned();
        StoreError::Corrupt { table: self.table, row: self.id, column, source: source.into() }
    }
}
