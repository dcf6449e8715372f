//! Identities and their SPIFFE IDs.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::cluster::TrustDomain;
use super::error::IdentityError;
use super::name::Name;
use super::role::Role;
use crate::error::excerpt;

/// Identity of a certificate. Its text is its SPIFFE ID, `spiffe://TRUST-DOMAIN/ROLE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Trust domain of the cluster.
    pub trust_domain: TrustDomain,
    /// Role in the cluster.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
}

impl Identity {
    /// SPIFFE ID, the only URI in the certificate.
    #[must_use]
    pub fn spiffe_id(&self) -> String {
        self.to_string()
    }

    /// Common name of the subject, in Flocker's form.
    #[must_use]
    pub fn common_name(&self) -> String {
        self.role.common_name_form().of(self.name.as_str())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Parse a SPIFFE ID of this project's form, without decoding or normalizing anything.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::SpiffeId { given: excerpt(text) };
        let rest = text.strip_prefix("spiffe://").ok_or_else(wrong)?;
        let mut parts = rest.split('/');
        let (Some(trust_domain), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let role = role.parse()?;
        Ok(Self { trust_domain: trust_domain.parse()?, role, name: Name::parse(role, name)? })
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        for text in [
            "spiffe://prod/control-service/api.example.com",
            "spiffe://prod/control-service/10.0.0.1",
            "spiffe://prod/control-service/2001-db8--1.ipv6-literal.net",
            "spiffe://prod/control-service/--1.ipv6-literal.net",
            "spiffe://prod.example/node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e",
            "spiffe://prod/api-user/alice.smith-2_ci",
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_identity_has_one_spelling() {
        for text in [
            "",
            "spiffe://",
            "spiffe://prod",
            "spiffe://prod/api-user",
            "spiffe://prod/api-user/",
            "spiffe://prod/api-user/alice/",
            "spiffe://prod/api-user//alice",
            "spiffe://prod/api-user/alice/admin",
            "spiffe://prod/api-user/al%69ce",
            "spiffe://prod/api-user/Alice",
            "spiffe://prod/api-user/alice?x",
            "spiffe://prod/api-user/alice#x",
            "spiffe://prod/api-user/alice\0",
            "spiffe://prod/api-user/аlice",
            "spiffe://prod/api-user/control-service",
            "spiffe://prod/admin/alice",
            "spiffe://Prod/api-user/alice",
            "spiffe://prod:443/api-user/alice",
            "spiffe://u@prod/api-user/alice",
            "SPIFFE://prod/api-user/alice",
            "https://prod/api-user/alice",
            "spiffe://prod/node-agent/6F1B1D3C-3A54-4B7E-9D1E-2F4C5B6A7D8E",
            "spiffe://prod/node-agent/6f1b1d3c3a544b7e9d1e2f4c5b6a7d8e",
            "spiffe://prod/node-agent/00000000-0000-0000-0000-000000000000",
            "spiffe://prod/node-agent/6f1b1d3c-3a54-1b7e-9d1e-2f4c5b6a7d8e",
            "spiffe://prod/control-service/API.example.com",
            "spiffe://prod/control-service/0:0:0:0:0:0:0:1",
            "spiffe://prod/control-service/0-0-0-0-0-0-0-1.ipv6-literal.net",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
