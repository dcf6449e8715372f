//! Purposes of certificates.

use std::fmt;

use serde::Serialize;

use crate::x509::extensions::ExtendedKeyUsage;

/// `anyExtendedKeyUsage`.
const ANY_EXTENDED_KEY_USAGE: &str = "2.5.29.37.0";

/// Required purpose of a certificate (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Client authentication.
    Client,
    /// Server authentication.
    Server,
    /// Signing of access tokens, and of the statement about them.
    TokenSigning,
}

impl Purpose {
    /// Extended key usage that the certificate must have.
    #[must_use]
    pub const fn extended_key_usage(self) -> ExtendedKeyUsage {
        match self {
            Self::Client => ExtendedKeyUsage::ClientAuth,
            Self::Server => ExtendedKeyUsage::ServerAuth,
            Self::TokenSigning => ExtendedKeyUsage::TokenSigning,
        }
    }

    /// Test the extended key usage of an issuer: without one, or with `anyExtendedKeyUsage`, it vouches for every
    /// purpose.
    pub(super) fn is_permitted_by(self, issuer: Option<&[ExtendedKeyUsage]>) -> bool {
        let permits = |usage: &ExtendedKeyUsage| match usage {
            ExtendedKeyUsage::Other(oid) => oid == ANY_EXTENDED_KEY_USAGE,
            usage => *usage == self.extended_key_usage(),
        };
        issuer.is_none_or(|usages| usages.iter().any(permits))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::TokenSigning => "token signing",
        })
    }
}
