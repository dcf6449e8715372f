//! Comparison of the rows with the audit chain.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::TransactionBehavior;

use super::account_check::AccountEntries;
use super::details;
use super::error::StoreError;
use super::inventory::Inventory;
use super::issuer::IssuerRecord;
use super::record::Record;
use super::row;
use crate::audit::{Action, AuditEntry, Head, Outcome};

impl Inventory {
    /// Verifies the audit chain, compares the cluster and every certificate, revocation, CRL and account with it, and
    /// returns its head. Changes made by other programs are detected.
    ///
    /// A user who can write the file can also rewrite the whole chain. That shows against a [`Head`] recorded
    /// elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], [`StoreError::Unaccounted`], or a
    /// database error.
    pub fn check_against_audit(&self) -> Result<Head, StoreError> {
        // All queries below see the same state, whatever another process writes.
        let snapshot = rusqlite::Transaction::new_unchecked(&self.sql, TransactionBehavior::Deferred)?;
        let mut head = Head::EMPTY;
        let mut accounted = 0;
        let mut crls = CrlEntries::default();
        let mut accounts = AccountEntries::default();
        self.audit_entries(0, |entry| {
            head.follow(&entry)?;
            self.check_cluster(&entry)?;
            crls.note(&entry);
            accounts.note(&entry);
            accounted += self.check_entry(&entry)?;
            Ok::<_, StoreError>(())
        })?;
        for issuer in self.issuers()? {
            crls.check(&issuer)?;
        }
        accounts.check(self.accounts())?;
        // Each entry accounts for at most one issue or one revocation state, and none is accounted for twice. If
        // the numbers differ, there are rows without an entry.
        let recorded: i64 = snapshot.query_row(
            "SELECT (SELECT count(*) FROM certificate WHERE issue_entry IS NOT NULL) \
                  + (SELECT count(*) FROM certificate WHERE revocation_entry IS NOT NULL)",
            [],
            |row| row.get(0),
        )?;
        match recorded.unsigned_abs().saturating_sub(accounted) {
            0 => Ok(head),
            certificates => Err(StoreError::Unaccounted { certificates }),
        }
    }

    /// Refuses a creation entry that differs from the cluster or its first issuer.
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
    /// of entry and for a hold or release that a later entry changed.
    fn check_entry(&self, entry: &AuditEntry) -> Result<u64, StoreError> {
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
        let serial_number = target.rsplit('/').next().and_then(|serial| serial.parse().ok());
        let records = serial_number.map_or(Ok(Vec::new()), |serial| self.find(serial))?;
        records
            .iter()
            .find(|record| details::target(record) == *target)
            .and_then(|record| compare(record, entry))
            .ok_or_else(|| StoreError::Inconsistent { target: target.clone(), entry: entry.seq })
    }
}

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

    /// Refuses an issuer whose newest CRL differs from the last entry, or that would reuse a CRL number: gateways
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
