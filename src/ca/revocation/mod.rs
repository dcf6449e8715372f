//! Revocation of certificates and publication of CRLs.
//!
//! | file | contents |
//! |---|---|
//! | `audit_anchor` | Anchor of the audit chain |
//! | `crl` | Signing and publishing of CRLs |
//! | `crl_check` | Checks of CRL files against the inventory |
//! | `crl_encoder` | DER encoder for CRLs (RFC 5280, section 5.1) |
//! | `crl_statement` | Statement of the root about a long CRL, in a small file beside it |
//! | `republish_reason` | Reasons to publish a new CRL without a new revocation |
//! | `revoke` | Revocation, suspension, and lifting of a hold |
//! | `signed_crl` | CRLs that the root has signed |

pub(super) mod audit_anchor;
pub(super) mod crl;
pub(super) mod crl_check;
pub(super) mod crl_encoder;
pub(super) mod crl_statement;
pub(super) mod republish_reason;
pub(super) mod revoke;
pub(super) mod signed_crl;
