//! Observation of a handshake: the presented certificate, the verification result, and the proof for resumption.
//!
//! rustls calls the verifier from within the poll of the handshake's future, tells it nothing about the connection,
//! and forgets a refused certificate. Task-local variables carry what the verifier saw to the code that awaits the
//! handshake.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::mtls::error::PeerError;
use crate::mtls::peer::Peer;
use crate::x509::Sha256;

tokio::task_local! {
    /// Proof that the sessions of this handshake will rest on.
    static PROOF: RefCell<Option<Arc<KeyProof>>>;

    /// True if the ClientHello of this handshake was parsed.
    static HELLO_PARSED: Cell<bool>;

    /// Certificate that was presented in this handshake.
    static PRESENTED: RefCell<Option<PresentedCertificate>>;
}

/// Certificate that a client presented, with the verification result.
#[derive(Debug)]
pub struct PresentedCertificate {
    /// DER of the leaf, as received.
    pub leaf: CertificateDer<'static>,
    /// Verification result.
    pub result: Result<Arc<Peer>, PeerError>,
}

impl PresentedCertificate {
    /// Set the certificate of the handshake that is being polled. Outside of [`observe`], it is dropped.
    pub(super) fn set_for_handshake(self) {
        let _ = PRESENTED.try_with(|presented| presented.replace(Some(self)));
    }
}

/// Proof of possession of a certificate's key, made in a full handshake and stored with the sessions that follow.
#[derive(Debug)]
pub struct KeyProof {
    /// DER of the verified chain, the leaf first, without the trust anchor and without other certificates sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// Time of the full handshake.
    pub at: OffsetDateTime,
    /// Fingerprint of the trust bundle that the chain was verified with.
    pub anchors: Sha256,
}

impl KeyProof {
    /// Set the proof of the handshake that is being polled.
    pub fn set_for_handshake(proof: Arc<Self>) {
        let _ = PROOF.try_with(|made| made.replace(Some(proof)));
    }

    /// Proof of the handshake that is being polled, once there is one.
    #[must_use]
    pub fn of_handshake() -> Option<Arc<Self>> {
        PROOF.try_with(|made| made.borrow().clone()).ok().flatten()
    }
}

/// Observation of one handshake, whether it succeeded or not.
#[derive(Debug)]
pub struct HandshakeObservation {
    /// Certificate that the client presented.
    pub presented: Option<PresentedCertificate>,
    /// True once the ClientHello was parsed. From then on a handshake costs signatures.
    pub hello_parsed: bool,
}

/// Run a handshake and return its output with the observation.
pub async fn observe<T>(handshake: impl Future<Output = T>) -> (T, HandshakeObservation) {
    let observed = async {
        let output = handshake.await;
        let (presented, hello_parsed) = (PRESENTED.with(RefCell::take), HELLO_PARSED.with(Cell::get));
        (output, HandshakeObservation { presented, hello_parsed })
    };
    let observed = PRESENTED.scope(RefCell::default(), HELLO_PARSED.scope(Cell::new(false), observed));
    PROOF.scope(RefCell::default(), observed).await
}

/// Record that the ClientHello of the handshake that is being polled was parsed.
pub(super) fn client_hello_parsed() {
    let _ = HELLO_PARSED.try_with(|parsed| parsed.set(true));
}
