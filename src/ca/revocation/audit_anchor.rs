//! Anchor of the audit chain: a private extension of each CRL, so that the root's signature covers the chain.
//!
//! The chain has no key of its own, so a program that can write the inventory can compute a new one. It cannot sign
//! a CRL. The extension is not critical, and other programs ignore it:
//!
//! ```text
//! AuditAnchor ::= SEQUENCE {
//!     sequenceNumber INTEGER,       -- last entry before the signature
//!     head           OCTET STRING,  -- its SHA-256, which covers all entries before it
//!     origin         OCTET STRING } -- SHA-256 of entry 1, which names the cluster, its root and its trust domain
//! ```

use crate::audit::Head;
use crate::x509::Sha256;
use crate::x509::crl::UnverifiedCrl;
use crate::x509::der::{Reader, element, integer, tag};

/// 2.25.573637602: the low 31 bits of a random UUID. Go and GnuTLS cannot read the arc of a whole one (X.667).
pub(in crate::ca) const AUDIT_ANCHOR: &[u8] = &[0x69, 0x82, 0x91, 0xc4, 0x87, 0x62];

/// State of the audit chain when a CRL was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ca) struct AuditAnchor {
    /// Hash of the first entry.
    pub(in crate::ca) origin: Sha256,
    /// Head of the chain.
    pub(in crate::ca) head: Head,
}

impl AuditAnchor {
    /// Read the anchor of a CRL; `None` if it has none, as those of the first versions.
    pub(in crate::ca) fn of(crl: &UnverifiedCrl<'_>) -> Option<Self> {
        Self::from_der(crl.extension(AUDIT_ANCHOR)?)
    }

    /// Read the value of the extension.
    pub(in crate::ca) fn from_der(der: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(Reader::whole(der, tag::SEQUENCE).ok()?);
        let seq = fields.expect(tag::INTEGER).ok()?;
        let seq = seq.iter().try_fold(0_u64, |seq, octet| Some(seq.checked_mul(256)? + u64::from(*octet)))?;
        let mut hash = || Some(Sha256(fields.expect(tag::OCTET_STRING).ok()?.try_into().ok()?));
        let (head, origin) = (hash()?, hash()?);
        Some(Self { origin, head: Head { seq, hash: head } })
    }

    /// Value of the extension.
    pub(in crate::ca) fn to_der(self) -> Vec<u8> {
        let mut fields = Vec::new();
        integer(&mut fields, &self.head.seq.to_be_bytes());
        fields.extend(element(tag::OCTET_STRING, &self.head.hash.0));
        fields.extend(element(tag::OCTET_STRING, &self.origin.0));
        element(tag::SEQUENCE, &fields)
    }
}
