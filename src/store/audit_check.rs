//! Comparison of the rows with the audit chain.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rusqlite::Row;

use super::account_check::AccountEntries;
use super::details;
use super::error::StoreError;
use super::inventory::Inventory;
use super::issuer::IssuerRecord;
use super::query::find_sql;
use super::record::Record;
use super::row;
use crate::audit::{Action, AuditEntry, BrokenChain, ChainDefect, Head, Outcome};
use crate::x509::SerialNumber;

impl Inventory {
    /// Verify the audit chain, compare the cluster and every certificate, revocation, CRL and account with it, and
    /// return its head. Changes made by other programs are detected.
    ///
    /// A user who can write the file can also rewrite the whole chain. That shows against a [`Head`] recorded
    /// elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], [`StoreError::Unaccounted`], or a
    /// database error.
    pub fn check_against_audit(&self) -> Result<Head, StoreError> {
        self.check_against_audit_with(&|_| {})
    }

    /// [`Inventory::check_against_audit`] with progress: calls `progress` with the number of entries checked since the
    /// last call.
    ///
    /// # Errors
    /// Those of [`Inventory::check_against_audit`].
    pub fn check_against_audit_with(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Head, StoreError> {
        let last = self.audit_head()?.seq;
        self.on_all_cores(
            last,
            |reader, part| reader.check_part(part, progress),
            |reader, parts| reader.conclude(parts),
        )
    }

    /// Check what depends on all parts of the chain, in the state that they were read in.
    fn conclude(&self, parts: Vec<CheckedPart>) -> Result<Head, StoreError> {
        let mut head = Head::EMPTY;
        let mut accounted = 0;
        let (mut crls, mut accounts) = (CrlEntries::default(), AccountEntries::default());
        for part in parts {
            // Each part begins with the hash that ends the one before, so all are one chain.
            head = part.head;
            accounted += part.accounted;
            crls.follow(part.crls);
            part.accounts.iter().for_each(|entry| accounts.note(entry));
        }
        for issuer in self.issuers()? {
            crls.check(&issuer)?;
        }
        accounts.check(self.accounts())?;
        match self.count_recorded()?.saturating_sub(accounted) {
            0 => Ok(head),
            certificates => Err(StoreError::Unaccounted { certificates }),
        }
    }

    /// Check the entries of one part of the chain, and the rows that they account for.
    fn check_part(
        &self,
        part: RangeInclusive<u64>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<CheckedPart, StoreError> {
        let (first, last) = part.into_inner();
        let mut head = self.head_before(first)?;
        let (mut accounted, mut unreported) = (0, 0);
        let (mut crls, mut accounts) = (CrlEntries::default(), Vec::new());
        // Certificates are issued in the order of their rows, apart from exceptions.
        let mut next_row = 0;
        self.audit_range(first..=last, |entry| {
            head.follow(&entry)?;
            self.check_cluster(&entry)?;
            crls.note(&entry);
            accounted += self.check_entry(&entry, &mut next_row)?;
            if AccountEntries::concerns(&entry) {
                accounts.push(entry);
            }
            unreported += 1;
            if unreported == PROGRESS_STEP {
                progress(std::mem::take(&mut unreported));
            }
            Ok::<_, StoreError>(())
        })?;
        progress(unreported);
        if head.seq < last {
            return Err(BrokenChain { seq: head.next_seq(), defect: ChainDefect::Missing }.into());
        }
        Ok(CheckedPart { head, accounted, crls, accounts })
    }

    /// Number of issues and revocations. Each entry accounts for at most one, and none is accounted for twice. If the
    /// numbers differ, there are rows without an entry.
    fn count_recorded(&self) -> Result<u64, StoreError> {
        let recorded: i64 = self.sql.query_row(
            "SELECT (SELECT count(*) FROM certificate WHERE issue_entry IS NOT NULL) \
                  + (SELECT count(*) FROM certificate WHERE revocation_entry IS NOT NULL)",
            [],
            |row| row.get(0),
        )?;
        Ok(recorded.unsigned_abs())
    }

    /// Head of the chain before the entry with this number.
    fn head_before(&self, seq: u64) -> Result<Head, StoreError> {
        let before = seq.saturating_sub(1);
        if before == 0 {
            return Ok(Head::EMPTY);
        }
        match self.audit_entry(before)? {
            Some(entry) => Ok(Head { seq: entry.seq, hash: entry.hash }),
            None => Err(BrokenChain { seq: before, defect: ChainDefect::Missing }.into()),
        }
    }

    /// Refuse a creation entry that differs from the cluster or its first issuer.
    pub(super) fn check_cluster(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        if entry.event.action != Action::ClusterInitialize {
            return Ok(());
        }
        let cluster = self.cluster()?;
        let first = format!("SELECT {} FROM issuer ORDER BY id LIMIT 1", row::ISSUER);
        let matches = |first: &IssuerRecord| {
            entry.event.target == cluster.name.as_str()
                && entry.event.details
                    == details::initialize_details(&cluster, &first.key_id, &first.certificate)
        };
        if self.collect(&first, [], row::issuer)?.first().is_some_and(matches) {
            return Ok(());
        }
        Err(StoreError::Inconsistent { target: entry.event.target.clone(), entry: entry.seq })
    }

    /// The number of recorded issues and revocations that this entry accounts for: one, or zero for another kind
    /// of entry and for a hold or release that a later entry changed. Looks at `next_row` first, and advances it.
    fn check_entry(&self, entry: &AuditEntry, next_row: &mut i64) -> Result<u64, StoreError> {
        let compare: fn(&Record, &AuditEntry) -> Option<u64> = match (entry.event.action, entry.event.outcome)
        {
            (Action::CertificateIssue, Outcome::Success) => issue_accounted,
            (
                Action::CertificateHold | Action::CertificateRelease | Action::CertificateRevoke,
                Outcome::Success,
            ) => revocation_accounted,
            _ => return Ok(0),
        };
        let target = &entry.event.target;
        let is_target = |(_, record): &(i64, Record)| details::target(record) == *target;
        let mut found = self.collect(&at_row_sql(), [*next_row], numbered)?.pop().filter(is_target);
        if found.is_none() {
            let serial_number: Option<SerialNumber> =
                target.rsplit('/').next().and_then(|serial| serial.parse().ok());
            let records = serial_number.map_or(Ok(Vec::new()), |serial_number| {
                self.collect(&find_sql(), [serial_number.to_octets()], numbered)
            })?;
            found = records.into_iter().find(is_target);
        }
        found
            .and_then(|(row, record)| {
                *next_row = row.saturating_add(1);
                compare(&record, entry)
            })
            .ok_or_else(|| StoreError::Inconsistent { target: target.clone(), entry: entry.seq })
    }
}

fn at_row_sql() -> String {
    format!("SELECT {} FROM certificate WHERE id = ?1", row::RECORD)
}

/// The record of a row with its number.
fn numbered(row: &Row<'_>) -> Result<(i64, Record), StoreError> {
    Ok((row.get(0)?, row::record(row)?))
}

/// Part of the chain that is intact and agrees with the rows.
struct CheckedPart {
    head: Head,
    accounted: u64,
    crls: CrlEntries,
    /// Entries about accounts.
    accounts: Vec<AuditEntry>,
}

/// Entries between two reports of progress.
const PROGRESS_STEP: u64 = 1_000;

/// Last entries about the CRLs of each issuer.
#[derive(Default)]
struct CrlEntries {
    reserved: BTreeMap<String, AuditEntry>,
    published: BTreeMap<String, AuditEntry>,
}

impl CrlEntries {
    fn note(&mut self, entry: &AuditEntry) {
        let last = match entry.event.action {
            Action::CrlReserve => &mut self.reserved,
            Action::CrlPublish => &mut self.published,
            _ => return,
        };
        last.insert(entry.event.target.clone(), entry.clone());
    }

    /// Add the entries of the next part of the chain.
    fn follow(&mut self, next: Self) {
        self.reserved.extend(next.reserved);
        self.published.extend(next.published);
    }

    /// Refuse an issuer whose newest CRL differs from the last entry, or that would reuse a CRL number: gateways
    /// accept a number only once. A restore skips numbers, so the next one may be larger than expected.
    fn check(&self, issuer: &IssuerRecord) -> Result<(), StoreError> {
        let target = issuer.key_id.to_string();
        let contradicts =
            |entry: &AuditEntry| StoreError::Inconsistent { target: target.clone(), entry: entry.seq };
        match (&issuer.crl, self.published.get(&target)) {
            (None, None) => {}
            (Some(crl), Some(entry)) if entry.event.details == details::crl_details(crl) => {}
            (_, Some(entry)) => return Err(contradicts(entry)),
            (Some(crl), None) => {
                return Err(StoreError::UnaccountedCrl { issuer: target, number: crl.number });
            }
        }
        match self.reserved.get(&target) {
            Some(entry) if !is_below(&entry.event.details, issuer.next_crl_number) => Err(contradicts(entry)),
            _ => Ok(()),
        }
    }
}

/// True if the CRL number of an entry is below `next`.
fn is_below(details: &serde_json::Value, next: u64) -> bool {
    details["crl_number"].as_u64().is_some_and(|number| number < next)
}

fn issue_accounted(record: &Record, entry: &AuditEntry) -> Option<u64> {
    let matches = record.issue.is_some_and(|issue| issue.entry == entry.seq)
        && details::is_issue_of(&entry.event.details, record);
    matches.then_some(1)
}

fn revocation_accounted(record: &Record, entry: &AuditEntry) -> Option<u64> {
    let last = record.revocation.map(|revocation| revocation.entry).or(record.release_entry)?;
    match last.cmp(&entry.seq) {
        Ordering::Greater => Some(0),
        Ordering::Equal => (entry.event.details == details::revocation_details(record)).then_some(1),
        Ordering::Less => None,
    }
}
