//! The address of a service: host and port.

use std::str::FromStr;

use super::error::ProbeError;
use crate::identity::Host;

/// Where a service listens: `HOST:PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The name or address that callers use, and that its certificate must name.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let malformed = || ProbeError::Endpoint { given: text.escape_debug().take(80).collect() };
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(malformed());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
        Ok(Self { host: bracketed.unwrap_or(host).parse()?, port })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Ip(std::net::IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for text in ["api.example.com:4523", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "api.example.com", "api:", "api:0", "api:65536", "::1:443", "[::1]", "a b:1", "https://a:1"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
