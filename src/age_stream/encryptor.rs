//! Encryption of a stream.

use std::fmt;
use std::io::{self, Write};

use zeroize::Zeroizing;

use super::error::AgeError;
use super::header::Header;
use super::keys::{self, LOG_N};
use super::payload::PayloadWriter;
use crate::clock::Entropy;
use crate::secret::Secret;

/// Minimum passphrase length in characters: an attacker with the file can guess offline, without limit.
const MIN_PASSPHRASE: usize = 12;

/// Encrypt the octets written to it. [`Encryptor::finish`] writes the last chunk; without it, the stream
/// cannot be decrypted.
pub struct Encryptor<W: Write> {
    payload: PayloadWriter<W>,
}

impl<W: Write> Encryptor<W> {
    /// Start a stream that `passphrase` decrypts.
    ///
    /// # Errors
    /// [`AgeError::WeakPassphrase`], a failing random generator, or an error of `inner`.
    pub fn new(inner: W, passphrase: &Secret, entropy: &dyn Entropy) -> Result<Self, AgeError> {
        Self::with_work(inner, passphrase, entropy, LOG_N)
    }

    pub(super) fn with_work(
        mut inner: W,
        passphrase: &Secret,
        entropy: &dyn Entropy,
        log_n: u8,
    ) -> Result<Self, AgeError> {
        let characters = String::from_utf8_lossy(passphrase.expose()).chars().count();
        if characters < MIN_PASSPHRASE {
            return Err(AgeError::WeakPassphrase { minimum: MIN_PASSPHRASE });
        }
        let (mut file_key, mut salt, mut nonce) = (Zeroizing::new([0; 16]), [0; 16], [0; 16]);
        for bytes in [file_key.as_mut_slice(), &mut salt, &mut nonce] {
            entropy.fill(bytes)?;
        }
        let wrapped = keys::wrap(&file_key, passphrase, &salt, log_n)?;
        inner.write_all(Header::text(&salt, log_n, &wrapped, &file_key)?.as_bytes())?;
        Ok(Self { payload: PayloadWriter::new(inner, &file_key, &nonce)? })
    }

    /// Write the last chunk and return the underlying writer.
    ///
    /// # Errors
    /// An error of the underlying writer.
    pub fn finish(self) -> io::Result<W> {
        self.payload.finish()
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.payload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.payload.flush()
    }
}

impl<W: Write> fmt::Debug for Encryptor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryptor(…)")
    }
}
