//! How a connection ended.

use std::io;

use rustls::Error;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The server sent a fatal alert: its number (RFC 8446, section 6).
    Alert(u8),
    /// The server closed the connection without a word.
    Closed,
    /// The server answered a request with this status.
    Answered(u16),
    /// The server could not prove that it has the key of its certificate, or broke the protocol otherwise.
    Broken(String),
    /// What answered does not speak TLS.
    NotTls,
    /// The server accepted the connection and said nothing more.
    Open,
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

impl End {
    /// How a connection ended that ended with this error, after or before the server `has_shown` a
    /// certificate.
    #[must_use]
    pub fn of(error: &io::Error, has_shown: bool) -> Self {
        match cause(error) {
            Some(Error::AlertReceived(alert)) => Self::Alert(u8::from(*alert)),
            // Garbage before any certificate is another protocol; after it, it is a broken server.
            Some(Error::InvalidMessage(_)) if !has_shown => Self::NotTls,
            Some(other) => Self::Broken(other.to_string()),
            None => Self::Closed,
        }
    }
}
