//! Sessions that may be resumed (RFC 8446, section 2.2; RFC 5246, section 7.4.1.2), and the judgement
//! that each passes first.
//!
//! rustls resumes whatever its storage hands out and verifies nothing again. So the storage hands out
//! only what would be let in at this moment: the chain is judged by the very verifier that judges full
//! handshakes, and the proof of the key must be recent and made under the same trust anchors, at the same
//! listener. Whoever fails is not resumed but makes a full handshake, where the verifier says why to him and to the log.
//! A session stores when the key was proved, not when it was last resumed: chains of sessions end too.
//!
//! Sessions stay here; a ticket is only a number. Where no certificate was verified, nothing is stored.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::StoresServerSessions;

use crate::clock::Clock;
use crate::gateway::config::Listener;
use crate::gateway::mtls::verifier::{PeerVerifier, Proof};
use crate::secret::Secret;

/// How many sessions are stored; the oldest make room.
const MOST: usize = 16_384;

/// How many bytes they may take together: a caller may send a chain of 64 KiB, and its session has it.
const MOST_BYTES: usize = 64 << 20;

/// The sessions of all states of a process.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Stored>);

#[derive(Default)]
struct Stored {
    sessions: HashMap<Vec<u8>, Arc<Session>>,
    /// In the order in which they came; some are gone.
    numbers: VecDeque<Vec<u8>>,
    /// What the sessions take together.
    bytes: usize,
}

struct Session {
    secrets: Secret,
    listener: Listener,
    proof: Arc<Proof>,
}

impl Session {
    fn bytes(&self) -> usize {
        self.secrets.expose().len() + self.proof.chain.iter().map(|der| der.len()).sum::<usize>()
    }
}

impl Sessions {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn insert(&mut self, number: Vec<u8>, session: Session) {
        let bytes = session.bytes();
        while (self.numbers.len() >= MOST || self.bytes + bytes > MOST_BYTES)
            && let Some(oldest) = self.numbers.pop_front()
        {
            self.remove(&oldest);
        }
        self.bytes += bytes;
        self.numbers.push_back(number.clone());
        if let Some(same) = self.sessions.insert(number, Arc::new(session)) {
            self.bytes -= same.bytes();
        }
    }

    fn remove(&mut self, number: &[u8]) -> Option<Arc<Session>> {
        let session = self.sessions.remove(number)?;
        self.bytes -= session.bytes();
        Some(session)
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sessions", self.sessions.len())
    }
}

/// The sessions as one state sees them.
#[derive(Debug)]
pub struct Resumable {
    /// All of them.
    pub sessions: Arc<Sessions>,
    /// Who judges.
    pub verifier: Arc<PeerVerifier>,
    /// The listener that callers come to.
    pub listener: Listener,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// How old the proof of the key may be.
    pub max_age: Duration,
}

impl Resumable {
    /// The secrets of `session`, if its owner would be let in now.
    fn judge(&self, session: &Session) -> Option<Vec<u8>> {
        let proof = &session.proof;
        let now = self.clock.now();
        let fresh = proof.at <= now && now - proof.at < self.max_age;
        let same = proof.anchors == self.verifier.trust().fingerprint() && session.listener == self.listener;
        if !fresh || !same {
            return None;
        }
        let (leaf, intermediates) = proof.chain.split_first()?;
        self.verifier.judge(leaf, intermediates, self.listener.identity_form, now).ok()?;
        Proof::of_this_handshake(Arc::clone(proof));
        Some(session.secrets.expose().to_vec())
    }
}

impl StoresServerSessions for Resumable {
    fn put(&self, number: Vec<u8>, secrets: Vec<u8>) -> bool {
        let Some(proof) = Proof::made() else { return false };
        let session = Session { secrets: Secret::new(secrets), listener: self.listener, proof };
        self.sessions.stored().insert(number, session);
        true
    }

    fn get(&self, number: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.stored().sessions.get(number).cloned()?;
        self.judge(&session)
    }

