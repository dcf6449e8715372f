//! The CA as its users have it: the real binary, run in a home of its own.
//!
//! | module | what it promises |
//! |---|---|
//! | [`accounts`] | users and organizations are managed by the rules, and nothing is changed without its audit entry |
//! | [`backup`] | a backup is whole or refused, and comes back without forgetting a revocation |
//! | [`bad_input`] | every mistake is refused with a clear error, and nothing is lost |
//! | [`cli`] | the same shape everywhere: `--json`, `--quiet`, help, aliases, exit codes |
//! | [`concurrency`] | processes that work at once neither block nor corrupt each other |
//! | [`connect`] | a refused connection is explained in one line, and the served certificate is examined |
//! | [`crash`] | a process killed at any point leaves a home that the next one puts in order |
//! | [`crl`] | the revocation list is complete, dated, numbered, renewed in time, and read by others |
//! | [`distribute`] | a machine has all new files or all former ones; other programs read archives and key stores |
//! | [`doctor`] | everything wrong with a home is named, and mended where that is safe |
//! | [`forecast`] | what breaks first is told before it does |
//! | [`gateways`] | a change reported as enforced is enforced by every gateway; the others are named |
//! | [`interop`] | other implementations accept what was issued, for its purpose and no other |
//! | [`lifecycle`] | certificates are renewed, held, released and revoked, each as asked and no other |
//! | [`listing`] | listings of any length are printed in constant memory, and fit the terminal |
//! | [`machines`] | a UUID leads to its machine, and deliveries are kept by commands |
//! | [`other_hosts`] | certificates are replaced by ones for other hosts, in one line per identity |
//! | [`panics`] | a defect of the program is one error line with a documented exit code |
//! | [`server`] | the API does what the commands do, for the callers that may, and withstands the others |
//! | [`logins`] | each user gets what its account permits, and tokens end when they are revoked |
//! | [`tampered`] | an inventory that contradicts the root's signatures is refused before anything is signed |

#![expect(clippy::disallowed_methods, reason = "the tests time real processes")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

mod accounts;
mod automation;
mod backup;
mod bad_input;
mod cli;
mod concurrency;
mod connect;
mod crash;
mod crl;
mod distribute;
mod doctor;
#[path = "../common/eventually.rs"]
mod eventually;
mod forecast;
mod gateways;
#[path = "../common/home.rs"]
mod home;
mod interop;
mod lifecycle;
mod listing;
mod live;
mod logins;
mod machines;
mod namespace;
mod other_hosts;
mod panics;
mod server;
mod tampered;

/// The time, in whole seconds.
fn now() -> time::OffsetDateTime {
    let now = cluster_ca::clock::Clock::now(&cluster_ca::clock::SystemClock);
    now.replace_nanosecond(0).expect("a whole second")
}
