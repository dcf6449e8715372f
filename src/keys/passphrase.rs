//! Private keys encrypted with a passphrase: PKCS#8 `EncryptedPrivateKeyInfo` with PBES2 (RFC 5958,
//! section 3; RFC 8018), as `openssl pkey` reads and writes it.
//!
//! Written: scrypt (RFC 7914) with AES-256-CBC. Read: scrypt or PBKDF2 with HMAC-SHA-2, and AES-128-CBC or
//! AES-256-CBC. The crate `pkcs8` parses the structure, aws-lc-rs has the ciphers; keys and plaintext live in
//! zeroized buffers.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Encode;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::EncryptionScheme as Scheme;
use pkcs8::pkcs5::pbes2::{
    EncryptionScheme as Cipher, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams,
};
use zeroize::Zeroizing;

use super::error::KeyError;
use crate::secret::Secret;

/// PEM label of an encrypted key (RFC 7468, section 11).
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Minimum length of a new passphrase, in characters: a stolen file can be attacked offline.
const MIN_LENGTH: usize = 12;

/// Cost of one guess: scrypt with N = 2^14, r = 8, p = 5. OWASP rates it equal to N = 2^17, p = 1. It is the
/// largest N whose memory (16 MiB) OpenSSL allows for a key file.
const COST: (u8, u16, u16) = (14, 8, 5);

/// Limits on the cost that a file may ask for: scrypt memory (N × r × 128 bytes), scrypt passes, iterations.
const MAX_SCRYPT_MEMORY: u64 = 1 << 30;
const MAX_SCRYPT_PASSES: u16 = 64;
const MAX_PBKDF2_ITERATIONS: u32 = 20_000_000;

/// Check the length of a new passphrase.
///
/// # Errors
/// [`KeyError::WeakPassphrase`].
pub fn check_new_passphrase(passphrase: &Secret) -> Result<(), KeyError> {
    let characters = String::from_utf8_lossy(passphrase.expose()).chars().count();
    if characters < MIN_LENGTH { Err(KeyError::WeakPassphrase { minimum: MIN_LENGTH }) } else { Ok(()) }
}

/// Encrypt a PKCS#8 key to an `EncryptedPrivateKeyInfo` in DER.
///
/// # Errors
/// [`KeyError::Seal`] when the crypto library fails.
pub(super) fn encrypt(pkcs8: &[u8], passphrase: &Secret) -> Result<Vec<u8>, KeyError> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| KeyError::Seal)?;
    let (log_n, block_size, parallelization) = COST;
    let kdf = Kdf::Scrypt(ScryptParams {
        salt: Salt::new(salt).map_err(|_| KeyError::Seal)?,
        cost_parameter: 1 << log_n,
        block_size,
        parallelization,
        key_length: None,
    });
    let mut key = Zeroizing::new([0; 32]);
    derive(&kdf, passphrase, key.as_mut())?;
    // Capacity for the padding: growing would leave the plaintext behind.
    let mut text = Zeroizing::new(Vec::with_capacity(pkcs8.len() + 16));
    text.extend_from_slice(pkcs8);
    let cipher = UnboundCipherKey::new(&AES_256, key.as_ref())
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .map_err(|_| KeyError::Seal)?;
    let DecryptionContext::Iv128(iv) = cipher.encrypt(&mut *text).map_err(|_| KeyError::Seal)? else {
        return Err(KeyError::Seal);
    };
    let info = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: Parameters { kdf, encryption: Cipher::Aes256Cbc { iv: *iv.as_ref() } }.into(),
        encrypted_data: OctetStringRef::new(&text).map_err(|_| KeyError::Seal)?,
    };
    info.to_der().map_err(|_| KeyError::Seal)
}

/// Decrypt an `EncryptedPrivateKeyInfo` in DER to PKCS#8; `None` if passphrase or ciphertext are wrong. A
/// wrong passphrase may also yield bytes that are not a key: callers must report both cases alike.
///
/// # Errors
/// [`KeyError::UnsupportedEncryption`] and [`KeyError::TooCostly`], which depend on the file alone.
pub(super) fn decrypt(der: &[u8], passphrase: &Secret) -> Result<Option<Secret>, KeyError> {
    let unsupported = |_| KeyError::UnsupportedEncryption;
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(unsupported)?;
    let Scheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(KeyError::UnsupportedEncryption);
    };
    let (algorithm, iv, length) = match &parameters.encryption {
        Cipher::Aes128Cbc { iv } => (&AES_128, iv, 16),
        Cipher::Aes256Cbc { iv } => (&AES_256, iv, 32),
        _ => return Err(KeyError::UnsupportedEncryption),
    };
    let mut key = Zeroizing::new([0; 32]);
    let (key, _) = key.as_mut().split_at_mut(length);
    if parameters.kdf.key_length().is_some_and(|stated| usize::from(stated) != length) {
        return Err(KeyError::UnsupportedEncryption);
    }
    derive(&parameters.kdf, passphrase, key)?;
    let failed = |_| KeyError::UnsupportedEncryption;
    let cipher = UnboundCipherKey::new(algorithm, key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .map_err(failed)?;
    let mut text = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(*iv));
    Ok(cipher.decrypt(&mut text, context).ok().map(|plain| Secret::new(plain.to_vec())))
}

