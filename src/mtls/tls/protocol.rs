//! Protocols agreed in a handshake.

use rustls::{ProtocolVersion, ServerConnection};

/// ALPN identifier of HTTP/2 (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// ALPN identifier of HTTP/1.1 (RFC 7301, section 6).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// Application protocol agreed by ALPN; HTTP/1.1 for a client without ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Protocol {
    /// Protocol agreed on `connection`.
    #[must_use]
    pub fn of(connection: &ServerConnection) -> Self {
        if connection.alpn_protocol() == Some(H2) { Self::Http2 } else { Self::Http1 }
    }

    /// ALPN identifier.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// TLS version agreed on `connection`: `1.2` or `1.3`.
#[must_use]
pub fn version(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "unknown",
    }
}
