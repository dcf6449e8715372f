//! Trust bundles, and verification of certificate chains (RFC 5280, section 6).
//!
//! webpki verifies signatures and parses strictly. Paths are built here, since webpki stops at the first path that is
//! valid for itself, refuses name constraints of some forms, and does not look at key usages, identifiers and anchors.
//!
//! Revocation is checked separately, on the resulting [`VerifiedChain`].
//!
//! | file | contents |
//! |---|---|
//! | `anchor` | Trust anchors, checked when they are loaded and when they are used |
//! | `bundle` | Trust bundles and verification of chains |
//! | `chain` | Verified certificate chains |
//! | `conformance` | Rules of RFC 5280, section 4.2 for each certificate of a path, which webpki does not check |
//! | `error` | Errors of chain verification, and their translation from webpki |
//! | `intermediate` | Intermediate CAs that complete chains and whose CRLs are accepted, checked when they are loaded |
//! | `path` | Search for a path from a leaf to a trust anchor, and validation of each (RFC 5280, section 6 |
//! | `policies` | Certificate policies of a path (RFC 5280, section 6.1), for CAs that require one |
//! | `purpose` | Purposes of certificates |

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
