//! Outcome of a TLS connection.

use std::io;

use rustls::Error;

/// End of a connection as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionOutcome {
    /// The server accepted the connection and sent nothing more.
    Accepted,
    /// The server sent a fatal alert with this number (RFC 8446, section 6).
    Alert(u8),
    /// The server closed the connection without an alert.
    Closed,
    /// The peer does not speak TLS.
    NotTls,
    /// The server violated TLS, or failed to prove possession of its private key.
    ProtocolError(String),
    /// The server answered an HTTP request with this status.
    Responded(u16),
}

impl ConnectionOutcome {
    /// The outcome of a connection that failed with `error`; `saw_certificate` says whether the server
    /// had presented a certificate before.
    #[must_use]
    pub fn of_error(error: &io::Error, saw_certificate: bool) -> Self {
        match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
            Some(Error::AlertReceived(alert)) => Self::Alert(u8::from(*alert)),
            // Invalid bytes before the certificate mean another protocol, after it a broken server.
            Some(Error::InvalidMessage(_)) if !saw_certificate => Self::NotTls,
            Some(other) => Self::ProtocolError(other.to_string()),
            None => Self::Closed,
        }
    }
}
