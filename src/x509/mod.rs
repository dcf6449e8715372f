//! X.509 as RFC 5280 has it, read-only: certificates, requests, CRLs, the files they come in, and
//! checking a chain.
//!
//! What a certificate says is parsed once into owned, typed fields; nothing here makes or signs
//! one. `x509_parser`, `pem` and `webpki` are known to this module only.

mod certificate;
pub mod crl;
pub(crate) mod der;
mod error;
mod extensions;
mod hex;
pub mod inspect;
mod key_algorithm;
mod key_identifier;
mod name;
pub mod pem;
mod public_key;
mod reason;
mod request;
mod serial_number;
mod sha256;
mod signed;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust;

pub use certificate::Certificate;
pub use error::X509Error;
pub use extensions::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
pub use hex::hex;
pub use key_algorithm::KeyAlgorithm;
pub use key_identifier::KeyIdentifier;
pub use name::DistinguishedName;
pub use public_key::algorithm_of_public_key;
pub use reason::{RevocationReason, UnknownReason};
pub use request::{CertificationRequest, RequestError};
pub use serial_number::SerialNumber;
pub use sha256::Sha256;
pub use signed::SignatureError;
