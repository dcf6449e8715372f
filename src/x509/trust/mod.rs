//! Trust bundles, and verification of certificate chains (RFC 5280, section 6).
//!
//! webpki verifies signatures and parses strictly. Paths are built here, since webpki stops at the first path that is
//! valid for itself, refuses name constraints of some forms, and does not look at key usages, identifiers and anchors.
//!
//! Revocation is checked separately, on the resulting [`VerifiedChain`].

mod anchor;
mod bundle;
mod chain;
mod conformance;
mod error;
mod intermediate;
mod path;
mod policies;
mod purpose;
#[cfg(test)]
mod tests;

pub use anchor::{AnchorError, TrustAnchor, TrustError};
pub use bundle::{TrustBundle, verify_host};
pub use chain::{ChainLink, VerifiedChain};
pub use conformance::Nonconformity;
pub use error::ChainError;
pub use intermediate::Intermediate;
pub use purpose::Purpose;