fn derive(kdf: &Kdf, passphrase: &Secret, key: &mut [u8]) -> Result<(), KeyError> {
    match kdf {
        Kdf::Scrypt(asked) => derive_scrypt(asked, passphrase, key),
        Kdf::Pbkdf2(asked) => derive_pbkdf2(asked, passphrase, key),
        _ => Err(KeyError::UnsupportedEncryption),
    }
}

fn derive_scrypt(asked: &ScryptParams, passphrase: &Secret, key: &mut [u8]) -> Result<(), KeyError> {
    let n = asked.cost_parameter;
    if !n.is_power_of_two() || n < 2 {
        return Err(KeyError::UnsupportedEncryption);
    }
    let memory = n.saturating_mul(u64::from(asked.block_size)).saturating_mul(128);
    if memory > MAX_SCRYPT_MEMORY || asked.parallelization > MAX_SCRYPT_PASSES {
        return Err(KeyError::TooCostly);
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| KeyError::TooCostly)?;
    let parameters =
        scrypt::Params::new(log_n, u32::from(asked.block_size), u32::from(asked.parallelization))
            .map_err(|_| KeyError::UnsupportedEncryption)?;
    scrypt::scrypt(passphrase.expose(), asked.salt.as_ref(), &parameters, key)
        .map_err(|_| KeyError::UnsupportedEncryption)
}

fn derive_pbkdf2(asked: &Pbkdf2Params, passphrase: &Secret, key: &mut [u8]) -> Result<(), KeyError> {
    let algorithm = match asked.prf {
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(KeyError::UnsupportedEncryption),
    };
    if asked.iteration_count > MAX_PBKDF2_ITERATIONS {
        return Err(KeyError::TooCostly);
    }
    let iterations =
        std::num::NonZeroU32::new(asked.iteration_count).ok_or(KeyError::UnsupportedEncryption)?;
    pbkdf2::derive(algorithm, iterations, asked.salt.as_ref(), passphrase.expose(), key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::keys::private_key::PrivateKey;
    use crate::x509::KeyAlgorithm;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn sealed(passphrase: &str) -> (PrivateKey, Vec<u8>) {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let der = encrypt(key.to_pkcs8().unwrap().secret_pkcs8_der(), &secret(passphrase)).unwrap();
        (key, der)
    }

    #[test]
    fn only_the_right_passphrase_opens_a_key() {
        let (key, der) = sealed("correct horse battery");
        let plain = decrypt(&der, &secret("correct horse battery")).unwrap().unwrap();
        assert_eq!(plain.expose(), key.to_pkcs8().unwrap().secret_pkcs8_der());
        for wrong in ["", "correct horse batterx", "correct horse battery "] {
            let found = decrypt(&der, &secret(wrong)).unwrap();
            assert!(found.is_none_or(|text| PrivateKey::from_pkcs8(text.expose()).is_err()));
        }
    }

    #[test]
    fn a_file_cannot_ask_for_unbounded_work() {
        let (_, der) = sealed("correct horse battery");
        let info = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
        let Scheme::Pbes2(honest) = info.encryption_algorithm.clone() else { panic!() };
        let Kdf::Scrypt(cost) = honest.kdf.clone() else { panic!() };
        let pbkdf2 = Pbkdf2Params {
            salt: cost.salt,
            iteration_count: 90_000_000,
            key_length: None,
            prf: Pbkdf2Prf::HmacWithSha256,
        };
        for kdf in [
            Kdf::Scrypt(ScryptParams { cost_parameter: 1 << 40, ..cost }),
            Kdf::Scrypt(ScryptParams { parallelization: u16::MAX, ..cost }),
            Kdf::Scrypt(ScryptParams { block_size: u16::MAX, cost_parameter: 1 << 20, ..cost }),
            Kdf::Pbkdf2(pbkdf2),
        ] {
            let hostile = EncryptedPrivateKeyInfoRef {
                encryption_algorithm: Parameters { kdf, encryption: honest.encryption }.into(),
                encrypted_data: info.encrypted_data,
            };
            let error = decrypt(&hostile.to_der().unwrap(), &secret("x")).unwrap_err();
            assert_eq!(error.code(), "key.too_costly");
        }
    }

    #[test]
    fn damaged_files_never_panic_and_never_open() {
        let (key, der) = sealed("correct horse battery");
        let passphrase = secret("correct horse battery");
        let opens = |der: &[u8]| {
            decrypt(der, &passphrase)
                .ok()
                .flatten()
                .and_then(|text| PrivateKey::from_pkcs8(text.expose()).ok())
        };
        // Only the structure around the ciphertext: every flip that still parses costs one scrypt.
        for at in (0..24).chain(60..70).chain([der.len() - 1]) {
            let mut flipped = der.clone();
            flipped[at] ^= 0x41;
            assert!(
                opens(&flipped).is_none_or(|found| found.public_key_info() == key.public_key_info()),
                "{at}"
            );
        }
        for at in 0..der.len() {
            assert!(opens(&der[..at]).is_none());
        }
    }

    #[test]
    fn short_passphrases_are_refused_for_new_keys() {
        assert_eq!(check_new_passphrase(&secret("elevenchars")).unwrap_err().code(), "key.weak_passphrase");
        check_new_passphrase(&secret("twelve chars")).unwrap();
        check_new_passphrase(&secret("zwölf Zeiche")).unwrap();
    }
}
