//! Failed handshakes as stable codes.

use std::io;

use rustls::{AlertDescription, Error};

use crate::error::{Code, Coded};
use crate::mtls::error::PeerError;

/// Reason for which a connection ended before it had a session, other than the certificate of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// Alert that says nothing about the certificate of the server (RFC 8446, section 6).
    #[error("the client sent an alert")]
    AlertReceived,
    /// FIN or reset after the ClientHello, by a client that has shown no certificate and reads no alert: a health
    /// check over TLS, a scanner, or a browser whose user chose no certificate.
    #[error("the client closed the connection without a certificate")]
    Closed,
    /// I/O error other than a close, such as a timeout of TCP.
    #[error("the connection failed")]
    Connection,
    /// Error of the TLS library that no other reason describes.
    #[error("the handshake failed")]
    Failed,
    /// No common protocol version, cipher suite, group or signature scheme.
    #[error("the client offers nothing that the server accepts")]
    Incompatible,
    /// A reload removed the address while the connection waited in the queue of the kernel.
    #[error("the configuration no longer has this listener")]
    ListenerRemoved,
    /// Bytes that are no TLS, or a message that cannot be decoded.
    #[error("the client sent bytes that are no TLS message")]
    Malformed,
    /// Message that is well-formed and breaks the protocol.
    #[error("the client broke the TLS protocol")]
    Misbehaved,
    /// FIN or reset before a whole ClientHello: a TCP check by a balancer or kubelet.
    #[error("the client closed the connection before the handshake began")]
    NotBegun,
    /// HTTP without TLS.
    #[error("the client speaks plain HTTP")]
    PlainHttp,
    /// Signature of the client that its certificate does not verify.
    #[error("the client does not prove that it has the key of its certificate")]
    Proof,
    /// Alert `unknown_ca` or `bad_certificate`: the client does not trust the certificate of the server.
    #[error("the client does not accept the server's certificate")]
    ServerCertificateRefused,
    /// `limits.handshake_timeout` is over.
    #[error("the handshake took too long")]
    Timeout,
    /// Server name that the certificate does not have, answered by `unrecognized_name` (RFC 6066, section 3).
    #[error("the server's certificate does not have the requested server name")]
    UnknownServerName,
}

impl HandshakeFailure {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 14] = [
        Self::Proof,
        Self::ListenerRemoved,
        Self::AlertReceived,
        Self::Closed,
        Self::Connection,
        Self::Failed,
        Self::Incompatible,
        Self::Malformed,
        Self::Misbehaved,
        Self::NotBegun,
        Self::PlainHttp,
        Self::ServerCertificateRefused,
        Self::Timeout,
        Self::UnknownServerName,
    ];

    /// Reasons of a client that left of its own accord. Probes do so all the time; a line for each would bury the
    /// refusals of clients that wanted something.
    pub const DEPARTURES: [Self; 2] = [Self::Closed, Self::NotBegun];
}

impl Coded for HandshakeFailure {
    fn coded(&self) -> Code {
        match self {
            Self::AlertReceived => Code::refused("tls.alert_received"),
            Self::Closed => Code::refused("tls.closed"),
            Self::Connection => Code::unavailable("tls.connection"),
            Self::Failed => Code::refused("tls.failed"),
            Self::Incompatible => Code::refused("tls.incompatible"),
            Self::ListenerRemoved => Code::refused("connection.listener_removed"),
            Self::Malformed => Code::refused("tls.malformed"),
            Self::Misbehaved => Code::refused("tls.misbehaved"),
            Self::NotBegun => Code::refused("tls.not_begun"),
            Self::PlainHttp => Code::refused("tls.plain_http"),
            Self::ServerCertificateRefused => Code::refused("tls.server_certificate_refused"),
            Self::Proof => Code::refused("certificate.proof"),
            Self::Timeout => Code::unavailable("tls.timeout"),
            Self::UnknownServerName => Code::refused("tls.unknown_server_name"),
        }
    }
}

/// Code and text for a handshake that failed for another reason than the verification of the client's certificate.
#[must_use]
pub fn handshake_failure(error: &io::Error) -> (Code, String) {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                (HandshakeFailure::Closed.coded(), HandshakeFailure::Closed.to_string())
            }
            _ => (HandshakeFailure::Connection.coded(), error.to_string()),
        };
    };
    let failure = match cause {
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            HandshakeFailure::ServerCertificateRefused
        }
        Error::AlertReceived(_) => HandshakeFailure::AlertReceived,
        // rustls says so when our certificate resolver returns none, which has this reason only.
        Error::General(text) if text == "no server certificate chain resolved" => {
            let failure = HandshakeFailure::UnknownServerName;
            return (failure.coded(), failure.to_string());
        }
        Error::InvalidMessage(_) => HandshakeFailure::Malformed,
        Error::NoCertificatesPresented => return (PeerError::Missing.coded(), cause.to_string()),
        Error::PeerIncompatible(_) => HandshakeFailure::Incompatible,
        Error::PeerMisbehaved(_) => HandshakeFailure::Misbehaved,
        Error::InvalidCertificate(_) => HandshakeFailure::Proof,
        _ => HandshakeFailure::Failed,
    };
    (failure.coded(), cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_documented() {
        let guide = include_str!("../../guide/access-log.md");
        let mut codes = HandshakeFailure::ALL.map(|failure| failure.code());
        assert!(codes.is_sorted(), "{codes:?}");
        for code in codes {
            assert_eq!(guide.matches(&format!("| `{code}` |")).count(), 1, "{code}");
        }
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
    }

    #[test]
    fn a_client_that_leaves_is_no_error_of_the_network() {
        for (kind, failure) in [
            (io::ErrorKind::UnexpectedEof, HandshakeFailure::Closed),
            (io::ErrorKind::ConnectionReset, HandshakeFailure::Closed),
            (io::ErrorKind::BrokenPipe, HandshakeFailure::Closed),
            (io::ErrorKind::TimedOut, HandshakeFailure::Connection),
        ] {
            assert_eq!(handshake_failure(&kind.into()).0, failure.coded(), "{kind}");
        }
    }
}
