//! Lines of the access log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset};

use crate::gateway::message::request_id::RequestId;
use crate::gateway::policy::RuleId;
use crate::gateway::sessions::session::Session;
use crate::identity::{Name, Role};
use crate::x509::{KeyIdentifier, SerialNumber, Sha256};

/// The longest text from outside that a line repeats.
pub const LONGEST: usize = 1_024;

/// Why a handshake ended without a connection, and what the other side presented.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakeRefused {
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The stable code of the reason.
    pub reason: &'static str,
    /// The reason in words.
    pub detail: String,
    /// Subject of the certificate that was presented, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who it says issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<SerialNumber>,
    /// SHA-256 of its DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Sha256>,
    /// How long it took.
    pub duration_us: u64,
    /// The certificate itself; the log does without.
    #[serde(skip)]
    pub certificate: Option<CertificateDer<'static>>,
}

/// Microseconds since `begun`.
pub fn micros_since(begun: Instant) -> u64 {
    micros(begun.elapsed())
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
pub(super) struct Timed<T> {
    pub(super) time: Timestamp,
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) fields: T,
}

#[derive(Serialize)]
pub(super) struct RequestLine<'a> {
    pub(super) request_id: RequestId,
    pub(super) session: u64,
    #[serde(flatten)]
    pub(super) caller: CallerFields<'a>,
    pub(super) method: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) decision: &'static str,
    pub(super) rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow_rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow_reason: Option<&'static str>,
    pub(super) upstream: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) reason: Option<&'static str>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) duration_us: u64,
}

/// Refused handshakes that have no line of their own.
#[derive(Serialize)]
pub(super) struct RefusedLine {
    pub(super) count: u64,
    /// How many for which reason.
    pub(super) reasons: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
pub(super) struct CutLine<'a> {
    pub(super) session: u64,
    #[serde(flatten)]
    pub(super) caller: CallerFields<'a>,
    pub(super) reason: &'static str,
    pub(super) delay_us: u64,
}

#[derive(Serialize)]
pub(super) struct MalformedLine<'a> {
    pub(super) session: u64,
    #[serde(flatten)]
    pub(super) caller: CallerFields<'a>,
    pub(super) reason: &'static str,
    pub(super) detail: &'a str,
}

#[derive(Serialize)]
pub(super) struct CallerFields<'a> {
    remote: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<SerialNumber>,
    /// The key that signed its certificate: serial numbers are unique under one key.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<&'a KeyIdentifier>,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
}

impl<'a> CallerFields<'a> {
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
        }
    }
}

/// A rule as it is named to people.
pub(super) struct Rule(pub(super) RuleId);

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time with milliseconds, always three digits of them, so that lines sort as text; RFC 3339, UTC.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub(super) OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.0.to_offset(UtcOffset::UTC);
        let (date, (hour, minute, second, millisecond)) = (time.date(), time.time().as_hms_milli());
        serializer.collect_str(&format_args!("{date}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"))
    }
}

/// Text from outside, bounded; what is dangerous in it is escaped by JSON.
pub(super) fn shortened(text: &str) -> &str {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
