//! Keys that a stolen disk does not give away, with the real binary and real key management servers.
//!
//! | module | what it promises |
//! |---|---|
//! | [`faults`] | a service that dies, hangs or lies in the middle costs no key |
//! | [`kmip`] | the same with a KMIP server of each version, and with hostile ones |
//! | [`passphrase`] | a key behind a passphrase opens with it alone, here and in openssl |
//! | [`pkcs11`] | a root whose key never leaves a SoftHSM token signs all that one in a file does |
//! | [`signer`] | a root whose key never leaves an OpenBao signs all that one in a file does |
//! | [`vault`] | keys wrapped by an OpenBao open with it alone, and every trouble of it has its words |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "../common/bao.rs"]
mod bao;
#[path = "../common/eventually.rs"]
mod eventually;
mod faults;
#[expect(dead_code, reason = "shared with other test binaries, which use more of it")]
#[path = "../common/front.rs"]
mod front;
#[expect(dead_code, reason = "shared with other test binaries, which use more of it")]
#[path = "../common/home.rs"]
mod home;
mod kmip;
mod kmip_server;
mod passphrase;
mod pkcs11;
mod signer;
mod softhsm;
mod vault;
