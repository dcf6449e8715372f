//! Session resumption (RFC 8446, section 2.2; RFC 5246, section 7.4.1.2), verified before it happens.
//!
//! rustls resumes every session that its storage returns and verifies nothing again. So the storage returns a session
//! only if its client would be accepted now: the chain is verified by the verifier of full handshakes, and the proof of
//! possession must be recent, from the same listener, and made under the same trust bundle. Otherwise the client makes
//! a full handshake, which gives it and the log the reason of a refusal.
//!
//! A session keeps the time of its full handshake, not of the last resumption: a chain of resumptions ends too.
//! Sessions never leave this process; a ticket is only a number. Without a verified certificate, nothing is stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::StoresServerSessions;

use super::observed::KeyProof;
use crate::clock::Clock;
use crate::mtls::listener::Listener;
use crate::mtls::verifier::PeerVerifier;
use crate::secret::Secret;

/// Most stored sessions, used ones not counted. The oldest are dropped first.
const MAX_SESSIONS: usize = 16_384;

/// Most bytes of all sessions: a client may send a chain of 64 KiB, which its session keeps.
const MAX_BYTES: usize = 64 << 20;

/// Sessions of a process, kept across reloads.
#[derive(Debug, Default)]
pub struct ResumptionStore(Mutex<SessionTable>);

#[derive(Default)]
struct SessionTable {
    sessions: HashMap<Vec<u8>, (u64, Arc<StoredSession>)>,
    /// Number of each session, in the order of storing.
    order: BTreeMap<u64, Vec<u8>>,
    /// Position of the next session in that order.
    next: u64,
    /// Sum of [`StoredSession::bytes`].
    bytes: usize,
}

struct StoredSession {
    secrets: Secret,
    listener: Listener,
    proof: Arc<KeyProof>,
}

impl StoredSession {
    fn bytes(&self) -> usize {
        self.secrets.expose().len() + self.proof.chain.iter().map(|der| der.len()).sum::<usize>()
    }
}

impl ResumptionStore {
    fn stored(&self) -> MutexGuard<'_, SessionTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionTable {
    fn insert(&mut self, number: Vec<u8>, session: StoredSession) {
        self.remove(&number);
        let bytes = session.bytes();
        while (self.order.len() >= MAX_SESSIONS || self.bytes + bytes > MAX_BYTES)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
        }
        self.bytes += bytes;
        self.order.insert(self.next, number.clone());
        self.sessions.insert(number, (self.next, Arc::new(session)));
        self.next += 1;
    }

    fn get(&self, number: &[u8]) -> Option<Arc<StoredSession>> {
        self.sessions.get(number).map(|(_, session)| Arc::clone(session))
    }

    fn remove(&mut self, number: &[u8]) -> Option<Arc<StoredSession>> {
        let (position, session) = self.sessions.remove(number)?;
        self.order.remove(&position);
        self.bytes -= session.bytes();
        Some(session)
    }
}

impl std::fmt::Debug for SessionTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sessions", self.sessions.len())
    }
}

/// Session storage of one listener for rustls, under one state.
#[derive(Debug)]
pub struct VerifiedResumption {
    /// Shared store.
    pub sessions: Arc<ResumptionStore>,
    /// Verifier of the state.
    pub verifier: Arc<PeerVerifier>,
    /// Listener that the client connects to.
    pub listener: Listener,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Longest time since the full handshake.
    pub max_age: Duration,
}

impl VerifiedResumption {
    /// Secrets of `session`, if its client would be accepted now.
    fn verify(&self, session: &StoredSession) -> Option<Vec<u8>> {
        let proof = &session.proof;
        let now = self.clock.now();
        let fresh = proof.at <= now && now - proof.at < self.max_age;
        let same = proof.anchors == self.verifier.trust().fingerprint() && session.listener == self.listener;
        if !fresh || !same {
            return None;
        }
        let (leaf, extra_certs) = proof.chain.split_first()?;
        self.verifier.verify_client(leaf, extra_certs, self.listener.identity_form, now).ok()?;
        KeyProof::set_for_handshake(Arc::clone(proof));
        Some(session.secrets.expose().to_vec())
    }
}

impl StoresServerSessions for VerifiedResumption {
    fn put(&self, number: Vec<u8>, secrets: Vec<u8>) -> bool {
        let Some(proof) = KeyProof::of_handshake() else { return false };
        let session = StoredSession { secrets: Secret::new(secrets), listener: self.listener, proof };
        self.sessions.stored().insert(number, session);
        true
    }

    fn get(&self, number: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.stored().get(number)?;
        self.verify(&session)
    }

