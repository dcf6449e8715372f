//! Verified chains.

use time::OffsetDateTime;

use crate::x509::certificate::Certificate;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::serial_number::SerialNumber;

/// A certificate whose chain has been verified, and the links of that chain. Only
/// [`TrustBundle::verify`](super::TrustBundle::verify) makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedChain {
    /// The certificate itself.
    pub leaf: Certificate,
    /// The authorities between it and the anchor, its own issuer first.
    pub intermediates: Vec<Certificate>,
    /// Each certificate of the path below the anchor, the leaf first.
    pub links: Vec<Link>,
    /// The key of the anchor that the path ends at.
    pub anchor: KeyIdentifier,
    /// The last second in which every certificate of it holds, the anchor's included.
    pub expires: OffsetDateTime,
}

/// One certificate of a chain, as a CRL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The key that really signed it, whatever the certificate says about that.
    pub issuer: KeyIdentifier,
    /// Its serial number.
    pub serial_number: SerialNumber,
}
