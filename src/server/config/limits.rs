//! Limits and timeouts of the server.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ServerConfigError;
use super::schema;
use crate::serving::per_address::AddressQuotas;
use crate::yaml::reader::{Fields, Item};
use crate::yaml::values::{count, duration, size};

/// Limits and timeouts. The defaults are safe on a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Limits of one address (IPv6: of one /64).
    pub per_address: AddressQuotas,
    /// From accepting a connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// From the header of a request to its response.
    pub request_timeout: Duration,
    /// Longest time of a connection without a request whose header is complete.
    pub idle_timeout: Duration,
    /// Time for requests in flight after SIGTERM.
    pub drain_timeout: Duration,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub request_body: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            per_address: AddressQuotas { connections: 200, handshakes: 64, failed_handshakes: 600 },
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            header_bytes: 64 << 10,
            request_body: 1 << 20,
        }
    }
}

impl ServerLimits {
    /// Read the given limits; the others keep their defaults.
    pub(super) fn read(item: &Item<'_>) -> Self {
        let mut limits = Self::default();
        let Some(mut fields) = item.fields(&schema::LIMITS) else { return limits };
        let AddressQuotas { connections, handshakes, failed_handshakes } = &mut limits.per_address;
        for (limit, key) in [
            (&mut limits.connections, "connections"),
            (connections, "connections_per_address"),
            (handshakes, "handshakes_per_address"),
            (failed_handshakes, "failed_handshakes_per_address"),
        ] {
            set(limit, fields.optional(key).and_then(|item| count(&item)));
        }
        for (limit, key) in [
            (&mut limits.handshake_timeout, "handshake_timeout"),
            (&mut limits.request_timeout, "request_timeout"),
            (&mut limits.idle_timeout, "idle_timeout"),
            (&mut limits.drain_timeout, "drain_timeout"),
        ] {
            set(limit, fields.optional(key).and_then(|item| timeout(&item)));
        }
        let header = (8 << 10)..=(1 << 20);
        set(
            &mut limits.header_bytes,
            bytes(&mut fields, "header_bytes", header, ServerConfigError::HeaderBytes),
        );
        let body = (1 << 10)..=(16 << 20);
        set(&mut limits.request_body, bytes(&mut fields, "request_body", body, ServerConfigError::BodyBytes));
        fields.finish();
        limits
    }
}

/// Read a duration of a second or more: a shorter one would refuse every client.
fn timeout(item: &Item<'_>) -> Option<Duration> {
    let timeout = duration(item)?;
    if timeout < Duration::from_secs(1) {
        item.report(ServerConfigError::TooShort);
        return None;
    }
    Some(timeout)
}

fn bytes(
    fields: &mut Fields<'_>,
    key: &'static str,
    allowed: RangeInclusive<usize>,
    otherwise: ServerConfigError,
) -> Option<usize> {
    let item = fields.optional(key)?;
    match usize::try_from(size(&item)?) {
        Ok(bytes) if allowed.contains(&bytes) => Some(bytes),
        _ => {
            item.report(otherwise);
            None
        }
    }
}

fn set<T>(limit: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *limit = given;
    }
}
