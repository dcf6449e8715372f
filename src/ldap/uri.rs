//! Address of a directory: `ldap://HOST:PORT` or `ldaps://HOST:PORT`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::error::LdapError;
use crate::error::excerpt;
use crate::identity::Host;

/// Address of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapUri {
    /// True if TLS starts with the connection.
    pub(super) is_tls: bool,
    /// DNS name or IP address.
    pub(super) host: Host,
    /// Port; by default 389, or 636 with TLS.
    pub(super) port: u16,
}

impl LdapUri {
    /// True for `ldaps`: TLS starts with the connection.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// True for an address of this machine. A connection verifies it again.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        match &self.host {
            Host::Dns(name) => name == "localhost",
            Host::Ip(ip) => ip.is_loopback(),
        }
    }
}

impl FromStr for LdapUri {
    type Err = LdapError;

    fn from_str(text: &str) -> Result<Self, LdapError> {
        let wrong = |why| LdapError::Uri { given: excerpt(text), why };
        let (is_tls, rest) = match text.split_once("://") {
            Some(("ldap", rest)) => (false, rest),
            Some(("ldaps", rest)) => (true, rest),
            Some(_) => return Err(wrong("the schemes are ldap and ldaps")),
            None => (false, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let default = if is_tls { 636 } else { 389 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
                (host, port.parse::<u16>().ok().filter(|port| *port != 0))
            }
            _ => (authority, Some(default)),
        };
        let port = port.ok_or_else(|| wrong("the port is not a number"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = bare.parse().map_err(|_| wrong("the host is neither a DNS name nor an IP address"))?;
        Ok(Self { is_tls, host, port })
    }
}

impl fmt::Display for LdapUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "ldaps" } else { "ldap" };
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "{scheme}://[{ip}]:{}", self.port),
            host => write!(f, "{scheme}://{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn an_address_has_a_host_and_defaults_for_the_rest() {
        for (text, uri) in [
            ("ldap.example.com", "ldap://ldap.example.com:389"),
            ("ldap://ldap.example.com/", "ldap://ldap.example.com:389"),
            ("ldaps://ldap.example.com", "ldaps://ldap.example.com:636"),
            ("ldaps://10.0.0.5:1636", "ldaps://10.0.0.5:1636"),
            ("ldap://[::1]:1389", "ldap://[::1]:1389"),
            ("[::1]", "ldap://[::1]:389"),
        ] {
            let parsed: LdapUri = text.parse().unwrap();
            assert_eq!(parsed.to_string(), uri, "{text}");
            assert_eq!(uri.parse::<LdapUri>().unwrap(), parsed);
        }
        for text in
            ["", "http://a", "ldap://", "ldap://a:0", "ldap://a:x", "ldap://u@a", "ldap://a/b", "ldapi://%2f"]
        {
            assert_eq!(text.parse::<LdapUri>().unwrap_err().code(), "input.ldap_uri", "{text:?}");
        }
    }
}
