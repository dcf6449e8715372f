//! Names and addresses of a KMIP server.

use crate::keys::kms::checked_text::{check, checked_text, shown};
use crate::keys::kms::error::KmsError;

checked_text!(
    /// Unique identifier (UID) of a key in a KMIP server.
    UniqueIdentifier,
    |text: &str| check(
        "UID",
        text,
        !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
        "printable ASCII without spaces",
    )
);

checked_text!(
    /// Address of a KMIP server: `HOST:PORT`.
    KmipAddress,
    kmip_address
);

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
    /// The host; an IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        unbracketed(self.0.rsplit_once(':').map_or("", |(host, _)| host))
    }

    /// From 1 to 65535; checked when the address was parsed.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn addresses_are_a_host_and_a_port() {
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
}
