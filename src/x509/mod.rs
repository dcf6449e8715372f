//! Read-only X.509 (RFC 5280): certificates, CSRs, CRLs, their files, and verification of chains.
//!
//! Parsing gives owned, typed fields. Creation and signing of certificates happen elsewhere. Only this module
//! uses `x509_parser`, `pem` and `webpki`.
//!
//! | file | contents |
//! |---|---|
//! | `certificate` | Parsed certificates |
//! | `crl` | Parsed CRLs (RFC 5280, section 5) |
//! | `csr` | Certificate signing requests (PKCS#10, RFC 2986) |
//! | `der` | Streaming DER reader and writer (X.690) without allocations, which `x509_parser` doesn't offer |
//! | `encoded_time` | Times in certificates and CRLs, in the only forms of RFC 5280, section 4.1.2.5 |
//! | `error` | Errors of parsing X.509 objects |
//! | `extensions` | Extensions of certificates (RFC 5280, section 4.2) and CSRs |
//! | `general_name` | General names and distinguished names in the form that name constraints compare |
//! | `hex` | Hexadecimal text |
//! | `inspect` | Description of the objects in a file, PEM or DER, for display |
//! | `key_algorithm` | Supported key types |
//! | `key_identifier` | Subject and authority key identifiers |
//! | `name` | Distinguished names of subjects and issuers |
//! | `name_constraints` | Name constraints (RFC 5280, section 4.2.1.10) |
//! | `pem` | Files of X.509 objects in PEM (RFC 7468) or DER |
//! | `public_key` | Types of public keys |
//! | `reason` | Revocation reasons |
//! | `serial_number` | Certificate serial numbers |
//! | `sha256` | SHA-256 digests |
//! | `signed` | Signature of certificates, CSRs and CRLs (`SIGNED{}` of X.509), and the accepted signature algorithms |
//! | `trust` | Trust bundles, and verification of certificate chains (RFC 5280, section 6) |

mod certificate;
pub mod crl;
mod csr;
pub(crate) mod der;
mod encoded_time;
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
