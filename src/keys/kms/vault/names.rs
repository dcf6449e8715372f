//! Names and addresses of a Vault.

use crate::keys::kms::checked_text::{check, checked_text, shown};
use crate::keys::kms::error::KmsError;

/// Namespaces that Vault reserves.
const RESERVED: [&str; 6] = ["audit", "auth", "cubbyhole", "identity", "root", "sys"];

checked_text!(
    /// Name of a key in the Transit engine.
    KeyName,
    |text: &str| check("key", text, is_segment(text), "letters, digits, `_`, `-` and `.`")
);

checked_text!(
    /// Mount path of a secrets engine or auth method, such as `transit` or `team/transit`.
    MountPath,
    |text: &str| check("mount path", text, text.split('/').all(is_segment), "segments of letters, digits, `_`, `-` and `.` between single slashes")
);

checked_text!(
    /// Namespace, without a trailing slash.
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
    /// Address of a Vault: `https://HOST[:PORT]`, stored without a trailing slash.
    VaultAddress,
    vault_address
);

fn vault_address(text: &str) -> Result<String, KmsError> {
    let wrong = |why| KmsError::Address { given: shown(text), why };
    let text = text.strip_suffix('/').unwrap_or(text);
    let uri: http::Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => {
            return Err(wrong("plain http would expose the token and the data key on the network"));
        }
        _ => return Err(wrong("it must begin with https://")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it must not contain a user name or password"));
    }
    if authority.as_str() != authority.host() && authority.port_u16().is_none() {
        return Err(wrong("the host is not followed by a valid port"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("it must end after the host and the port"));
    }
    Ok(text.to_owned())
}

fn is_segment(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(allowed) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn addresses_are_https_host_and_port_only() {
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
    fn names_fit_one_url_segment() {
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
    fn namespaces_follow_the_rules_of_vault() {
        for bad in ["root", "sys", "audit", "auth", "cubbyhole", "identity", "team/", "te am", "", "team/sys"]
        {
            assert_eq!(bad.parse::<Namespace>().unwrap_err().code(), "kms.name", "{bad:?}");
        }
        assert!("team/production".parse::<Namespace>().is_ok());
    }
}
