//! Whether the rows are what the audit chain says they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::TransactionBehavior;

use super::{Inventory, Issuer, Record, StoreError, row, transaction};
use crate::audit::{Action, Entry, Head, Outcome};

impl Inventory {
    /// Checks the audit chain, and the cluster, every certificate, revocation and CRL against it, so that a change
    /// made outside this program is noticed; the end of the chain is the answer.
    ///
    /// Whoever can write the file can write the chain anew; that shows against a [`Head`] noted elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], [`StoreError::Unaccounted`], or what the
    /// database says.
    pub fn check_against_audit(&self) -> Result<Head, StoreError> {
        // All that follows sees the same state, whatever is written meanwhile.
        let snapshot = rusqlite::Transaction::new_unchecked(&self.sql, TransactionBehavior::Deferred)?;
        let mut head = Head::EMPTY;
        let mut accounted = 0;
        let mut crls = CrlEntries::default();
        self.audit_entries(0, |entry| {
            head.follow(&entry)?;
            self.check_cluster(&entry)?;
            crls.note(&entry);
            accounted += self.check_entry(&entry)?;
            Ok::<_, StoreError>(())
        })?;
        for issuer in self.issuers()? {
            crls.check(&issuer)?;
        }
        // Each entry accounts for at most one issue, or for how it stands with one revocation, and none is
        // accounted for twice: where the numbers differ, there are rows that no entry told of.
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

    /// Refuses an entry of the cluster's making that the cluster, or its first issuer, is not like.
    fn check_cluster(&self, entry: &Entry) -> Result<(), StoreError> {
        if entry.event.action != Action::ClusterInitialize {
            return Ok(());
        }
        let cluster = self.cluster()?;
        let first = format!("SELECT {} FROM issuer ORDER BY id LIMIT 1", row::ISSUER);
        let told = |first: &Issuer| {
            entry.event.target == cluster.name.as_str()
                && entry.event.details
                    == transaction::initialize_details(&cluster, &first.key_id, &first.certificate)
        };
        if self.collect(&first, [], row::issuer)?.first().is_some_and(told) {
            return Ok(());
        }
        Err(StoreError::Inconsistent { target: entry.event.target.clone(), entry: entry.seq })
    }

    /// How many of the recorded issues and revocations this entry tells of: one, or none when it is about
    /// something else, or about a hold or release that a later entry changed.
    fn check_entry(&self, entry: &Entry) -> Result<u64, StoreError> {
        let judge: fn(&Record, &Entry) -> Option<u64> = match (entry.event.action, entry.event.outcome) {
            (Action::CertificateIssue, Outcome::Success) => issue_told,
            (
                Action::CertificateHold | Action::CertificateRelease | Action::CertificateRevoke,
                Outcome::Success,
            ) => revocation_told,
            _ => return Ok(0),
        };
        let target = &entry.event.target;
        let serial_number = target.rsplit('/').next().and_then(|serial| serial.parse().ok());
        let records = serial_number.map_or(Ok(Vec::new()), |serial| self.find(serial))?;
        records
            .iter()
            .find(|record| transaction::target(record) == *target)
            .and_then(|record| judge(record, entry))
            .ok_or_else(|| StoreError::Inconsistent { target: target.clone(), entry: entry.seq })
    }
}

/// The last entries about the CRLs of each issuer.
#[derive(Default)]
struct CrlEntries {
    reserved: BTreeMap<String, Entry>,
    published: BTreeMap<String, Entry>,
}

impl CrlEntries {
    fn note(&mut self, entry: &Entry) {
        let last = match entry.event.action {
            Action::CrlReserve => &mut self.reserved,
            Action::CrlPublish => &mut self.published,
            _ => return,
        };
        last.insert(entry.event.target.clone(), entry.clone());
    }

    /// Refuses an issuer whose newest CRL is not the last that was told of, or that would use a number
    /// again: gateways take a number only once. (A restore skips numbers, so the next may be a later one.)
    fn check(&self, issuer: &Issuer) -> Result<(), StoreError> {
        let target = issuer.key_id.to_string();
        let contradicts =
            |entry: &Entry| StoreError::Inconsistent { target: target.clone(), entry: entry.seq };
        match (&issuer.crl, self.published.get(&target)) {
            (None, None) => {}
            (Some(crl), Some(entry)) if entry.event.details == transaction::crl_details(crl) => {}
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

/// Whether the number that an entry tells of is below `next`.
fn is_below(details: &serde_json::Value, next: u64) -> bool {
    details["crl_number"].as_u64().is_some_and(|number| number < next)
}

fn issue_told(record: &Record, entry: &Entry) -> Option<u64> {
    let told = record.issue.is_some_and(|issue| issue.entry == entry.seq)
        && entry.event.details == transaction::issue_details(record);
    told.then_some(1)
}

fn revocation_told(record: &Record, entry: &Entry) -> Option<u64> {
    let last = record.revocation.map(|revocation| revocation.entry).or(record.release_entry)?;
    match last.cmp(&entry.seq) {
        Ordering::Greater => Some(0),
        Ordering::Equal => (entry.event.details == transaction::revocation_details(record)).then_some(1),
        Ordering::Less => None,
    }
}
