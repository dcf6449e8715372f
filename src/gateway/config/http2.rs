//! Flow control of HTTP/2 in the configuration.

use super::error::ConfigError;
use crate::yaml::reader::{Fields, Item};
use crate::yaml::values::{count, size};

/// Streams and flow-control windows of an HTTP/2 connection (RFC 9113, section 5.2).
///
/// A stream holds back at most its window while its upstream does not read. The window of the connection is larger
/// than what all streams can hold back, so that no upload waits for another. An identity holds back at most its limit
/// of requests in flight times the window of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Windows {
    /// Concurrent requests.
    pub streams: u32,
    /// Most bytes that a stream holds back.
    pub stream: u32,
    /// Most bytes that the connection holds back.
    pub connection: u32,
}

impl Default for Http2Windows {
    fn default() -> Self {
        Self { streams: 128, stream: 128 << 10, connection: 129 * (128 << 10) }
    }
}

impl Http2Windows {
    /// Largest window (RFC 9113, section 6.9.1).
    const MAX_WINDOW: u64 = (1 << 31) - 1;
    const MAX_STREAMS: usize = 1_000;
    const STREAM_WINDOW: std::ops::RangeInclusive<u64> = 16 << 10..=16 << 20;

    /// Read the given values; `None` if one is wrong. The window of the connection has room for one stream more
    /// than it has, if it is not given.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let mut windows = Self::default();
        let streams = fields.optional("http2_streams");
        let stream = fields.optional("http2_stream_window");
        let connection = fields.optional("http2_connection_window");
        if let Some(item) = &streams {
            let within = count(item)?;
            windows.streams =
                or_report(item, within <= Self::MAX_STREAMS, within, ConfigError::Http2Streams)?;
        }
        if let Some(item) = &stream {
            let bytes = size(item)?;
            let fits = Self::STREAM_WINDOW.contains(&bytes);
            windows.stream = or_report(item, fits, bytes, ConfigError::Http2StreamWindow)?;
        }
        let held_back = u64::from(windows.streams) * u64::from(windows.stream);
        if let Some(item) = &connection {
            let bytes = size(item)?;
            let fits = bytes > held_back && bytes <= Self::MAX_WINDOW;
            windows.connection =
                or_report(item, fits, bytes, ConfigError::Http2ConnectionWindow { held_back })?;
        } else if let Some(item) = stream.as_ref().or(streams.as_ref()) {
            let bytes = held_back + u64::from(windows.stream);
            windows.connection =
                or_report(item, bytes <= Self::MAX_WINDOW, bytes, ConfigError::Http2Windows { held_back })?;
        }
        Some(windows)
    }
}

/// Return `value`, or report `error` unless it `fits`.
fn or_report<T>(item: &Item<'_>, fits: bool, value: T, error: ConfigError) -> Option<u32>
where
    u32: TryFrom<T>,
{
    let value = u32::try_from(value).ok().filter(|_| fits);
    if value.is_none() {
        item.report(error);
    }
    value
}
