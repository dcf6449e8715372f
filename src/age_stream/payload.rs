//! The payload: a nonce, then chunks of 64 KiB, each with its own authentication tag.

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use zeroize::Zeroizing;

use super::error::{AgeError, altered};
use super::keys::{FileKey, TAG, payload_key};

/// Octets of plaintext in a chunk; only the last one may have fewer.
pub(super) const CHUNK: usize = 64 << 10;

/// Chunk key with the number of the next chunk.
struct ChunkCipher {
    key: LessSafeKey,
    counter: u128,
}

impl ChunkCipher {
    fn new(file_key: &FileKey, nonce: &[u8; 16]) -> Result<Self, AgeError> {
        Ok(Self { key: payload_key(file_key, nonce)?, counter: 0 })
    }

    /// Eleven octets of chunk number, one octet that is 1 in the last chunk.
    fn next_nonce(&mut self, last: bool) -> Nonce {
        let number = (self.counter << 8 | u128::from(last)).to_be_bytes();
        self.counter += 1;
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(&number[4..]).for_each(|(to, from)| *to = *from);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypt a payload.
pub(super) struct PayloadWriter<W: Write> {
    inner: W,
    cipher: ChunkCipher,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> PayloadWriter<W> {
    /// Write the nonce.
    pub(super) fn new(mut inner: W, file_key: &FileKey, nonce: &[u8; 16]) -> Result<Self, AgeError> {
        let cipher = ChunkCipher::new(file_key, nonce)?;
        inner.write_all(nonce)?;
        Ok(Self { inner, cipher, chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)) })
    }

    /// Write the last chunk and return the underlying writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn write_chunk(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.cipher.next_nonce(last);
        self.cipher
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut *self.chunk)
            .map_err(|_| io::Error::other(AgeError::Crypto))?;
        self.inner.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for PayloadWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is held back until more bytes prove that it is not the last.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.write_chunk(false)?;
        }
        let (now, _) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
        self.chunk.extend_from_slice(now);
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Decrypt a payload. After an error, every further read fails.
pub(super) struct PayloadReader<R: BufRead> {
    inner: R,
    cipher: ChunkCipher,
    /// Plaintext of the current chunk.
    chunk: Zeroizing<Vec<u8>>,
    /// Octets of `chunk` already read.
    position: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No chunk was read yet.
    Start,
    /// More chunks follow.
    Middle,
    /// The last chunk was read.
    End,
    /// A chunk was not authentic, or could not be read.
    Failed,
}

impl<R: BufRead> PayloadReader<R> {
    /// Read the nonce.
    pub(super) fn new(mut inner: R, file_key: &FileKey) -> Result<Self, AgeError> {
        let mut nonce = [0; 16];
        inner.read_exact(&mut nonce).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AgeError::Altered,
            _ => error.into(),
        })?;
        let cipher = ChunkCipher::new(file_key, &nonce)?;
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        Ok(Self { inner, cipher, chunk, position: 0, state: State::Start })
    }

    fn next_chunk(&mut self) -> io::Result<State> {
        self.chunk.clear();
        self.position = 0;
        let limit = u64::try_from(CHUNK + TAG).unwrap_or_default();
        self.inner.by_ref().take(limit).read_to_end(&mut self.chunk)?;
        let last = self.inner.fill_buf()?.is_empty();
        let nonce = self.cipher.next_nonce(last);
        let length =
            self.cipher.key.open_in_place(nonce, Aad::empty(), &mut self.chunk).map_err(|_| altered())?.len();
        // An empty chunk is valid only as the one chunk of an empty payload.
        if length == 0 && self.state != State::Start {
            return Err(altered());
        }
        self.chunk.truncate(length);
        Ok(if last { State::End } else { State::Middle })
    }
}

impl<R: BufRead> Read for PayloadReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(altered());
        }
        if self.position == self.chunk.len() && self.state != State::End {
            self.state = self.next_chunk().inspect_err(|_| {
                // The buffer may hold octets that were not authenticated.
                self.chunk.clear();
                self.state = State::Failed;
            })?;
        }
        let unread = self.chunk.get(self.position..).unwrap_or_default();
        let length = unread.len().min(buffer.len());
        buffer.iter_mut().zip(unread).for_each(|(to, from)| *to = *from);
        self.position += length;
        Ok(length)
    }
}
