//! A stream that only a passphrase opens, in the age format (age-encryption.org/v1, one scrypt stanza),
//! so that `age --decrypt` opens it without this program.
//!
//! The passphrase gives, through scrypt (RFC 7914), the key that wraps a random file key; the stream is
//! cut into chunks, each sealed with ChaCha20-Poly1305 under its number and whether it is the last. One
//! altered, missing, moved or added byte is an error, and nothing of the chunk that has it gets out.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use zeroize::Zeroizing;

use crate::clock::{Entropy, EntropyError};
use crate::secret::Secret;

const VERSION: &str = "age-encryption.org/v1";
const SALT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// The work of one guess at the passphrase: scrypt with N = 2^17, r = 8, p = 1 (OWASP's first choice),
/// which takes 128 MiB.
const LOG_N: u8 = 17;

/// The most work that a file may ask for before it is opened: 1 GiB.
const MOST_LOG_N: u8 = 20;

/// Plaintext of one chunk, and the tag after it.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

/// The longest line of a header.
const LONGEST_LINE: u64 = 128;

/// The fewest characters of a passphrase: whoever has the file guesses for as long as they like.
const SHORTEST_PASSPHRASE: usize = 12;

/// Seals what is written to it; [`Sealer::finish`] writes the end, without which nothing opens.
pub struct Sealer<W: Write> {
    inner: W,
    stream: Stream,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    /// Begins a stream that `passphrase` will open.
    ///
    /// # Errors
    /// [`SealError::WeakPassphrase`], no randomness, or what `inner` says.
    pub fn new(inner: W, passphrase: &Secret, entropy: &dyn Entropy) -> Result<Self, SealError> {
        Self::with_work(inner, passphrase, entropy, LOG_N)
    }

    fn with_work(
        mut inner: W,
        passphrase: &Secret,
        entropy: &dyn Entropy,
        log_n: u8,
    ) -> Result<Self, SealError> {
        let characters = String::from_utf8_lossy(passphrase.expose()).chars().count();
        if characters < SHORTEST_PASSPHRASE {
            return Err(SealError::WeakPassphrase { minimum: SHORTEST_PASSPHRASE });
        }
        let (mut file_key, mut salt, mut nonce) = (Zeroizing::new([0; 16]), [0; 16], [0; 16]);
        for bytes in [file_key.as_mut_slice(), &mut salt, &mut nonce] {
            entropy.fill(bytes)?;
        }
        let mut wrapped = file_key.to_vec();
        aead(&*wrap_key(passphrase, &salt, log_n)?)?
            .seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut wrapped)
            .map_err(|_| SealError::Crypto)?;
        let header = format!(
            "{VERSION}\n-> scrypt {} {log_n}\n{}\n---",
            BASE64_STANDARD_NO_PAD.encode(salt),
            BASE64_STANDARD_NO_PAD.encode(&wrapped)
        );
        let mac = BASE64_STANDARD_NO_PAD.encode(hmac::sign(&mac_key(&file_key)?, header.as_bytes()));
        inner.write_all(format!("{header} {mac}\n").as_bytes())?;
        inner.write_all(&nonce)?;
        let stream = Stream::new(&file_key, &nonce)?;
        Ok(Self { inner, stream, chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)) })
    }

    /// Writes the end and gives back what the stream was written to.
    ///
    /// # Errors
    /// What it says.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal_chunk(true)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn seal_chunk(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.stream.next_nonce(last);
        self.stream
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut *self.chunk)
            .map_err(|_| io::Error::other(SealError::Crypto))?;
        self.inner.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for what follows: only then is it known not to be the last.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.seal_chunk(false)?;
        }
        let (now, _) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
        self.chunk.extend_from_slice(now);
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// Reads what a [`Sealer`] wrote. What was read may be believed only when the end was reached: an error
/// of kind `InvalidData` says that the stream was altered or cut.
pub struct Opener<R: Read> {
    inner: BufReader<R>,
    stream: Stream,
    chunk: Zeroizing<Vec<u8>>,
    /// How much of `chunk` was read.
    read: usize,
    /// Whether `chunk` is the last one.
    last: bool,
    chunks: u64,
}

