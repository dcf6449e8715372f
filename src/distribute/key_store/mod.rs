//! PKCS#12 key stores (RFC 7292), for browsers and Java.
//!
//! | file | contents |
//! |---|---|
//! | `password` | passwords that every reader encodes alike |
//! | `write` | one key with its certificate and the trust anchors |
//! | `read` | contents of a key store, of this program or another |
//! | `error` | failures of both |

mod error;
mod password;
mod read;
mod write;

pub use error::KeyStoreError;
pub use password::KeyStorePassword;
pub use read::{KeyStoreContents, StoredObject, is_key_store, open_key_store};
pub use write::{KeyStoreEntries, key_store};
