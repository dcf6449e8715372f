//! Key derivation: passphrase to wrapping key, file key to MAC key and payload key.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use super::error::AgeError;
use crate::secret::Secret;

const SALT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// Work of one passphrase guess in new streams: scrypt with N = 2^17, r = 8, p = 1 (OWASP's first choice),
/// which takes 128 MiB.
pub(super) const LOG_N: u8 = 17;

/// Octets of an authentication tag.
pub(super) const TAG: usize = 16;

/// Random key of one stream; all other keys are derived from it.
pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// Encrypt the file key with a key derived from the passphrase.
pub(super) fn wrap(
    file_key: &FileKey,
    passphrase: &Secret,
    salt: &[u8; 16],
    log_n: u8,
) -> Result<Vec<u8>, AgeError> {
    let mut wrapped = file_key.to_vec();
    aead(&*wrapping_key(passphrase, salt, log_n)?)?
        .seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut wrapped)
        .map_err(|_| AgeError::Crypto)?;
    Ok(wrapped)
}

/// Decrypt the file key.
pub(super) fn unwrap(
    mut wrapped: Vec<u8>,
    passphrase: &Secret,
    salt: &[u8; 16],
    log_n: u8,
) -> Result<FileKey, AgeError> {
    aead(&*wrapping_key(passphrase, salt, log_n)?)?
        .open_in_place(zero_nonce(), Aad::empty(), &mut wrapped)
        .ok()
        .and_then(|key| <[u8; 16]>::try_from(&*key).ok())
        .map(Zeroizing::new)
        .ok_or(AgeError::Passphrase)
}

/// The key of the header MAC.
pub(super) fn mac_key(file_key: &FileKey) -> Result<hmac::Key, AgeError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*derive(file_key, &[], b"header")?))
}

/// The key of the payload's chunks.
pub(super) fn payload_key(file_key: &FileKey, nonce: &[u8; 16]) -> Result<LessSafeKey, AgeError> {
    aead(&*derive(file_key, nonce, b"payload")?)
}

fn zero_nonce() -> Nonce {
    // The key is used once: every stream has a new salt.
    Nonce::assume_unique_for_key([0; 12])
}

fn wrapping_key(passphrase: &Secret, salt: &[u8; 16], log_n: u8) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let parameters = scrypt::Params::new(log_n, 8, 1).map_err(|_| AgeError::Foreign)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.expose(), &[SALT_LABEL, salt].concat(), &parameters, key.as_mut())
        .map_err(|_| AgeError::Crypto)?;
    Ok(key)
}

fn derive(file_key: &FileKey, salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(&**file_key)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| AgeError::Crypto)?;
    Ok(key)
}

fn aead(key: &[u8; 32]) -> Result<LessSafeKey, AgeError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| AgeError::Crypto)
}
