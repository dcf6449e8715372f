//! Revoking certificates and publishing CRLs.

pub(super) mod crl;
pub(super) mod crl_encoder;
pub(super) mod revoke;
pub(super) mod rollback;
pub(super) mod stale;
