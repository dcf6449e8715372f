//! Address of a service: host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Code, Coded, excerpt};
use crate::identity::{Host, IdentityError};

/// Address of a service as `HOST:PORT` or `https://HOST[:PORT]/`; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// DNS name or IP address. Clients connect to it and expect it in the server's certificate.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed { given: excerpt(text) };
        let (host, port) = match text.strip_prefix("https://") {
            Some(url) => authority(url).ok_or_else(malformed)?,
            None => text.rsplit_once(':').ok_or_else(malformed)?,
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(malformed());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
        Ok(Self { host: bracketed.unwrap_or(host).parse()?, port })
    }
}

/// Host and port of a URL without its scheme, as people copy it from a browser; the default port is 443.
fn authority(url: &str) -> Option<(&str, &str)> {
    let authority = url.split('/').next().filter(|authority| !authority.contains('@'))?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host, port)),
        _ => Some((authority, "443")),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Text that is not an [`Endpoint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The host is neither a DNS name nor an IP address.
    #[error(transparent)]
    Host(#[from] IdentityError),
    /// The text has not the form `HOST:PORT`, or the port is not in 1 to 65535.
    #[error("`{given}` is not HOST:PORT, such as api.example.com:4523")]
    Malformed {
        /// Start of the text, escaped.
        given: String,
    },
}

impl Coded for EndpointError {
    fn coded(&self) -> Code {
        match self {
            Self::Host(error) => error.coded(),
            Self::Malformed { .. } => Code::usage("input.endpoint"),
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
        for (url, endpoint) in [
            ("https://api.example.com", "api.example.com:443"),
            ("https://api.example.com:4523/v1/nodes?x=a:b", "api.example.com:4523"),
            ("https://[::1]/", "[::1]:443"),
            ("https://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), endpoint);
        }
        for text in [
            "",
            "api.example.com",
            "api:",
            "api:0",
            "api:65536",
            "::1:443",
            "[::1]",
            "a b:1",
            "http://a:1",
            "https://",
            "https://:1",
            "https://alice@a:1",
            "https://a:0",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
