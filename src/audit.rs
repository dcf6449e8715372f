//! The audit chain: who did what to what, when, why and with which outcome, each entry bound to all
//! before it by a hash.
//!
//! Pure: entries are made and judged here, and kept by the inventory in the transaction of the
//! change that they tell of. The chain shows an altered, missing, moved or inserted entry. Entries
//! cut off at the end, or a chain written anew as a whole, show against a [`Head`] noted elsewhere.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use time::OffsetDateTime;

use crate::x509::Sha256;

/// Who acts: an account and the host it acts on, as the caller knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(String);

impl Actor {
    /// Somebody whom the system cannot name.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// The actor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = AuditError;

    /// Takes 1 to 256 bytes without control characters.
    fn from_str(text: &str) -> Result<Self, AuditError> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(AuditError::Actor { given: text.escape_debug().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// When, by whom and why something is done: what every change has to say for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// When, in whole seconds; fractions are not kept.
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: Actor,
    /// Why, in the actor's own words.
    pub reason: Option<String>,
}

/// What was done. The words are kept for ever; a new one raises the version of the inventory's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A certificate was put into one file, with its key if it is here, to be handed over.
    CertificateBundle,
    /// A certificate was copied to a machine, with its key if it is here.
    CertificateDeliver,
    /// A certificate was put on hold: revoked for the time being.
    CertificateHold,
    /// A certificate was signed and recorded.
    CertificateIssue,
    /// The work of a process that crashed was finished or undone.
    CertificateRecover,
    /// A certificate that was on hold holds again.
    CertificateRelease,
    /// Serial numbers were set aside for certificates about to be signed.
    CertificateReserve,
    /// A certificate was revoked.
    CertificateRevoke,
    /// The cluster was made.
    ClusterInitialize,
    /// A CRL was signed and recorded.
    CrlPublish,
    /// A CRL number was set aside for a CRL about to be signed.
    CrlReserve,
    /// The home was put back from a backup.
    HomeRestore,
    /// The private key of a certificate, delivered before, was removed here.
    KeyForget,
    /// A private key was protected with a passphrase.
    KeyProtect,
    /// The passphrase was taken off a private key.
    KeyUnprotect,
    /// A private key's data key was wrapped anew.
    KmsRewrap,
    /// A key management service was configured, or a private key wrapped by one.
    KmsSet,
    /// A private key was taken out of a key management service's protection, or the service forgotten.
    KmsUnset,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 18] = [
        Self::CertificateBundle,
        Self::CertificateDeliver,
        Self::CertificateHold,
        Self::CertificateIssue,
        Self::CertificateRecover,
        Self::CertificateRelease,
        Self::CertificateReserve,
        Self::CertificateRevoke,
        Self::ClusterInitialize,
        Self::CrlPublish,
        Self::CrlReserve,
        Self::HomeRestore,
        Self::KeyForget,
        Self::KeyProtect,
        Self::KeyUnprotect,
        Self::KmsRewrap,
        Self::KmsSet,
        Self::KmsUnset,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateBundle => "certificate.bundle",
            Self::CertificateDeliver => "certificate.deliver",
            Self::CertificateHold => "certificate.hold",
            Self::CertificateIssue => "certificate.issue",
            Self::CertificateRecover => "certificate.recover",
            Self::CertificateRelease => "certificate.release",
            Self::CertificateReserve => "certificate.reserve",
            Self::CertificateRevoke => "certificate.revoke",
            Self::ClusterInitialize => "cluster.initialize",
            Self::CrlPublish => "crl.publish",
            Self::CrlReserve => "crl.reserve",
            Self::HomeRestore => "home.restore",
            Self::KeyForget => "key.forget",
            Self::KeyProtect => "key.protect",
            Self::KeyUnprotect => "key.unprotect",
            Self::KmsRewrap => "kms.rewrap",
            Self::KmsSet => "kms.set",
            Self::KmsUnset => "kms.unset",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Action {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| AuditError::Action { given: text.escape_debug().take(80).collect() })
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused or went wrong; nothing was changed.
    Failure,
}

impl Outcome {
    /// The stable word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        [Self::Success, Self::Failure]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| AuditError::Outcome { given: text.escape_debug().take(80).collect() })
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by whom and why.
    pub provenance: Provenance,
    /// What was done.
    pub action: Action,
    /// To what: an identity, a certificate, an issuer.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The facts, as a JSON object whose keys depend on the action.
    pub details: Value,
}

/// An event in its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, counted from 1.
    pub seq: u64,
    /// What happened.
    pub event: Event,
    /// The hash of the entry before it; 32 zero bytes in the first.
    pub previous: Sha256,
    /// The hash of this entry.
    pub hash: Sha256,
}

impl Entry {
    /// SHA-256 over every field, each preceded by its length, so that no two entries are the same bytes.
    fn digest(&self) -> Sha256 {
        let Event { provenance, action, target, outcome, details } = &self.event;
        let details = details.to_string();
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
            // No reason and an empty one are not the same.
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

/// The end of a chain: how many entries it has and the hash of the last one, which stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the last entry; 0 when there is none.
    pub seq: u64,
    /// The hash of the last entry; 32 zero bytes when there is none.
    pub hash: Sha256,
}

impl Head {
    /// The end of the chain without entries.
    pub const EMPTY: Self = Self { seq: 0, hash: Sha256([0; 32]) };

    /// The place that the next entry will have.
    #[must_use]
    pub const fn next_seq(self) -> u64 {
        self.seq.saturating_add(1)
    }