    fn take(&self, number: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.stored().remove(number)?;
        self.verify(&session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::mtls::identity_form::{IdentityForm, IssuerRoles};
    use crate::mtls::listener::ClientCertificate;
    use crate::mtls::tls::client_verifier::ClientVerifier;
    use crate::mtls::tls::observed::observe;
    use crate::x509::testing::{Root, client, now};
    use rustls::server::danger::ClientCertVerifier;

    fn resumable(root: &Root, clock: ManualClock, max_age: Duration) -> VerifiedResumption {
        let trust_domain = "prod".parse().unwrap();
        let verifier = Arc::new(PeerVerifier::new(root.bundle(), None, trust_domain, IssuerRoles::default()));
        VerifiedResumption {
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

    /// Store a session after a handshake in which a certificate of `root` was verified.
    fn store(resumable: &VerifiedResumption, root: &Root, number: &[u8]) -> bool {
        let mut params = client(7);
        params.subject_alt_names =
            vec![rcgen::SanType::URI("spiffe://prod/api-user/alice".try_into().unwrap())];
        let leaf = root.issue(&params);
        let at = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(
            now().unix_timestamp().try_into().unwrap(),
        ));
        let handshake = async {
            let (verifier, listener) = (Arc::clone(&resumable.verifier), resumable.listener);
            ClientVerifier::new(verifier, listener).verify_client_cert(&leaf, &[], at).unwrap();
            resumable.put(number.to_vec(), b"secrets".to_vec())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(observe(handshake)).0
    }

    #[test]
    fn t19_nothing_is_stored_where_no_certificate_was_verified() {
        let root = Root::new("root");
        let resumable = resumable(&root, ManualClock::new(now()), Duration::MAX);
        assert!(!resumable.put(b"1".to_vec(), b"secrets".to_vec()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outside = runtime.block_on(observe(async { resumable.put(b"1".to_vec(), b"secrets".to_vec()) }));
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
        let there =
            VerifiedResumption { sessions, verifier, listener: listener(2), clock, max_age: Duration::MAX };
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
        let mut stored = SessionTable::default();
        let proof = Arc::new(KeyProof { chain: Vec::new(), at: now(), anchors: root.bundle().fingerprint() });
        for number in 0..MAX_SESSIONS + 10 {
            let secrets = Secret::new(Vec::new());
            let session = StoredSession { secrets, listener: listener(1), proof: Arc::clone(&proof) };
            stored.insert(number.to_be_bytes().to_vec(), session);
        }
        assert_eq!((stored.sessions.len(), stored.order.len()), (MAX_SESSIONS, MAX_SESSIONS));
        assert!(!stored.sessions.contains_key(9_usize.to_be_bytes().as_slice()));
        assert!(stored.sessions.contains_key(10_usize.to_be_bytes().as_slice()));
    }

    // A ticket of TLS 1.3 is used once, and replaced by the resumption.
    #[test]
    fn busy_clients_that_resume_do_not_displace_the_session_of_an_idle_one() {
        let root = Root::new("root");
        let mut stored = SessionTable::default();
        let proof = Arc::new(KeyProof { chain: Vec::new(), at: now(), anchors: root.bundle().fingerprint() });
        let store = |stored: &mut SessionTable, number: usize| {
            let secrets = Secret::new(Vec::new());
            let session = StoredSession { secrets, listener: listener(1), proof: Arc::clone(&proof) };
            stored.insert(number.to_be_bytes().to_vec(), session);
        };
        const BUSY: usize = 16;
        (0..=BUSY).for_each(|number| store(&mut stored, number));
        for number in BUSY + 1..4 * MAX_SESSIONS {
            assert!(stored.remove(&(number - BUSY).to_be_bytes()).is_some());
            store(&mut stored, number);
        }
        assert!(stored.get(&0_usize.to_be_bytes()).is_some());
        assert_eq!((stored.sessions.len(), stored.order.len()), (BUSY + 1, BUSY + 1));
    }

    #[test]
    fn t28_sessions_with_large_chains_take_no_more_memory_than_all_may() {
        let root = Root::new("root");
        let mut stored = SessionTable::default();
        let proof = Arc::new(KeyProof { chain: Vec::new(), at: now(), anchors: root.bundle().fingerprint() });
        let session = || StoredSession {
            secrets: Secret::new(vec![0; 64 << 10]),
            listener: listener(1),
            proof: Arc::clone(&proof),
        };
        for number in 0..3_000_usize {
            stored.insert(number.to_be_bytes().to_vec(), session());
            assert!(stored.bytes <= MAX_BYTES);
        }
        assert_eq!((stored.sessions.len(), stored.bytes), (1_024, MAX_BYTES));
        stored.insert(2_999_usize.to_be_bytes().to_vec(), session());
        for number in 0..3_000_usize {
            stored.remove(&number.to_be_bytes());
        }
        assert_eq!((stored.sessions.len(), stored.bytes), (0, 0));
    }
}
