//! # cluster-ca
//!
//! A private certificate authority for the machines of one cluster, and the mutual-TLS gateway
//! that enforces what it issued. This page is the map; imports point downward only.
//!
//! | layer | modules |
//! |---|---|
//! | ground | [`clock`] time, randomness, durations · [`files`] files that appear whole or not at all · [`secret`] bytes that are zeroized |
//! | what is kept | [`keys`] private keys and what protects them |
//! | domain | [`identity`] cluster, role and name · [`x509`] certificates, read

pub mod clock;
pub mod files;
pub mod identity;
pub mod keys;
pub mod secret;
pub mod x509;
