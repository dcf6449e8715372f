//! What a verifier trusts, and checking a chain against it (RFC 5280, section 6).
//!
//! webpki builds and checks the path; what it takes on faith, we check: the trust anchors
//! themselves when they are loaded, and on every path the anchor's validity and path length, and
//! that the leaf says in words what it may be used for. Revocation is judged elsewhere, on the
//! [`VerifiedChain`] that comes out.

mod anchor;
mod bundle;
mod chain;
mod error;
mod intermediate;
mod purpose;

pub use anchor::{AnchorFault, TrustAnchor, TrustError};
pub use bundle::{TrustBundle, verify_host};
pub use chain::{Link, VerifiedChain};
pub use error::ChainError;
pub use intermediate::Intermediate;
pub use purpose::Purpose;
