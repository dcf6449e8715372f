//! Entries, the hash chain over them, and its verification.

use serde_json::Value;
use time::OffsetDateTime;

use super::action::{Action, Outcome};
use super::provenance::Provenance;
use crate::error::{Code, Coded};
use crate::x509::Sha256;

/// An audited change, before it has a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Time, actor and reason.
    pub provenance: Provenance,
    /// Kind of change.
    pub action: Action,
    /// Changed object: an identity, a certificate or an issuer.
    pub target: String,
    /// Result.
    pub outcome: Outcome,
    /// JSON object; its keys depend on the action.
    pub details: Value,
}

/// Event with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Sequence number, counted from 1.
    pub seq: u64,
    /// The change.
    pub event: AuditEvent,
    /// Hash of the previous entry; 32 zero bytes in the first.
    pub previous: Sha256,
    /// Hash of this entry.
    pub hash: Sha256,
}

impl AuditEntry {
    /// True if the content matches the hash.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.hash == self.digest(&self.event.details.to_string())
    }

    /// SHA-256 over every field, `details` as text. Each is preceded by its length, so that different entries never
    /// hash the same bytes.
    fn digest(&self, details: &str) -> Sha256 {
        let AuditEvent { provenance, action, target, outcome, .. } = &self.event;
        let reason = provenance.reason.as_deref();
        let mut bytes = Vec::with_capacity(256 + details.len());
        for field in [
            b"cluster-ca audit entry 1",
            self.previous.0.as_slice(),
            &self.seq.to_be_bytes(),
            &provenance.at.unix_timestamp().to_be_bytes(),
            provenance.actor.as_str().as_bytes(),
            action.as_str().as_bytes(),
            target.as_bytes(),
            outcome.as_str().as_bytes(),
            // Distinguishes no reason from an empty one.
            &[u8::from(reason.is_some())],
            reason.unwrap_or_default().as_bytes(),
            details.as_bytes(),
        ] {
            bytes.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Sha256::of(&bytes)
    }
}

/// End of a chain: its length, and the hash of its last entry, which covers all entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Sequence number of the last entry; 0 in an empty chain.
    pub seq: u64,
    /// Hash of the last entry; 32 zero bytes in an empty chain.
    pub hash: Sha256,
}

impl Head {
    /// The head of an empty chain.
    pub const EMPTY: Self = Self { seq: 0, hash: Sha256([0; 32]) };

    /// The sequence number of the next entry.
    #[must_use]
    pub const fn next_seq(self) -> u64 {
        self.seq.saturating_add(1)
    }

    /// Make `event` the next entry and advance to it. Return it with the text of its details, which its hash covers.
    #[must_use = "the entry must be stored: the next one builds on it"]
    pub fn append(&mut self, mut event: AuditEvent) -> (AuditEntry, String) {
        event.provenance.at = whole_second(event.provenance.at);
        let details = event.details.to_string();
        let mut entry =
            AuditEntry { seq: self.next_seq(), event, previous: self.hash, hash: Sha256([0; 32]) };
        entry.hash = entry.digest(&details);
        *self = Self { seq: entry.seq, hash: entry.hash };
        (entry, details)
    }

    /// Advance to `entry` if it is the valid next entry.
    ///
    /// # Errors
    /// [`BrokenChain`] with the defect.
    pub fn follow(&mut self, entry: &AuditEntry) -> Result<(), BrokenChain> {
        let expected = self.next_seq();
        let broken = |seq, defect| Err(BrokenChain { seq, defect });
        if entry.seq > expected {
            return broken(expected, ChainDefect::Missing);
        }
        if entry.seq < expected {
            return broken(entry.seq, ChainDefect::OutOfOrder);
        }
        if entry.previous != self.hash {
            return broken(entry.seq, ChainDefect::Unlinked);
        }
        if !entry.is_intact() {
            return broken(entry.seq, ChainDefect::Altered);
        }
        *self = Self { seq: entry.seq, hash: entry.hash };
        Ok(())
    }
}