    fn take(&self, number: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.stored().remove(number)?;
        self.judge(&session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::gateway::config::ClientCertificate;
    use crate::gateway::mtls::identity_form::{IdentityForm, IssuerRoles};
    use crate::gateway::mtls::verifier::{ListenerVerifier, observing};
    use crate::x509::testing::{Root, client, now};
    use rustls::server::danger::ClientCertVerifier;

    fn resumable(root: &Root, clock: ManualClock, max_age: Duration) -> Resumable {
        let trust_domain = "prod".parse().unwrap();
        let verifier = Arc::new(PeerVerifier::new(root.bundle(), None, trust_domain, IssuerRoles::default()));
        Resumable {
            sessions: Arc::default(),
            verifier,
            listener: listener(1),
            clock: Arc::new(clock),
            max_age,
        }
    }

    fn listener(port: u16) -> Listener {
        Listener {
            address: ([127, 0, 0, 1], port).into(),
            client_certificate: ClientCertificate::default(),
            identity_form: IdentityForm::default(),
        }
    }

    /// Stores a session after a handshake in which a certificate of `root` was verified.
    fn store(resumable: &Resumable, root: &Root, number: &[u8]) -> bool {
        let mut params = client(7);
        params.subject_alt_names =
            vec![rcgen::SanType::URI("spiffe://prod/api-user/alice".try_into().unwrap())];
        let leaf = root.issue(&params);
        let at = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(
            now().unix_timestamp().try_into().unwrap(),
        ));
        let handshake = async {
            let (verifier, listener) = (Arc::clone(&resumable.verifier), resumable.listener);
            ListenerVerifier { verifier, listener }.verify_client_cert(&leaf, &[], at).unwrap();
            resumable.put(number.to_vec(), b"secrets".to_vec())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(observing(handshake)).0
    }

    #[test]
    fn t19_nothing_is_stored_where_no_certificate_was_verified() {
        let root = Root::new("root");
        let resumable = resumable(&root, ManualClock::new(now()), Duration::MAX);
        assert!(!resumable.put(b"1".to_vec(), b"secrets".to_vec()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outside =
            runtime.block_on(observing(async { resumable.put(b"1".to_vec(), b"secrets".to_vec()) }));
        assert!(!outside.0);
        assert_eq!(resumable.get(b"1"), None);
    }

    #[test]
    fn a_ticket_is_taken_once_and_a_session_number_as_long_as_it_lasts() {
        let root = Root::new("root");
        let resumable = resumable(&root, ManualClock::new(now()), Duration::from_secs(1));
        assert!(store(&resumable, &root, b"1"));
        assert_eq!(resumable.get(b"1").unwrap(), b"secrets");
        assert_eq!(resumable.take(b"1").unwrap(), b"secrets");
        assert_eq!((resumable.take(b"1"), resumable.get(b"1")), (None, None));
    }

    #[test]
    fn t18_a_session_is_resumed_at_its_own_listener_only() {
        let root = Root::new("root");
        let here = resumable(&root, ManualClock::new(now()), Duration::MAX);
        store(&here, &root, b"1");
        let sessions = Arc::clone(&here.sessions);
        let (verifier, clock) = (Arc::clone(&here.verifier), Arc::clone(&here.clock));
        let there = Resumable { sessions, verifier, listener: listener(2), clock, max_age: Duration::MAX };
        assert_eq!((there.get(b"1"), here.get(b"1").is_some()), (None, true));
    }

    #[test]
    fn a_proof_that_is_too_old_or_from_the_future_counts_for_nothing() {
        let root = Root::new("root");
        let hour = Duration::from_secs(3_600);
        for (later, resumes) in [(0, true), (3_599, true), (3_600, false), (-1, false)] {
            let clock = ManualClock::new(now() + time::Duration::seconds(later));
            let resumable = resumable(&root, clock, hour);
            store(&resumable, &root, b"1");
            assert_eq!(resumable.get(b"1").is_some(), resumes, "{later}");
        }
    }

    #[test]
    fn old_sessions_make_room() {
        let root = Root::new("root");
        let mut stored = Stored::default();
        let proof = Arc::new(Proof { chain: Vec::new(), at: now(), anchors: root.bundle().fingerprint() });
        for number in 0..MOST + 10 {
            let secrets = Secret::new(Vec::new());
            let session = Session { secrets, listener: listener(1), proof: Arc::clone(&proof) };
            stored.insert(number.to_be_bytes().to_vec(), session);
        }
        assert_eq!((stored.sessions.len(), stored.numbers.len()), (MOST, MOST));
        assert!(!stored.sessions.contains_key(9_usize.to_be_bytes().as_slice()));
        assert!(stored.sessions.contains_key(10_usize.to_be_bytes().as_slice()));
    }

    #[test]
    fn t28_sessions_with_large_chains_take_no_more_memory_than_all_may() {
        let root = Root::new("root");
        let mut stored = Stored::default();
        let proof = Arc::new(Proof { chain: Vec::new(), at: now(), anchors: root.bundle().fingerprint() });
        let session = || Session {
            secrets: Secret::new(vec![0; 64 << 10]),
            listener: listener(1),
            proof: Arc::clone(&proof),
        };
        for number in 0..3_000_usize {
            stored.insert(number.to_be_bytes().to_vec(), session());
            assert!(stored.bytes <= MOST_BYTES);
        }
        assert_eq!((stored.sessions.len(), stored.bytes), (1_024, MOST_BYTES));
        stored.insert(2_999_usize.to_be_bytes().to_vec(), session());
        for number in 0..3_000_usize {
            stored.remove(&number.to_be_bytes());
        }
        assert_eq!((stored.sessions.len(), stored.bytes), (0, 0));
    }
}