impl<R: Read> Opener<R> {
    /// Opens a stream with its passphrase.
    ///
    /// # Errors
    /// [`SealError::Passphrase`] for another passphrase, [`SealError::Foreign`] for another kind of file,
    /// [`SealError::Altered`] for a header that was changed, [`SealError::TooCostly`], or what `inner` says.
    pub fn new(inner: R, passphrase: &Secret) -> Result<Self, SealError> {
        let mut inner = BufReader::with_capacity(CHUNK + TAG, inner);
        if line(&mut inner)? != VERSION {
            return Err(SealError::Foreign);
        }
        let stanza = line(&mut inner)?;
        let body = line(&mut inner)?;
        let end = line(&mut inner)?;
        let (salt, log_n) = read_stanza(&stanza).ok_or(SealError::Foreign)?;
        if log_n > MOST_LOG_N {
            return Err(SealError::TooCostly { log_n });
        }
        let mut wrapped =
            decode(&body).filter(|wrapped| wrapped.len() == 16 + TAG).ok_or(SealError::Foreign)?;
        let mac = end.strip_prefix("--- ").and_then(decode).ok_or(SealError::Foreign)?;
        let file_key = aead(&*wrap_key(passphrase, &salt, log_n)?)?
            .open_in_place(zero_nonce(), Aad::empty(), &mut wrapped)
            .ok()
            .and_then(|key| <[u8; 16]>::try_from(&*key).ok())
            .map(Zeroizing::new)
            .ok_or(SealError::Passphrase)?;
        let header = format!("{VERSION}\n{stanza}\n{body}\n---");
        hmac::verify(&mac_key(&file_key)?, header.as_bytes(), &mac).map_err(|_| SealError::Altered)?;
        let mut nonce = [0; 16];
        inner.read_exact(&mut nonce).map_err(cut)?;
        let stream = Stream::new(&file_key, &nonce)?;
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        Ok(Self { inner, stream, chunk, read: 0, last: false, chunks: 0 })
    }

    fn open_chunk(&mut self) -> io::Result<()> {
        self.chunk.clear();
        let limit = u64::try_from(CHUNK + TAG).unwrap_or_default();
        self.inner.by_ref().take(limit).read_to_end(&mut self.chunk)?;
        self.last = self.inner.fill_buf()?.is_empty();
        let nonce = self.stream.next_nonce(self.last);
        let length =
            self.stream.key.open_in_place(nonce, Aad::empty(), &mut self.chunk).map_err(|_| altered())?.len();
        // Only a stream of nothing ends with an empty chunk.
        if length == 0 && self.chunks > 0 {
            return Err(altered());
        }
        self.chunk.truncate(length);
        self.chunks += 1;
        self.read = 0;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() && !self.last {
            self.open_chunk()?;
        }
        let unread = self.chunk.get(self.read..).unwrap_or_default();
        let length = unread.len().min(buffer.len());
        buffer.iter_mut().zip(unread).for_each(|(to, from)| *to = *from);
        self.read += length;
        Ok(length)
    }
}

impl<R: Read> fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(…)")
    }
}

/// The key of the chunks, and the number of the next one.
struct Stream {
    key: LessSafeKey,
    counter: u128,
}

impl Stream {
    fn new(file_key: &[u8; 16], nonce: &[u8; 16]) -> Result<Self, SealError> {
        Ok(Self { key: aead(&*derive(file_key, nonce, b"payload")?)?, counter: 0 })
    }

    /// Eleven octets of the chunk's number, one that says whether it is the last.
    fn next_nonce(&mut self, last: bool) -> Nonce {
        let number = (self.counter << 8 | u128::from(last)).to_be_bytes();
        self.counter += 1;
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(&number[4..]).for_each(|(to, from)| *to = *from);
        Nonce::assume_unique_for_key(nonce)
    }
}

fn zero_nonce() -> Nonce {
    // The key is used once: its salt is new in every file.
    Nonce::assume_unique_for_key([0; 12])
}

fn wrap_key(passphrase: &Secret, salt: &[u8; 16], log_n: u8) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let parameters = scrypt::Params::new(log_n, 8, 1).map_err(|_| SealError::Foreign)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.expose(), &[SALT_LABEL, salt].concat(), &parameters, key.as_mut())
        .map_err(|_| SealError::Crypto)?;
    Ok(key)
}

fn mac_key(file_key: &[u8; 16]) -> Result<hmac::Key, SealError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*derive(file_key, &[], b"header")?))
}

fn derive(file_key: &[u8; 16], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(file_key)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| SealError::Crypto)?;
    Ok(key)
}

fn aead(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| SealError::Crypto)
}

