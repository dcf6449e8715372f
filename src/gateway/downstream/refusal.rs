//! Refused connection, with the reason for the access log.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;

use crate::error::{Coded, with_causes};
use crate::gateway::shared::Shared;
use crate::gateway::telemetry::events::{HandshakeRefused, micros_since};
use crate::mtls::tls::{self, PresentedCertificate};
use crate::x509::{Certificate, Sha256};

/// The code of a look at the open port, as load balancers and kubelets take every few seconds. It is counted;
/// a line for each, and a place among the last refused ones, would hide those who wanted to come in.
pub(super) const NOT_BEGUN: &str = "tls.not_begun";

/// Why a connection is not served.
#[derive(Debug)]
pub struct Refusal {
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) leaf: Option<CertificateDer<'static>>,
    /// Whether the handshake had begun to cost something.
    pub(super) begun: bool,
    /// Where the alert has to arrive yet.
    pub(super) stream: Option<TcpStream>,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, detail: detail.into(), leaf: None, begun: false, stream: None })
    }

    /// A handshake that ended with `error`, for which the verifier's verdict is the better reason.
    pub(super) fn failed(error: &io::Error, presented: Option<PresentedCertificate>) -> Box<Self> {
        match &presented {
            Some(PresentedCertificate { result: Err(refusal), .. }) => {
                Self::new(refusal.code(), with_causes(refusal))
            }
            _ => {
                let (code, detail) = tls::handshake_failure(error);
                Self::new(code, detail)
            }
        }
        .of(presented)
    }

    pub(super) fn of(mut self: Box<Self>, presented: Option<PresentedCertificate>) -> Box<Self> {
        self.leaf = presented.map(|presented| presented.leaf);
        self
    }

    pub(super) const fn having(mut self: Box<Self>, begun: bool) -> Box<Self> {
        self.begun = begun;
        self
    }

    pub(super) fn answering(mut self: Box<Self>, stream: TcpStream) -> Box<Self> {
        self.stream = Some(stream);
        self
    }

    /// Tells of it, with what is known of the certificate.
    pub fn log(&self, gateway: &Shared, remote: SocketAddr, begun: Instant) {
        if self.code == NOT_BEGUN {
            gateway.telemetry.metrics.handshake_refused(self.code);
            return;
        }
        gateway.telemetry.handshake_refused(remote, self.code, || {
            let certificate = self.leaf.as_ref().and_then(|leaf| Certificate::from_der(leaf).ok());
            let certificate = certificate.as_ref();
            let bounded = |text: String| text.chars().take(1_024).collect();
            HandshakeRefused {
                remote,
                reason: self.code,
                detail: self.detail.clone(),
                subject: certificate.map(|certificate| bounded(certificate.subject.to_string())),
                issuer: certificate.map(|certificate| bounded(certificate.issuer.to_string())),
                serial_number: certificate.map(|certificate| certificate.serial_number),
                fingerprint: self.leaf.as_ref().map(|leaf| Sha256::of(leaf)),
                duration_us: micros_since(begun),
                certificate: self.leaf.clone(),
            }
        });
    }
}
