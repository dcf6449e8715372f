//! # cluster-ca
//!
//! A private certificate authority for the machines of one cluster, and the mutual-TLS gateway
//! that enforces what it issued. This page is the map; imports point downward only, and a test
//! (`tests/layers`) holds them to it.
//!
//! | layer | modules |
//! |---|---|
//! | faces | [`cli`] the command line of `cluster-ca` · [`gateway`] who gets in, and what they may call |
//! | shared by faces | [`terminal`] results, errors, advice, exit codes, completions, manual pages, progress of both programs |
//! | what is done | [`ca`] initialize, issue, renew, revoke, recover, back up, examine, forecast · [`distribute`] files carried to where they are used · [`probe`] what a live endpoint shows · [`gateway_client`] CRLs pushed to gateways, and their status |
//! | what is kept | [`keys`] private keys and what protects them · [`sealed`] streams that a passphrase opens · [`store`] the inventory · [`audit`] the chain of everything that was done |
//! | domain | [`identity`] identities and the table of roles · [`profile`] certificate profiles and plans · [`revocation`] CRLs in force, revocation status · [`x509`] certificates, CSRs, CRLs, trust bundles |
//! | ground | [`clock`] time, randomness, durations · [`error`] codes, classes and causes of errors · [`file_schema`] tables of the keys of YAML files · [`files`] files that appear whole or not at all · [`secret`] bytes that are zeroized · [`yaml`] mistakes with file and line |

pub mod age_stream;
pub mod audit;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod distribute;
pub mod error;
pub mod file_schema;
pub mod files;
pub mod gateway;
pub mod gateway_client;
pub mod identity;
pub mod keys;
pub mod probe;
pub mod profile;
pub mod revocation;
pub mod secret;
pub mod store;
pub mod terminal;
pub mod x509;
pub mod yaml;
