//! Changes to a running gateway: reload, CRL push, file watch, housekeeping, status report.
//!
//! | file | contents |
//! |---|---|
//! | `change` | Result of putting a new state in force |
//! | `changes` | Loader of new states, the lock that serializes changes, and the results of earlier changes |
//! | `error` | Errors of reloads and pushes |
//! | `file_watch` | Detection of changed files, by file system events and by polling |
//! | `housekeeping` | Periodic tasks: expired connections, CRLs that expire soon, suppressed log lines, the end of a drain |
//! | `kms_token_renewal` | Renewal of KMS tokens |
//! | `published_keys` | Public keys of the assertion signer, as a JWK Set (RFC 7517, section 5) |
//! | `push` | Pushed CRLs: verified, stored, and put in force |
//! | `push_queue` | Queue of CRL pushes |
//! | `push_tokens` | Pushed statement about tokens: verified, stored, and put in force |
//! | `reload` | Reload while connections are open |
//! | `status` | Status report: state in force, expirations, results of reloads |

pub mod change;
pub mod changes;
pub mod error;
pub mod file_watch;
pub mod housekeeping;
pub mod kms_token_renewal;
pub mod published_keys;
pub mod push;
pub mod push_queue;
pub mod push_tokens;
pub mod reload;
pub mod status;
