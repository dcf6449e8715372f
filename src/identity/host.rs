//! Hosts as subject alternative names and as names of control services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::Serialize;

use super::error::IdentityError;
use super::text_rules::{check_characters, check_length};
use crate::error::excerpt;

/// DNS name or IP address of a server, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Host {
    /// Lower-case host name of letters, digits and hyphens (RFC 1123), without a trailing dot.
    Dns(String),
    /// IP address. IPv4-mapped IPv6 is refused, because one host would have two spellings.
    Ip(IpAddr),
}

/// Domain of IPv6 addresses written as names.
const IPV6_LITERAL: &str = ".ipv6-literal.net";

impl Host {
    /// Host as the name of an identity, which cannot contain `:`.
    ///
    /// An IPv6 address takes the conventional form `2001-db8--1.ipv6-literal.net`; no DNS host may have it.
    #[must_use]
    pub fn identity_name(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(ip)) => format!("{}{IPV6_LITERAL}", ip.to_string().replace(':', "-")),
            other => other.to_string(),
        }
    }

    /// Read the canonical [`Host::identity_name`] only: one host, one identity.
    pub(super) fn from_identity_name(text: &str) -> Option<Self> {
        let host: Self = match text.strip_suffix(IPV6_LITERAL) {
            Some(dashed) => dashed.replace('-', ":").parse(),
            None => text.parse(),
        }
        .ok()?;
        (host.identity_name() == text).then_some(host)
    }
}

impl FromStr for Host {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "host";
        if let Ok(ip) = text.parse::<IpAddr>() {
            return match ip {
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(IdentityError::MappedAddress {
                    given: excerpt(text),
                    instead: v6.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
                }),
                ip if ip.is_unspecified() || ip.is_multicast() => Err(IdentityError::NotAHost {
                    given: excerpt(text),
                    why: "it is not the address of one host",
                }),
                ip => Ok(Self::Ip(ip)),
            };
        }
        check_length(WHAT, text, 253)?;
        if text.contains('*') {
            return Err(IdentityError::NotAHost {
                given: excerpt(text),
                why: "wildcards are not issued: a certificate lists each of its hosts",
            });
        }
        check_characters(WHAT, text, "letters, digits, hyphens and dots, or an IP address", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
        })?;
        let not = |why| Err(IdentityError::NotAHost { given: excerpt(text), why });
        if text.ends_with('.') {
            return not("remove the trailing dot: certificates have none");
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
                return not("each part between dots has 1 to 63 characters and no hyphen at its ends");
            }
        }
        // Some programs read `010.1.1.1` and `1.2.3` as addresses, others as names.
        if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return not("it looks like an IP address but is not one");
        }
        let name = text.to_ascii_lowercase();
        if name.ends_with(IPV6_LITERAL) {
            return not("write the IPv6 address itself");
        }
        Ok(Self::Dns(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.pad(name),
            Self::Ip(ip) => f.pad(&ip.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_canonical_form() {
        for (given, canonical) in [
            ("API.Example.COM", "api.example.com"),
            ("0:0::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(given.parse::<Host>().unwrap().to_string(), canonical);
        }
        for given in [
            "",
            "*.example.com",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a,DNS:b",
            "a b",
            "a/b",
            "exämple.com",
            "010.1.1.1",
            "1.2.3",
            "::ffff:10.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "a_b",
            "a\0b",
            "x.ipv6-literal.net",
            "1",
        ] {
            assert!(given.parse::<Host>().is_err(), "{given:?}");
        }
        assert!("a".repeat(64).parse::<Host>().is_err());
    }
}