/// `-> scrypt SALT LOG_N`.
fn read_stanza(line: &str) -> Option<([u8; 16], u8)> {
    let (salt, log_n) = line.strip_prefix("-> scrypt ")?.split_once(' ')?;
    // One spelling for each number.
    let canonical = !log_n.starts_with(['0', '+']);
    Some((decode(salt)?.try_into().ok()?, log_n.parse().ok().filter(|_| canonical)?))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()
}

fn line(inner: &mut impl BufRead) -> Result<String, SealError> {
    let mut bytes = Vec::new();
    inner.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    match bytes.pop() {
        Some(b'\n') => String::from_utf8(bytes).map_err(|_| SealError::Foreign),
        _ => Err(SealError::Foreign),
    }
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, SealError::Altered)
}

fn cut(error: io::Error) -> SealError {
    if error.kind() == io::ErrorKind::UnexpectedEof { SealError::Altered } else { error.into() }
}

/// Why a stream cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is not as it was written.
    #[error("it was altered, or its end is missing")]
    Altered,
    /// The crypto library failed.
    #[error("the crypto library failed")]
    Crypto,
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It is not a stream that a passphrase opens.
    #[error("it is not a file in the age format that a passphrase opens")]
    Foreign,
    /// The stream could not be read or written.
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    /// Another passphrase opens it.
    #[error("the passphrase is not the one that it was sealed with")]
    Passphrase,
    /// Opening it would take more memory than anybody should grant.
    #[error("it asks for scrypt with N = 2^{log_n}, which is more than is granted")]
    TooCostly {
        /// The logarithm of the work that it asks for.
        log_n: u8,
    },
    /// A passphrase that is guessed too soon.
    #[error("the passphrase is too short: at least {minimum} characters were expected")]
    WeakPassphrase {
        /// The fewest characters.
        minimum: usize,
    },
}

impl SealError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Altered => "sealed.altered",
            Self::Crypto => "system.crypto",
            Self::Entropy(error) => error.code(),
            Self::Foreign => "sealed.foreign",
            Self::Io(_) => "file.stream",
            Self::Passphrase => "sealed.passphrase",
            Self::TooCostly { .. } => "sealed.too_costly",
            Self::WeakPassphrase { .. } => "sealed.weak_passphrase",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    fn passphrase(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn seal(text: &[u8]) -> Vec<u8> {
        let mut sealer =
            Sealer::with_work(Vec::new(), &passphrase("correct horse"), &SystemEntropy, 4).unwrap();
        sealer.write_all(text).unwrap();
        sealer.finish().unwrap()
    }

    fn open(sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut opener = Opener::new(sealed, &passphrase("correct horse")).map_err(|error| error.code())?;
        let mut text = Vec::new();
        match opener.read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err("sealed.altered"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let text: Vec<u8> = (0..=255).cycle().take(length).collect();
            assert_eq!(open(&seal(&text)), Ok(text), "{length}");
        }
    }

    #[test]
    fn another_passphrase_opens_nothing_and_a_short_one_seals_nothing() {
        let sealed = seal(b"text");
        let error = Opener::new(sealed.as_slice(), &passphrase("correct hors")).unwrap_err();
        assert_eq!(error.code(), "sealed.passphrase");
        let error = Sealer::new(Vec::new(), &passphrase("eleven char"), &SystemEntropy).unwrap_err();
        assert_eq!(error.code(), "sealed.weak_passphrase");
    }

    #[test]
    fn a_byte_altered_removed_or_added_is_noticed() {
        let sealed = seal(&vec![7; CHUNK + 100]);
        let header = sealed.windows(4).position(|bytes| bytes == b"\n---").unwrap() + 49;
        // All of the header and of the nonce, and both ends of the chunks.
        let places = (0..header + 17).chain([header + CHUNK, sealed.len() - 1]);
        for at in places {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed).is_err(), "{at}");
        }
        assert_eq!(open(&sealed[..sealed.len() - 1]), Err("sealed.altered"));
        assert_eq!(
            open(&sealed[..sealed.len() - 100 - TAG]),
            Err("sealed.altered"),
            "the last chunk is missing"
        );
        assert_eq!(open(&[sealed.as_slice(), &[0]].concat()), Err("sealed.altered"));
        assert_eq!(open(b""), Err("sealed.foreign"));
        assert_eq!(open(b"age-encryption.org/v1\n-> X25519 abc\n"), Err("sealed.foreign"));
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_is_not_opened() {
        let text = String::from_utf8_lossy(&seal(b"")).into_owned();
        let costly = text.replacen(" 4\n", " 30\n", 1);
        assert_eq!(open(costly.as_bytes()), Err("sealed.too_costly"));
    }
}
