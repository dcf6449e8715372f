//! Private keys: generation, signatures, and their protection at rest.
//!
//! A key in memory is zeroized on drop and has no readable `Debug`. The form of a key file
//! ([`KeyFile`]: plain, passphrase or envelope) is private to this module: callers name the file, pass an
//! [`Unlock`] and get a [`PrivateKey`]. The root key may also be non-exportable, in a service or a PKCS#11
//! token that signs with it ([`DigestSigner`]).
//!
//! | module | contents |
//! |---|---|
//! | `private_key`, `remote_key` | the key in memory; the non-exportable key |
//! | `key_file`, `passphrase`, `envelope`, `data_key`, `pkcs8` | forms of a key file |
//! | `secret_sealer` | encryption of small secrets under a private key |
//! | `protected_key`, `unlock` | what opens them: for a daemon, for a command |
//! | `kms` | key management services and PKCS#11 tokens |
//! | `base64_text`, `error` | helper for serde; errors |

mod base64_text;
mod data_key;
mod envelope;
mod error;
mod key_file;
pub mod kms;
mod passphrase;
mod pkcs8;
mod private_key;
mod protected_key;
mod remote_key;
mod secret_sealer;
mod unlock;

pub use data_key::DataKey;
pub use envelope::Envelope;
pub use error::KeyError;
pub use key_file::{KeyFile, NewProtection, Protection};
pub use passphrase::check_new_passphrase;
pub use private_key::PrivateKey;
pub use protected_key::{CredentialsFile, ProtectedKey};
pub use remote_key::DigestSigner;
pub use secret_sealer::SecretSealer;
pub use unlock::{NoUnlock, Unlock};
