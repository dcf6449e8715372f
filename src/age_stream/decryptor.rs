//! Decryption of a stream.

use std::fmt;
use std::io::{self, BufReader, Read};

use super::error::AgeError;
use super::header::Header;
use super::keys::{self, TAG};
use super::payload::{CHUNK, PayloadReader};
use crate::secret::Secret;

/// Decrypt a stream. The plaintext is authentic but may be incomplete until the end is reached: an error of
/// kind `InvalidData` means that the stream was modified or truncated.
pub struct Decryptor<R: Read> {
    payload: PayloadReader<BufReader<R>>,
}

impl<R: Read> Decryptor<R> {
    /// Read the header and unwrap the file key.
    ///
    /// # Errors
    /// [`AgeError::Passphrase`] for a wrong passphrase, [`AgeError::Foreign`] for another format,
    /// [`AgeError::Altered`] for a modified header, [`AgeError::TooCostly`], or an error of `inner`.
    pub fn new(inner: R, passphrase: &Secret) -> Result<Self, AgeError> {
        let mut inner = BufReader::with_capacity(CHUNK + TAG, inner);
        let mut header = Header::read(&mut inner)?;
        let wrapped = std::mem::take(&mut header.wrapped_file_key);
        let file_key = keys::unwrap(wrapped, passphrase, &header.salt, header.log_n)?;
        header.verify(&file_key)?;
        Ok(Self { payload: PayloadReader::new(inner, &file_key)? })
    }
}

impl<R: Read> Read for Decryptor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.payload.read(buffer)
    }
}

impl<R: Read> fmt::Debug for Decryptor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(…)")
    }
}
