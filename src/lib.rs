//! # cluster-ca
//!
//! A private certificate authority for the machines of one cluster, and the mutual-TLS gateway
//! that enforces what it issued. This page is the map; imports point downward only.
//!
//! | layer | modules |
//! |---|---|
//! | ground | [`clock`] time, randomness, durations · [`files`] files that appear whole or not at all · [`secret`] bytes that are zeroized · [`yaml`] files that people write, with lines for their mistakes |
//! | domain | [`identity`] cluster, role and name · [`revocation`] who has been revoked · [`x509`] certificates, requests and CRLs, read; chains, verified |
//! | faces | [`gateway`] who may call, and how |

pub mod clock;
pub mod files;
pub mod gateway;
pub mod identity;
pub mod revocation;
pub mod secret;
pub mod x509;
pub mod yaml;
