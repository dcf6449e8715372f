//! Verified certificate chains.

use time::OffsetDateTime;

use crate::x509::certificate::Certificate;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::serial_number::SerialNumber;

/// Certificate with a verified chain.
///
/// Only [`TrustBundle::verify`](super::TrustBundle::verify) constructs one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedChain {
    /// Leaf certificate.
    pub leaf: Certificate,
    /// Intermediate CA certificates, the issuer of the leaf first.
    pub intermediates: Vec<Certificate>,
    /// Certificates of the path below the anchor, the leaf first.
    pub links: Vec<ChainLink>,
    /// Key of the trust anchor.
    pub anchor: KeyIdentifier,
    /// Last second in which all certificates of the path are valid, the anchor included.
    pub expires: OffsetDateTime,
}

/// Certificate of a chain as a CRL identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainLink {
    /// Key that signed it, as verified and not as claimed.
    pub issuer: KeyIdentifier,
    /// Number of the certificate, unique per issuer key.
    pub serial_number: SerialNumber,
}
