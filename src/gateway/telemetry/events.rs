//! Lines of the access log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::error::Code;
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::json_text::push_time;
use crate::identity::{Name, Role};
use crate::x509::{KeyIdentifier, SerialNumber, Sha256};

/// Maximum length, in characters, of a logged text from a client.
pub const MAX_TEXT_CHARS: usize = 1_024;

/// Refused handshake: reason, and the certificate that the client presented.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakeRefused {
    /// Address of the client.
    pub remote: SocketAddr,
    /// Code of the reason.
    pub reason: Code,
    /// Reason as text.
    pub detail: String,
    /// Server name that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Subject of the certificate, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Issuer that the certificate names, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Serial number of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<SerialNumber>,
    /// SHA-256 of the DER certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Sha256>,
    /// Duration in microseconds.
    pub duration_us: u64,
    /// DER certificate, not logged.
    #[serde(skip)]
    pub certificate: Option<CertificateDer<'static>>,
}

/// Microseconds from `start` to `now`.
pub fn micros_since(start: Instant, now: Instant) -> u64 {
    micros(now.saturating_duration_since(start))
}

/// Whole microseconds, for the log.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Line of the access log.
#[derive(Serialize)]
pub(super) struct LogLine<T> {
    pub(super) time: Timestamp,
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) fields: T,
}

/// Fields of the event `handshakes_refused`: handshakes without a line of their own.
#[derive(Serialize)]
pub(super) struct SuppressedFields {
    pub(super) count: u64,
    /// Number per reason.
    pub(super) reasons: BTreeMap<&'static str, u64>,
}

/// Fields of the event `connection_closed`.
#[derive(Serialize)]
pub(super) struct CutFields<'a> {
    pub(super) session: u64,
    #[serde(flatten)]
    pub(super) client: ClientFields<'a>,
    pub(super) reason: &'static str,
    pub(super) delay_us: u64,
}

/// Fields of the event `request_malformed`.
#[derive(Serialize)]
pub(super) struct MalformedFields<'a> {
    pub(super) session: u64,
    #[serde(flatten)]
    pub(super) client: ClientFields<'a>,
    pub(super) reason: &'static str,
    pub(super) detail: &'a str,
}

/// Fields of the client and its connection.
#[derive(Serialize)]
pub(super) struct ClientFields<'a> {
    remote: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<SerialNumber>,
    /// Key that signed the certificate; serial numbers are unique only per key.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<&'a KeyIdentifier>,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
}

impl<'a> ClientFields<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        let peer = session.peer.as_ref();
        Self {
            remote: session.remote,
            role: peer.map(|peer| peer.identity.role),
            name: peer.map(|peer| &peer.identity.name),
            serial_number: peer.map(|peer| peer.serial_number),
            issuer_key: peer.and_then(|peer| peer.chain.links.first()).map(|link| &link.issuer),
            tls_version: session.tls_version,
            alpn: session.protocol.as_str(),
            resumed: session.resumed,
            server_name: session.server_name.as_deref(),
        }
    }
}

/// RFC 3339 time in UTC, always with three digits of milliseconds, so that lines sort as text.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub(super) OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(24);
        push_time(&mut text, self.0);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Truncate a text from a client to [`MAX_TEXT_CHARS`]. JSON escapes its control characters.
pub(super) fn truncated(text: &str) -> &str {
    if text.len() <= MAX_TEXT_CHARS {
        return text;
    }
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
