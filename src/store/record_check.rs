//! Comparison of single rows with their audit entries, at the cost of a few look-ups.
//!
//! It detects a row that another program changed alone. An entry that was rewritten together with the row, and with
//! the links to its neighbors, shows in [`Inventory::check_against_audit`].

use serde_json::Value;

use super::details;
use super::error::StoreError;
use super::inventory::Inventory;
use super::record::Record;
use super::row;
use crate::audit::{Action, AuditEntry, BrokenChain, ChainDefect, Head, Outcome};
use crate::x509::Sha256;

impl Inventory {
    /// Refuse a row that differs from the entries of its issue, its revocation or release, and its deleted key.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], or a database error.
    pub fn check_record(&self, record: &Record) -> Result<(), StoreError> {
        if let Some(issue) = record.issue {
            let agrees = |recorded: &_| details::is_issue_of(recorded, record);
            self.check_entry_of(record, issue.entry, &[Action::CertificateIssue], &agrees)?;
        }
        self.check_revocation(record)?;
        if let Some(forgotten) = record.key_forgotten {
            self.check_entry_of(record, forgotten, &[Action::KeyForget], &|_| true)?;
        }
        Ok(())
    }

    /// Refuse a row whose revocation or release differs from its entry.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], or a database error.
    pub fn check_revocation(&self, record: &Record) -> Result<(), StoreError> {
        let state = |recorded: &_| *recorded == details::revocation_details(record);
        if let Some(revocation) = record.revocation {
            let actions = [Action::CertificateHold, Action::CertificateRevoke];
            self.check_entry_of(record, revocation.entry, &actions, &state)?;
        }
        if let Some(release) = record.release_entry {
            self.check_entry_of(record, release, &[Action::CertificateRelease], &state)?;
        }
        Ok(())
    }

    /// Refuse an entry that is not one of `actions` on `record`, or whose details do not agree.
    fn check_entry_of(
        &self,
        record: &Record,
        seq: u64,
        actions: &[Action],
        agrees: &dyn Fn(&Value) -> bool,
    ) -> Result<(), StoreError> {
        let (event, target) = (self.intact_entry(seq)?.event, details::target(record));
        let agrees = actions.contains(&event.action)
            && event.outcome == Outcome::Success
            && event.target == target
            && agrees(&event.details);
        if agrees { Ok(()) } else { Err(StoreError::Inconsistent { target, entry: seq }) }
    }

    /// Refuse a cluster that differs from the first entry, and return the hash of that entry.
    ///
    /// # Errors
    /// [`StoreError::Audit`], [`StoreError::Inconsistent`], or a database error.
    pub fn check_origin(&self) -> Result<Sha256, StoreError> {
        let first = self.intact_entry(1)?;
        if first.event.action != Action::ClusterInitialize {
            return Err(StoreError::Inconsistent { target: first.event.target, entry: 1 });
        }
        self.check_cluster(&first)?;
        Ok(first.hash)
    }

    /// Refuse a chain that does not contain `head`.
    ///
    /// # Errors
    /// [`StoreError::Audit`], or a database error.
    pub fn check_contains(&self, head: &Head) -> Result<(), StoreError> {
        let entry = self.intact_entry(head.seq)?;
        if entry.hash == head.hash { Ok(()) } else { Err(broken(head.seq, ChainDefect::Altered)) }
    }

    /// Refuse a chain whose last entry is altered, and return its head.
    ///
    /// # Errors
    /// [`StoreError::Audit`], or a database error.
    pub fn check_head(&self) -> Result<Head, StoreError> {
        let head = self.audit_head()?;
        self.check_contains(&head)?;
        Ok(head)
    }

    /// Compare the indexes with the table of certificates. A query through an index that lacks a row would miss it.
    ///
    /// # Errors
    /// [`StoreError::Indexes`], or a database error.
    pub fn check_indexes(&self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare("PRAGMA integrity_check(certificate)")?;
        let mut rows = statement.query([])?;
        match rows.next()?.map(|row| row.get::<_, String>(0)).transpose()? {
            Some(found) if found != "ok" => Err(StoreError::Indexes { found }),
            _ => Ok(()),
        }
    }

    /// An entry whose hash matches its content and its neighbors.
    fn intact_entry(&self, seq: u64) -> Result<AuditEntry, StoreError> {
        intact(seq, self.collect(&neighborhood(), [row::to_integer(seq)], row::entry)?)
    }
}

/// Query of an entry and its neighbors.
pub(super) fn neighborhood() -> String {
    format!("SELECT {} FROM audit WHERE seq BETWEEN ?1 - 1 AND ?1 + 1 ORDER BY seq", row::ENTRY)
}

/// The entry `seq` of its [`neighborhood`], if its hash matches its content and its neighbors.
pub(super) fn intact(seq: u64, neighborhood: Vec<AuditEntry>) -> Result<AuditEntry, StoreError> {
    let mut before = None;
    let mut found: Option<AuditEntry> = None;
    for entry in neighborhood {
        match &found {
            None if entry.seq < seq => before = Some(entry.hash),
            None => found = Some(entry),
            Some(found) if entry.previous != found.hash => {
                return Err(broken(entry.seq, ChainDefect::Unlinked));
            }
            Some(_) => {}
        }
    }
    let entry = found.filter(|entry| entry.seq == seq).ok_or_else(|| broken(seq, ChainDefect::Missing))?;
    let before = before.or_else(|| (seq == 1).then_some(Head::EMPTY.hash));
    match before {
        None => Err(broken(seq.saturating_sub(1), ChainDefect::Missing)),
        Some(hash) if hash != entry.previous => Err(broken(seq, ChainDefect::Unlinked)),
        Some(_) if !entry.is_intact() => Err(broken(seq, ChainDefect::Altered)),
        Some(_) => Ok(entry),
    }
}

fn broken(seq: u64, defect: ChainDefect) -> StoreError {
    BrokenChain { seq, defect }.into()
}
