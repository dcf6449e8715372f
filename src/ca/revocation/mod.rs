//! Revocation of certificates and publication of CRLs.

pub(super) mod audit_anchor;
pub(super) mod crl;
pub(super) mod crl_check;
pub(super) mod crl_encoder;
pub(super) mod crl_statement;
pub(super) mod republish_reason;
pub(super) mod revoke;
pub(super) mod signed_crl;
