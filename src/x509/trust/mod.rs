//! Trust bundles, and verification of certificate chains (RFC 5280, section 6).
//!
//! webpki builds and verifies the path. This module checks the rest:
//! - trust anchors, when they are loaded;
//! - validity and path length of the anchor, on every path;
//! - an explicit extended key usage of the leaf.
//!
//! Revocation is checked separately, on the resulting [`VerifiedChain`].

mod anchor;
mod bundle;
mod chain;
mod error;
mod intermediate;
mod purpose;

pub use anchor::{AnchorError, TrustAnchor, TrustError};
pub use bundle::{TrustBundle, verify_host};
pub use chain::{ChainLink, VerifiedChain};
pub use error::ChainError;
pub use intermediate::Intermediate;
pub use purpose::Purpose;
