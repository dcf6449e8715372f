//! Who is at the other end of a connection: worked out once, when the certificate is verified, and
//! shared by every connection and request under that certificate.

use time::{Duration, OffsetDateTime};

use crate::gateway::message::headers::IdentityHeaders;
use crate::gateway::mtls::identity_form::IdentityForm;
use crate::identity::Identity;
use crate::x509::SerialNumber;
use crate::x509::trust::VerifiedChain;

/// An authenticated caller.
#[derive(Debug)]
pub struct Peer {
    /// Role and name, from the verified leaf.
    pub identity: Identity,
    /// Where in the leaf they were read.
    pub form: IdentityForm,
    /// The serial number of its certificate.
    pub serial_number: SerialNumber,
    /// The last second in which its certificate and every issuer of it hold.
    pub expires: OffsetDateTime,
    /// What its identity rests on.
    pub chain: VerifiedChain,
    /// What the service behind is told about it.
    pub headers: IdentityHeaders,
}

impl Peer {
    /// Whether `at` lies within the validity of its certificate and every issuer's, whose last second
    /// counts as a whole.
    #[must_use]
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        self.chain.leaf.not_before <= at && at < self.expires.saturating_add(Duration::SECOND)
    }
}
