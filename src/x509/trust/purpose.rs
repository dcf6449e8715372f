//! Purposes of certificates.

use std::fmt;

use serde::Serialize;

use crate::x509::extensions::ExtendedKeyUsage;

/// Required purpose of a certificate (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Client authentication.
    Client,
    /// Server authentication.
    Server,
}

impl Purpose {
    /// Extended key usage that the certificate must have.
    #[must_use]
    pub const fn extended_key_usage(self) -> ExtendedKeyUsage {
        match self {
            Self::Client => ExtendedKeyUsage::ClientAuth,
            Self::Server => ExtendedKeyUsage::ServerAuth,
        }
    }

    pub(super) const fn webpki(self) -> webpki::KeyUsage {
        match self {
            Self::Client => webpki::KeyUsage::client_auth(),
            Self::Server => webpki::KeyUsage::server_auth(),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}
