//! Limits and timeouts of the gateway, of each identity, address and upstream, and of each request.

use std::time::Duration;

use super::error::ConfigError;
use super::http2::Http2Windows;
use super::schema;
use crate::serving::per_address::AddressQuotas;
use crate::yaml::reader::Item;
use crate::yaml::values::{count, duration, size};

/// Limits and timeouts. The defaults are safe on a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Open connections of one identity.
    pub connections_per_identity: usize,
    /// Requests of one identity in flight to upstreams, over all of its connections.
    pub requests_per_identity: usize,
    /// Connections to one upstream, idle ones included.
    pub connections_per_upstream: usize,
    /// Open connections of one address (IPv6: of one /64), handshakes included.
    pub connections_per_address: usize,
    /// Handshakes of one address in progress.
    pub handshakes_per_address: usize,
    /// Failed handshakes of one address within a minute.
    pub failed_handshakes_per_address: usize,
    /// From accepting a connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its header.
    pub header_timeout: Duration,
    /// Longest time of a connection without a request.
    pub idle_timeout: Duration,
    /// Longest time of a response that the client does not read.
    pub stall_timeout: Duration,
    /// Longest time of a WebSocket without traffic.
    pub tunnel_timeout: Duration,
    /// Time for requests in flight after SIGTERM.
    pub drain_timeout: Duration,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub request_body: u64,
    /// Flow control of HTTP/2.
    pub http2: Http2Windows,
}

impl Limits {
    /// Limits of one address.
    #[must_use]
    pub const fn per_address(&self) -> AddressQuotas {
        AddressQuotas {
            connections: self.connections_per_address,
            handshakes: self.handshakes_per_address,
            failed_handshakes: self.failed_handshakes_per_address,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_identity: 1_000,
            requests_per_identity: 1_000,
            connections_per_upstream: 5_000,
            connections_per_address: 2_500,
            handshakes_per_address: 512,
            failed_handshakes_per_address: 3_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(300),
            tunnel_timeout: Duration::from_secs(3_600),
            drain_timeout: Duration::from_secs(30),
            header_bytes: 32 << 10,
            request_body: 64 << 20,
            http2: Http2Windows::default(),
        }
    }
}

impl Limits {
    /// Bounds: hyper needs the lower one to read a request line; no sensible header exceeds the upper one.
    const HEADER_BYTES: std::ops::RangeInclusive<u64> = 8 << 10..=1 << 20;

    /// Read the given limits; the others keep their defaults.
    pub(super) fn read(item: &Item<'_>) -> Self {
        let mut limits = Self::default();
        let Some(mut fields) = item.fields(&schema::LIMITS) else { return limits };
        for (limit, key) in [
            (&mut limits.connections, "connections"),
            (&mut limits.connections_per_identity, "connections_per_identity"),
            (&mut limits.requests_per_identity, "requests_per_identity"),
            (&mut limits.connections_per_upstream, "connections_per_upstream"),
            (&mut limits.connections_per_address, "connections_per_address"),
            (&mut limits.handshakes_per_address, "handshakes_per_address"),
            (&mut limits.failed_handshakes_per_address, "failed_handshakes_per_address"),
        ] {
            set(limit, fields.optional(key).and_then(|item| count(&item)));
        }
        for (limit, key) in [
            (&mut limits.handshake_timeout, "handshake_timeout"),
            (&mut limits.header_timeout, "header_timeout"),
            (&mut limits.idle_timeout, "idle_timeout"),
            (&mut limits.stall_timeout, "stall_timeout"),
            (&mut limits.tunnel_timeout, "tunnel_timeout"),
            (&mut limits.drain_timeout, "drain_timeout"),
        ] {
            set(limit, fields.optional(key).and_then(|item| duration(&item)));
        }
        if let Some(item) = fields.optional("header_bytes")
            && let Some(bytes) = size(&item)
        {
            match usize::try_from(bytes) {
                Ok(fits) if Self::HEADER_BYTES.contains(&bytes) => limits.header_bytes = fits,
                _ => item.report(ConfigError::HeaderBytes),
            }
        }
        set(&mut limits.request_body, fields.optional("request_body").and_then(|item| size(&item)));
        set(&mut limits.http2, Http2Windows::read(&mut fields));
        fields.finish();
        limits
    }
}

fn set<T>(limit: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *limit = given;
    }
}
