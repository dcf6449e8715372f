//! Verified CRLs, and the revocation status of chains (RFC 5280, section 5).
//!
//! A CRL is verified once, when it is loaded. A chain is checked by a look-up at constant cost,
//! for any number of entries. A missing or expired CRL never counts as "not revoked".

mod crl;
mod read;
mod set;

pub use crl::{Crl, CrlError, CrlVersion};
pub use read::{ReadCrls, meant_for};
pub use set::{RevocationSet, RevocationStatus};

pub use crate::x509::{RevocationReason, UnknownReason};
