//! Authenticated peers: a client, shared by every connection and request under its certificate, and a server.

use time::{Duration, OffsetDateTime};

use super::identity_form::IdentityForm;
use super::identity_headers::IdentityHeaders;
use crate::identity::Identity;
use crate::x509::SerialNumber;
use crate::x509::trust::VerifiedChain;

/// Client whose certificate has been verified.
#[derive(Debug)]
pub struct Peer {
    /// Trust domain, role and name, from the verified leaf.
    pub identity: Identity,
    /// Part of the leaf that the identity was read from.
    pub form: IdentityForm,
    /// Serial number of the leaf.
    pub serial_number: SerialNumber,
    /// Earliest notAfter of the chain, the last second in which all of it is valid.
    pub expires: OffsetDateTime,
    /// Verified chain, from the leaf to the trust anchor.
    pub chain: VerifiedChain,
    /// Header fields that tell an upstream about the peer, worked out once per certificate.
    pub headers: IdentityHeaders,
}

/// Server whose certificate has been verified, for the host that it was contacted by.
#[derive(Debug)]
pub struct VerifiedServer {
    /// Trust domain, role and name, from the verified leaf.
    pub identity: Identity,
    /// Verified chain, from the leaf to the trust anchor.
    pub chain: VerifiedChain,
}

impl Peer {
    /// True if `at` lies within the validity of every certificate of the chain. RFC 5280, section 4.1.2.5,
    /// includes notAfter, so that its second counts as a whole.
    #[must_use]
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        self.chain.leaf.not_before <= at && at < self.expires.saturating_add(Duration::SECOND)
    }
}
