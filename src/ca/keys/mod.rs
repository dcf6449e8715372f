//! Protection of the private keys of a home: passphrases and key management services.

pub(super) mod kms;
pub(super) mod protection;
pub(in crate::ca) mod server_keys;
pub(super) mod tls_pair;
