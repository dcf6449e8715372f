//! Non-exportable root keys in PKCS#11 tokens: hardware security modules, smart cards, SoftHSM.
//!
//! The token signs digests with raw ECDSA. Nothing is ever written to it.
//!
//! | module | contents |
//! |---|---|
//! | `uri` | PKCS#11 URIs (RFC 7512): module, token and key |
//! | `module` | the token's library, checked before it is loaded |
//! | `token` | the token: one login, its keys |
//! | `token_key` | the key in `kms.json`, and its signer |
//! | `encoding` | public keys and signatures in DER |
//! | `pin`, `error` | source of the PIN; errors |

mod encoding;
mod error;
mod module;
mod pin;
mod token;
mod token_key;
mod uri;

pub use error::Pkcs11Error;
pub use pin::{PIN_VARIABLE, PinProvider};
pub use token_key::TokenKey;
pub use uri::Pkcs11Uri;