/// Verify a chain from its first entry and return its head.
///
/// # Errors
/// [`BrokenChain`] for the first defective entry.
pub fn verify<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Result<Head, BrokenChain> {
    entries.into_iter().try_fold(Head::EMPTY, |mut head, entry| head.follow(entry).map(|()| head))
}

fn whole_second(time: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).unwrap_or(time)
}

/// A chain with a defective entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit chain is broken at entry {seq}: {defect}")]
pub struct BrokenChain {
    /// Sequence number of the defective entry.
    pub seq: u64,
    /// First check that the entry fails.
    pub defect: ChainDefect,
}

impl Coded for BrokenChain {
    fn coded(&self) -> Code {
        Code::refused("audit.broken")
    }
}

/// Defect of an entry in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainDefect {
    /// The content does not match the hash.
    #[error("it was modified")]
    Altered,
    /// Absent, although later entries exist.
    #[error("it is missing")]
    Missing,
    /// Repeated, or after later entries.
    #[error("it is out of order")]
    OutOfOrder,
    /// Its link names another predecessor.
    #[error("it does not link to the previous entry")]
    Unlinked,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn event(target: &str) -> AuditEvent {
        AuditEvent {
            provenance: Provenance {
                at: datetime!(2027-01-31 12:00:00.5 UTC),
                actor: "alice@ops1".parse().unwrap(),
                reason: None,
            },
            action: Action::CertificateIssue,
            target: target.to_owned(),
            outcome: Outcome::Success,
            details: json!({"serial_numbers": ["01", "02"]}),
        }
    }

    fn chain() -> Vec<AuditEntry> {
        let mut head = Head::EMPTY;
        ["a", "b", "c", "d"].into_iter().map(|target| head.append(event(target)).0).collect()
    }

    fn break_at(entries: &[AuditEntry]) -> (u64, ChainDefect) {
        let broken = verify(entries).unwrap_err();
        (broken.seq, broken.defect)
    }

    #[test]
    fn an_untouched_chain_verifies_to_its_head() {
        let entries = chain();
        assert_eq!(entries[0].previous, Sha256([0; 32]));
        assert_eq!(verify(&entries), Ok(Head { seq: 4, hash: entries[3].hash }));
        assert_eq!(verify([]), Ok(Head::EMPTY));
    }

    #[test]
    fn a_change_of_any_field_is_detected() {
        type Change = fn(&mut AuditEntry);
        let changes: [Change; 9] = [
            |e| e.event.provenance.at += time::Duration::SECOND,
            |e| e.event.provenance.actor = "mallory".parse().unwrap(),
            |e| e.event.provenance.reason = Some(String::new()),
            |e| e.event.action = Action::CertificateRevoke,
            |e| e.event.target.push('x'),
            |e| e.event.outcome = Outcome::Failure,
            |e| e.event.details = json!({}),
            |e| e.hash.0[0] ^= 1,
            |e| {
                // Bytes cannot be moved from one field to the next.
                e.event.target = "certificate.issueb".to_owned();
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut entries = chain();
            change(&mut entries[1]);
            assert_eq!(break_at(&entries), (2, ChainDefect::Altered), "change {number}");
        }
    }

    #[test]
    fn a_missing_moved_repeated_or_inserted_entry_is_detected() {
        let mut entries = chain();
        entries.remove(1);
        assert_eq!(break_at(&entries), (2, ChainDefect::Missing));

        let mut entries = chain();
        entries.swap(1, 2);
        assert_eq!(break_at(&entries), (2, ChainDefect::Missing));

        let mut entries = chain();
        entries.insert(2, entries[1].clone());
        assert_eq!(break_at(&entries), (2, ChainDefect::OutOfOrder));

        let mut entries = chain();
        let mut head = Head { seq: 1, hash: entries[0].hash };
        entries[1] = head.append(event("forged")).0;
        assert_eq!(
            break_at(&entries),
            (3, ChainDefect::Unlinked),
            "a well-made forgery shows at its successor"
        );

        let mut entries = chain();
        entries.remove(0);
        assert_eq!(break_at(&entries), (1, ChainDefect::Missing));
    }
}
