//! Passphrase-encrypted streams in the age format (`age-encryption.org/v1`, one scrypt stanza), which
//! `age --decrypt` opens too.
//!
//! The passphrase gives, through scrypt (RFC 7914), the key that wraps a random file key. The payload is a
//! sequence of chunks, each encrypted with ChaCha20-Poly1305. The nonce of a chunk holds its number and
//! whether it is the last. A modified, missing, moved or added byte is therefore an error, and nothing of its
//! chunk is released.
//!
//! | file | contents |
//! |---|---|
//! | `encryptor` | [`Encryptor`], which writes a stream |
//! | `decryptor` | [`Decryptor`], which reads one |
//! | `payload` | the chunks |
//! | `header` | version, stanza and header MAC |
//! | `keys` | key derivation |
//! | `error` | [`AgeError`] |

mod decryptor;
mod encryptor;
mod error;
mod header;
mod keys;
mod payload;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors_tests;

pub use decryptor::Decryptor;
pub use encryptor::Encryptor;
pub use error::AgeError;
