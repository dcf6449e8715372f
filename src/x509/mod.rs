//! Read-only X.509 (RFC 5280): certificates, CSRs, CRLs, their files, and verification of chains.
//!
//! Parsing gives owned, typed fields. Creation and signing of certificates happen elsewhere. Only this module
//! uses `x509_parser`, `pem` and `webpki`.

mod certificate;
pub mod crl;
mod csr;
pub(crate) mod der;
mod error;
mod extensions;
mod general_name;
mod hex;
pub mod inspect;
mod key_algorithm;
mod key_identifier;
mod name;
mod name_constraints;
pub mod pem;
mod public_key;
mod reason;
mod serial_number;
mod sha256;
mod signed;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust;

pub use certificate::Certificate;
pub use csr::{Csr, CsrError};
pub use error::X509Error;
pub use extensions::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, PolicyConstraints, SubjectAltName,
};
pub use hex::hex;
pub use key_algorithm::KeyAlgorithm;
pub use key_identifier::KeyIdentifier;
pub use name::DistinguishedName;
pub use name_constraints::NameConstraints;
pub use public_key::public_key_algorithm;
pub use reason::{RevocationReason, UnknownReason};
pub use serial_number::SerialNumber;
pub use sha256::Sha256;
pub use signed::SignatureError;
pub(crate) use signed::Signed;
