//! Settings of upstreams.

use std::time::Duration;

use http::HeaderValue;

use super::error::ConfigError;
use super::schema;
use crate::gateway::message::framing::RequestHost;
use crate::yaml::reader::Item;
use crate::yaml::values::duration;

/// Settings of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Name by which routes refer to it.
    pub name: String,
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port, 80 by default.
    pub port: u16,
    /// Timeouts, and limits of responses.
    pub limits: UpstreamLimits,
}

/// Timeouts for connecting and for the response, and the limit of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Time to establish a connection.
    pub connect: Duration,
    /// Time from the last byte of the request to the start of the response.
    pub response: Duration,
    /// Longest silence in the body of a response; `None` for no limit.
    pub body: Option<Duration>,
    /// Most header fields of a response.
    pub response_fields: usize,
}

impl UpstreamLimits {
    /// Default of [`UpstreamLimits::connect`].
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Default of [`UpstreamLimits::response`].
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
    /// Default of [`UpstreamLimits::response_fields`].
    pub const RESPONSE_FIELDS: usize = 100;
}

pub(super) fn upstream((name, item): &(&str, Item<'_>)) -> Option<UpstreamSettings> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        item.report(ConfigError::UpstreamName);
    }
    let mut fields = item.fields(&schema::UPSTREAM)?;
    let url = fields.required("url").and_then(|item| item.read(url));
    let mut timeout = |key, default| match fields.optional(key) {
        Some(item) => duration(&item),
        None => Some(default),
    };
    let connect_timeout = timeout("connect_timeout", UpstreamLimits::CONNECT_TIMEOUT);
    let response_timeout = timeout("response_timeout", UpstreamLimits::RESPONSE_TIMEOUT);
    let body_timeout = match fields.optional("body_timeout") {
        Some(item) => duration(&item).map(Some),
        None => Some(None),
    };
    let response_fields = match fields.optional("response_fields") {
        Some(item) => response_fields(&item),
        None => Some(UpstreamLimits::RESPONSE_FIELDS),
    };
    fields.finish();
    let (host, port) = url?;
    Some(UpstreamSettings {
        name: (*name).to_owned(),
        host,
        port,
        limits: UpstreamLimits {
            connect: connect_timeout?,
            response: response_timeout?,
            body: body_timeout?,
            response_fields: response_fields?,
        },
    })
}

/// Read a number of header fields, 1 to 10000; a header map holds no more than 32768.
fn response_fields(item: &Item<'_>) -> Option<usize> {
    match usize::try_from(item.number()?) {
        Ok(count) if (1..=10_000).contains(&count) => Some(count),
        _ => {
            item.report(ConfigError::ResponseFields);
            None
        }
    }
}

/// Parse host and port of `http://HOST:PORT`.
fn url(text: &str) -> Result<(String, u16), ConfigError> {
    let wrong = || ConfigError::Url { given: text.to_owned() };
    if text.starts_with("https://") {
        return Err(ConfigError::UrlScheme);
    }
    let authority = text.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let value = HeaderValue::from_str(authority).map_err(|_| wrong())?;
    let host = RequestHost::parse(&value).map_err(|_| wrong())?;
    let port = host.port().unwrap_or(80);
    if port == 0 {
        return Err(wrong());
    }
    Ok((host.name().trim_matches(['[', ']']).to_owned(), port))
}
