//! Refused connections, with the reason for the access log.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;

use crate::error::{Code, Coded, with_causes};
use crate::gateway::shared::Shared;
use crate::gateway::telemetry::events::{HandshakeRefused, micros};
use crate::mtls::PeerError;
use crate::mtls::tls::{self, HandshakeFailure, PresentedCertificate};
use crate::x509::{Certificate, Sha256};

/// Refusal of a connection.
#[derive(Debug)]
pub struct Refusal {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) leaf: Option<CertificateDer<'static>>,
    /// Server name in the ClientHello.
    pub(super) server_name: Option<String>,
    /// Set after the ClientHello: the handshake has cost CPU time.
    pub(super) hello_parsed: bool,
    /// Stream to keep open until the client has read the alert.
    pub(super) stream: Option<TcpStream>,
}

impl Refusal {
    /// Refusal for `reason`, with its code and text.
    pub fn of(reason: &dyn Coded) -> Box<Self> {
        Self::new(reason.coded(), reason.to_string())
    }

    /// Refusal with a code and a detail.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Box<Self> {
        let detail = detail.into();
        Box::new(Self { code, detail, leaf: None, server_name: None, hello_parsed: false, stream: None })
    }

    /// Refusal of a failed handshake. An error of the verifier is a better reason than `error` of TLS.
    pub(super) fn failed(error: &io::Error, presented: Option<PresentedCertificate>) -> Box<Self> {
        match &presented {
            Some(PresentedCertificate { result: Err(refusal), .. }) => {
                Self::new(refusal.coded(), with_causes(refusal))
            }
            _ => {
                let (code, detail) = tls::handshake_failure(error);
                Self::new(code, detail)
            }
        }
        .with_certificate_of(presented)
    }

    pub(super) fn with_certificate_of(
        mut self: Box<Self>,
        presented: Option<PresentedCertificate>,
    ) -> Box<Self> {
        self.leaf = presented.map(|presented| presented.leaf);
        self
    }

    pub(super) fn with_server_name(mut self: Box<Self>, server_name: Option<String>) -> Box<Self> {
        self.server_name = server_name;
        self
    }

    pub(super) const fn with_begun(mut self: Box<Self>, hello_parsed: bool) -> Box<Self> {
        self.hello_parsed = hello_parsed;
        self
    }

    pub(super) fn with_alert_on(mut self: Box<Self>, stream: TcpStream) -> Box<Self> {
        self.stream = Some(stream);
        self
    }

    /// True if the client may have left without waiting for an answer, as a health check does.
    pub(super) fn may_be_departure(&self) -> bool {
        self.leaf.is_none() && self.code == PeerError::Missing.coded()
    }

    /// Change the reason to a client that left of its own accord.
    pub(super) fn departed(&mut self) {
        self.code = HandshakeFailure::Closed.coded();
        self.detail = HandshakeFailure::Closed.to_string();
    }

    /// Log the refusal, `duration` after the connection was accepted, with the fields of the certificate. A client that left without showing one is only counted.
    pub fn log(&self, gateway: &Shared, remote: SocketAddr, duration: Duration) {
        if self.leaf.is_none() && HandshakeFailure::DEPARTURES.iter().any(|left| left.coded() == self.code) {
            gateway.telemetry.metrics.handshake_refused(self.code);
            return;
        }
        let certificate = self.leaf.as_ref().and_then(|leaf| Certificate::from_der(leaf).ok());
        let certificate = certificate.as_ref();
        let bounded = |text: String| text.chars().take(1_024).collect();
        gateway.telemetry.handshake_refused(HandshakeRefused {
            remote,
            reason: self.code,
            detail: self.detail.clone(),
            server_name: self.server_name.clone(),
            subject: certificate.map(|certificate| bounded(certificate.subject.to_string())),
            issuer: certificate.map(|certificate| bounded(certificate.issuer.to_string())),
            serial_number: certificate.map(|certificate| certificate.serial_number),
            fingerprint: self.leaf.as_ref().map(|leaf| Sha256::of(leaf)),
            duration_us: micros(duration),
            certificate: self.leaf.clone(),
        });
    }
}
