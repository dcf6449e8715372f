//! What services are found and asked for by: each name is checked once, when it is read, because it
//! becomes part of a URL, a header or a message.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::KmsError;

/// The longest name that is taken.
const LONGEST: usize = 256;

/// Namespaces that Vault keeps for itself.
const RESERVED: [&str; 6] = ["audit", "auth", "cubbyhole", "identity", "root", "sys"];

/// Makes a type of a checked text.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = KmsError;

            fn from_str(text: &str) -> Result<Self, KmsError> {
                $check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = KmsError;

            fn try_from(text: String) -> Result<Self, KmsError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_text!(
    /// The unique identifier that a KMIP server gave a key.
    UniqueIdentifier,
    |text: &str| check(
        "UID",
        text,
        !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
        "printable ASCII without spaces",
    )
);

checked_text!(
    /// The address of a KMIP server: `HOST:PORT`.
    KmipAddress,
    kmip_address
);

checked_text!(
    /// The name of a key in the Transit engine.
    KeyName,
    |text: &str| check("key", text, is_segment(text), "letters, digits, `_`, `-` and `.`")
);

checked_text!(
    /// Where a secrets engine or an auth method is mounted, such as `transit` or `team/transit`.
    MountPath,
    |text: &str| check("mount path", text, text.split('/').all(is_segment), "segments of letters, digits, `_`, `-` and `.` between single slashes")
);

checked_text!(
    /// A namespace, without a slash at its end.
    Namespace,
    |text: &str| {
        let reserved = text.split('/').any(|segment| RESERVED.contains(&segment));
        check(
            "namespace",
            text,
            !reserved && text.split('/').all(is_segment),
            "segments of letters, digits, `_`, `-` and `.` between single slashes, none of them root, sys, audit, auth, cubbyhole or identity",
        )
    }
);

checked_text!(
    /// The address of a Vault: `https://HOST[:PORT]`, kept without a slash at its end.
    VaultAddress,
    vault_address
);

fn check(what: &'static str, text: &str, good: bool, rule: &'static str) -> Result<String, KmsError> {
    if good && text.len() <= LONGEST {
        return Ok(text.to_owned());
    }
    Err(KmsError::Name { what, given: shown(text), rule })
}

fn is_segment(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(allowed) && text != "." && text != ".."
}

fn vault_address(text: &str) -> Result<String, KmsError> {
    let wrong = |why| KmsError::Address { given: shown(text), why };
    let text = text.strip_suffix('/').unwrap_or(text);
    let uri: http::Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => {
            return Err(wrong("plain http would show the token and the data key to everybody on the way"));
        }
        _ => return Err(wrong("it must begin with https://")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it must not hold a user name or password"));
    }
    if authority.as_str() != authority.host() && authority.port_u16().is_none() {
        return Err(wrong("what follows its host is not a port"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("it must end after the host and the port"));
    }
    Ok(text.to_owned())
}

fn kmip_address(text: &str) -> Result<String, KmsError> {
    let wrong = |why| KmsError::Address { given: shown(text), why };
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| wrong("it must be HOST:PORT; the port of KMIP is 5696"))?;
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(wrong("it must end with a port; the port of KMIP is 5696"));
    }
    if rustls_pki_types::ServerName::try_from(unbracketed(host)).is_err() {
        return Err(wrong("its host is neither a name nor an IP address"));
    }
    Ok(text.to_owned())
}

/// An IPv6 address without its brackets.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl KmipAddress {
    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        unbracketed(self.0.rsplit_once(':').map_or("", |(host, _)| host))
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }
}

/// What was given, cut and made printable for a message.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_and_nothing_more() {
        let read = |text: &str| text.parse::<VaultAddress>().map(|address| address.to_string());
        assert_eq!(read("https://vault.example.com:8200/").unwrap(), "https://vault.example.com:8200");
        assert_eq!(read("https://[::1]:8200").unwrap(), "https://[::1]:8200");
        for bad in [
            "",
            "vault",
            "vault.example.com",
            "vault.example.com:8200",
            "http://vault.example.com:8200",
            "ftp://x",
            "https://",
            "https://user:password@vault",
            "https://vault/v1",
            "https://vault?x=1",
            "https://va ult",
            "https://vault:99999",
            "HTTP://vault",
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.code(), "kms.address", "{bad}");
        }
    }

    #[test]
    fn a_kmip_server_is_a_host_and_a_port() {
        let read = |text: &str| {
            text.parse::<KmipAddress>().map(|address| (address.host().to_owned(), address.port()))
        };
        assert_eq!(read("kms.example.com:5696").unwrap(), ("kms.example.com".to_owned(), 5696));
        assert_eq!(read("[::1]:5696").unwrap(), ("::1".to_owned(), 5696));
        for bad in
            ["", "kms", "kms:", "kms:0", "kms:99999", ":5696", "https://kms:5696", "a b:5696", "kms:5696/x"]
        {
            assert_eq!(read(bad).unwrap_err().code(), "kms.address", "{bad}");
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_url() {
        for bad in ["", ".", "..", "a/b", "a b", "a?b", "a#b", "a%2fb", "ä", "a\n", &"x".repeat(300)] {
            assert_eq!(bad.parse::<KeyName>().unwrap_err().code(), "kms.name", "{bad:?}");
        }
        assert!("ca-key_1.2".parse::<KeyName>().is_ok());
        for bad in ["", "/transit", "transit/", "a//b", "../sys", "a/../b", "a b"] {
            assert_eq!(bad.parse::<MountPath>().unwrap_err().code(), "kms.name", "{bad:?}");
        }
        assert!("team/transit".parse::<MountPath>().is_ok());
    }

    #[test]
    fn namespaces_keep_vaults_rules() {
        for bad in ["root", "sys", "audit", "auth", "cubbyhole", "identity", "team/", "te am", "", "team/sys"]
        {
            assert_eq!(bad.parse::<Namespace>().unwrap_err().code(), "kms.name", "{bad:?}");
        }
        assert!("team/production".parse::<Namespace>().is_ok());
    }
}
