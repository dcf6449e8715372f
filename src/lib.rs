//! # cluster-ca
//!
//! A private certificate authority for the machines of one cluster, and the mutual-TLS gateway
//! that enforces what it issued. This page is the map; imports point downward only, and a test
//! (`tests/layers`) holds them to it.
//!
//! | layer | modules |
//! |---|---|
//! | faces | [`cli`] command line of `cluster-ca` · [`gateway`] mutual TLS in front of a REST API · [`server`] REST API of the CA |
//! | shared by faces | [`terminal`] results, hints, exit codes, completions, manual pages, guides, progress · [`serving`] sockets, limits per address, request IDs, log lines of server processes |
//! | what is done | [`ca`] initialize, issue, renew, revoke, back up, examine, forecast · [`accounts`] organizations, users, passwords, logins · [`distribute`] delivery of files by ssh · [`probe`] diagnosis of a live endpoint · [`ldap`] client of directories · [`api_client`] login to the server · [`gateway_client`] pushed CRLs and gateway status |
//! | how peers are met | [`mtls`] peer verification, CRLs in force, resumption, key opener, server certificate |
//! | what is kept | [`keys`] private keys and their protection · [`age_stream`] encrypted streams · [`store`] inventory · [`audit`] hash-chained log of changes |
//! | domain | [`identity`] identities and the table of roles · [`profile`] certificate profiles and plans · [`tokens`] access and refresh tokens · [`revocation`] CRLs and revocation status · [`x509`] certificates, CSRs, CRLs, trust bundles |
//! | ground | [`clock`] time, randomness, durations · [`error`] codes, classes, cause chains · [`file_schema`] tables of the keys of YAML files · [`files`] atomic files and permissions · [`secret`] zeroized bytes · [`yaml`] problems with file and line |

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod accounts;
pub mod age_stream;
pub mod api_client;
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
pub mod ldap;
pub mod mtls;
pub mod probe;
pub mod profile;
pub mod revocation;
pub mod secret;
pub mod server;
pub mod serving;
pub mod store;
pub mod terminal;
pub mod tokens;
pub mod x509;
pub mod yaml;