    /// Makes `event` the next entry and moves on to it.
    #[must_use = "the entry must be kept: the next one builds on it"]
    pub fn append(&mut self, mut event: Event) -> Entry {
        event.provenance.at = whole_second(event.provenance.at);
        let mut entry = Entry { seq: self.next_seq(), event, previous: self.hash, hash: Sha256([0; 32]) };
        entry.hash = entry.digest();
        *self = Self { seq: entry.seq, hash: entry.hash };
        entry
    }

    /// Moves on to `entry`, if it is the one that must come next.
    ///
    /// # Errors
    /// [`BrokenChain`] saying what is wrong with it.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), BrokenChain> {
        let expected = self.next_seq();
        let broken = |seq, why| Err(BrokenChain { seq, why });
        if entry.seq > expected {
            return broken(expected, Break::Missing);
        }
        if entry.seq < expected {
            return broken(entry.seq, Break::OutOfOrder);
        }
        if entry.previous != self.hash {
            return broken(entry.seq, Break::Unlinked);
        }
        if entry.hash != entry.digest() {
            return broken(entry.seq, Break::Altered);
        }
        *self = Self { seq: entry.seq, hash: entry.hash };
        Ok(())
    }
}

/// Checks a whole chain from its first entry on; its end is the answer.
///
/// # Errors
/// [`BrokenChain`] for the first entry that is wrong.
pub fn verify<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Head, BrokenChain> {
    entries.into_iter().try_fold(Head::EMPTY, |mut head, entry| head.follow(entry).map(|()| head))
}

fn whole_second(time: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).unwrap_or(time)
}

/// The chain does not hold at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit chain is broken at entry {seq}: {why}")]
pub struct BrokenChain {
    /// The entry that is wrong.
    pub seq: u64,
    /// What is wrong with it.
    pub why: Break,
}

impl BrokenChain {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "audit.broken"
    }
}

/// What is wrong with an entry of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Break {
    /// What it says is not what was hashed.
    #[error("it was altered")]
    Altered,
    /// It is not there, though later ones are.
    #[error("it is missing")]
    Missing,
    /// It comes again, or after later ones.
    #[error("it is not in its place")]
    OutOfOrder,
    /// It was made to follow another entry than the one before it.
    #[error("it does not follow the entry before it")]
    Unlinked,
}

/// Why a text is none of the words of an audit entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Not an action of this version.
    #[error("`{given}` is not an audited action")]
    Action {
        /// What was given.
        given: String,
    },
    /// Not an actor: empty, longer than 256 bytes, or with control characters.
    #[error("`{given}` does not name an actor: 1 to 256 bytes without control characters were expected")]
    Actor {
        /// What was given.
        given: String,
    },
    /// Not an outcome.
    #[error("`{given}` is not an outcome")]
    Outcome {
        /// What was given.
        given: String,
    },
}

impl AuditError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Action { .. } => "audit.action",
            Self::Actor { .. } => "audit.actor",
            Self::Outcome { .. } => "audit.outcome",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn event(target: &str) -> Event {
        Event {
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

    fn chain() -> Vec<Entry> {
        let mut head = Head::EMPTY;
        ["a", "b", "c", "d"].into_iter().map(|target| head.append(event(target))).collect()
    }

    fn break_at(entries: &[Entry]) -> (u64, Break) {
        let broken = verify(entries).unwrap_err();
        (broken.seq, broken.why)
    }

    #[test]
    fn an_untouched_chain_verifies_to_its_head() {
        let entries = chain();
        assert_eq!(entries[0].previous, Sha256([0; 32]));
        assert_eq!(verify(&entries), Ok(Head { seq: 4, hash: entries[3].hash }));
        assert_eq!(verify([]), Ok(Head::EMPTY));
    }

    #[test]
    fn a_change_of_any_field_is_seen() {
        type Change = fn(&mut Entry);
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
                // A field's end can't be moved into its neighbour.
                e.event.target = "certificate.issueb".to_owned();
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut entries = chain();
            change(&mut entries[1]);
            assert_eq!(break_at(&entries), (2, Break::Altered), "change {number}");
        }
    }

    #[test]
    fn a_missing_moved_repeated_or_inserted_entry_is_seen() {
        let mut entries = chain();
        entries.remove(1);
        assert_eq!(break_at(&entries), (2, Break::Missing));

        let mut entries = chain();
        entries.swap(1, 2);
        assert_eq!(break_at(&entries), (2, Break::Missing));

        let mut entries = chain();
        entries.insert(2, entries[1].clone());
        assert_eq!(break_at(&entries), (2, Break::OutOfOrder));

        let mut entries = chain();
        let mut head = Head { seq: 1, hash: entries[0].hash };
        entries[1] = head.append(event("forged"));
        assert_eq!(break_at(&entries), (3, Break::Unlinked), "a well-made forgery shows at its successor");

        let mut entries = chain();
        entries.remove(0);
        assert_eq!(break_at(&entries), (1, Break::Missing));
    }

    #[test]
    fn words_of_actions_are_distinct_and_read_back() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!("certificate.eat".parse::<Action>().unwrap_err().code(), "audit.action");
    }

    #[test]
    fn an_actor_is_bounded_and_printable() {
        assert!("alice (uid 1000) on ops1".parse::<Actor>().is_ok());
        for text in ["", "a\nb", "\u{1b}[2J", &"x".repeat(257)] {
            assert_eq!(text.parse::<Actor>().unwrap_err().code(), "audit.actor");
        }
    }
}
