//! The CA as its users have it: the real binary, run in a home of its own.
//!
//! | module | what it promises |
//! |---|---|
//! | [`bad_input`] | every mistake is refused with a clear error, and nothing is lost |
//! | [`cli`] | the same shape everywhere: `--json`, `--quiet`, help, aliases, exit codes |
//! | [`concurrency`] | processes that work at once neither block nor corrupt each other |
//! | [`crash`] | a process killed at any point leaves a home that the next one puts in order |
//! | [`crl`] | the revocation list is complete, dated, numbered, renewed in time, and read by others |
//! | [`distribute`] a machine has all of the new files or all of its old ones; what is handed over is read elsewhere |
//! | [`interop`] | other implementations accept what was issued, for its purpose and no other |
//! | [`lifecycle`] | certificates are renewed, held, released and revoked, each as asked and no other |

#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

mod bad_input;
mod cli;
mod concurrency;
mod crash;
mod crl;
mod distribute;
#[path = "../common/eventually.rs"]
mod eventually;
#[path = "../common/home.rs"]
mod home;
mod interop;
mod lifecycle;
mod namespace;
