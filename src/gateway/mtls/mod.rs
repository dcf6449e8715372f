//! Mutual TLS: verification of peers, CRLs in force, resumption, keys and the own certificate.

pub mod crl;
pub mod identity_form;
pub mod keys;
pub mod peer;
pub mod resumption;
pub mod server_certificate;
pub mod server_config;
pub mod server_name;
pub mod verifier;
