//! Protection of private keys, with the real binary and real key management servers.
//!
//! | module | promise |
//! |---|---|
//! | [`faults`] | no key is lost if a service dies, hangs or sends false responses |
//! | [`kmip`] | keys wrapped by a KMIP server of each version, and by hostile ones |
//! | [`logins`] | the end of a login is known, and variables of other programs are named |
//! | [`passphrase`] | a key with a passphrase opens with it alone, here and in openssl |
//! | [`pkcs11`] | a non-exportable root key in a SoftHSM token signs everything that a key file does |
//! | [`signer`] | a non-exportable root key in an OpenBao signs everything that a key file does |
//! | [`trust`] | servers are trusted by CA or by pin, and no setting locks a service out |
//! | [`vault`] | keys wrapped by an OpenBao open with it alone; each of its failures has its own error |

#![expect(clippy::disallowed_methods, reason = "the tests time real processes")]
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
mod logins;
mod passphrase;
mod pkcs11;
mod signer;
mod softhsm;
mod trust;
mod vault;
