//! Who has been revoked, and why (RFC 5280, section 5).
//!
//! A CRL is verified once, when it is loaded; asking about a chain afterwards is a look-up that
//! costs the same however many are revoked. Absence never passes for "not revoked": no CRL, or one
//! past its end, is an answer of its own.

mod crl;
mod set;

pub use crl::{Crl, CrlError, CrlVersion};
pub use set::{RevocationSet, Standing};

pub use crate::x509::{RevocationReason, UnknownReason};
