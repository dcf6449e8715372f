//! The root's key in a PKCS#11 token: a hardware security module, a smart card, or SoftHSM.
//!
//! | file | what |
//! |---|---|
//! | `uri` | which module, token and key: a PKCS#11 URI (RFC 7512) |
//! | `module` | the token's library, looked at before it is loaded |
//! | `token` | the token, logged in to once, and the key in it |
//!
//! The token is asked for raw ECDSA signatures of digests and for nothing else; it is never written to.

mod error;
mod module;
mod token;
mod uri;

pub use error::Pkcs11Error;
pub use uri::Pkcs11Uri;

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use serde::{Deserialize, Serialize};

use self::module::Module;
use self::token::Token;
use super::{Credential, KmsError};
use crate::files;
use crate::keys::held::DigestSigner;
use crate::keys::unlock::Unlock;
use crate::secret::Secret;
use crate::x509::der::{Reader, element, integer, tag};

/// The octets of one coordinate, and of each half of a signature.
const COORDINATE: usize = 32;

/// SubjectPublicKeyInfo of an EC key on P-256 (RFC 5480) up to its point.
const P256_KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key in a token, and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// Which key.
    pub uri: Pkcs11Uri,
    /// The token's PIN; one that is not kept is none here and is supplied at each use.
    pub pin: Option<Credential>,
}

impl TokenKey {
    /// Opens the token. What is wrong with module, token or key is found now, not at the first signature.
    pub(super) fn open(&self, unlock: &dyn Unlock) -> Result<TokenSigner, KmsError> {
        let module = Module::load(self.uri.module())?;
        let token = Token::open(&module, &self.uri, &|| self.kept_pin(), unlock)?;
        let key = token.find_key(&self.uri)?;
        let public_key_info = public_key_info(&key.point).ok_or_else(|| Pkcs11Error::KeyUnfit {
            token: token.name.clone(),
            key: key.name,
            why: "its public key object holds no point of P-256",
        })?;
        Ok(TokenSigner { token: Mutex::new(token), _module: module, key: key.handle, public_key_info })
    }

    /// The PIN from where it is kept: the file that the URI names, or the configuration.
    fn kept_pin(&self) -> Result<Option<Secret>, KmsError> {
        match (self.uri.pin_source(), &self.pin) {
            (Some(file), _) => {
                let pin = files::read_private(file)?.first_line();
                let unreadable = || Pkcs11Error::PinUnreadable { from: file.display().to_string() };
                Ok(Some(pin.ok_or_else(unreadable)?))
            }
            (None, pin) => Ok(pin.as_ref().map(|pin| Secret::new(pin.expose().as_bytes().to_vec()))),
        }
    }
}

/// A key of a token that is logged in to.
pub(super) struct TokenSigner {
    // Dropped before the module that it is of.
    token: Mutex<Token>,
    _module: Module,
    key: ObjectHandle,
    public_key_info: Vec<u8>,
}

impl DigestSigner for TokenSigner {
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError> {
        Ok(self.public_key_info.clone())
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = token.session.sign(&Mechanism::Ecdsa, self.key, digest);
        let raw = raw.map_err(|error| token.failed("sign", &error))?;
        let why = || format!("the signature has {} octets instead of {}", raw.len(), 2 * COORDINATE);
        Ok(signature(&raw).ok_or_else(|| Pkcs11Error::Failed { doing: "sign", why: why() })?)
    }
}

/// What kept a module from doing something, in the standard's words.
fn failed(doing: &'static str, error: &Error) -> Pkcs11Error {
    let why = match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), _) => {
            format!("error {code:#x}")
        }
        // The names of the standard, as they are written there but for their case.
        Error::Pkcs11(error, _) => format!("{error:?}"),
        other => other.to_string(),
    };
    Pkcs11Error::Failed { doing, why }
}

/// SubjectPublicKeyInfo for what a token holds as CKA_EC_POINT: the point in a DER octet string, as the
/// standard has it, or bare, as some tokens do. None for anything but an uncompressed point of P-256.
fn public_key_info(held: &[u8]) -> Option<Vec<u8>> {
    let is_point = |bytes: &[u8]| bytes.len() == 1 + 2 * COORDINATE && bytes.first() == Some(&4);
    let wrapped = Reader::whole(held, tag::OCTET_STRING).ok();
    let point = wrapped.into_iter().chain([held]).find(|bytes| is_point(bytes))?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
    Some([P256_KEY, point].concat())
}

/// The DER of an ECDSA signature (RFC 3279, section 2.2.3) that a token gives as its two numbers one
/// after the other.
fn signature(raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(COORDINATE).filter(|(_, s)| s.len() == COORDINATE)?;
    let mut numbers = Vec::with_capacity(2 * (COORDINATE + 3));
    integer(&mut numbers, r);
    integer(&mut numbers, s);
    Some(element(tag::SEQUENCE, &numbers))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};

    use super::*;
    use crate::keys::PrivateKey;
    use crate::x509::KeyAlgorithm;

    #[test]
    fn a_point_is_read_as_the_standard_has_it_and_bare() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let info = key.public_key_info();
        let point = &info[P256_KEY.len()..];
        assert_eq!(public_key_info(point).unwrap(), info);
        assert_eq!(public_key_info(&element(tag::OCTET_STRING, point)).unwrap(), info);

        let mut off_the_curve = point.to_vec();
        off_the_curve[64] ^= 1;
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        for bad in [
            &[][..],
            &[4],
            &[4, 65],
            &point[..64],
            &[point, &[0]].concat(),
            &off_the_curve,
            &[&[4][..], &[0; 64]].concat(),
            &compressed,
            &element(tag::OCTET_STRING, &compressed),
            &element(tag::OCTET_STRING, &element(tag::OCTET_STRING, point)),
            &element(tag::BIT_STRING, point),
            &info,
        ] {
            assert_eq!(public_key_info(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn two_numbers_become_the_der_that_everybody_verifies() {
        let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pkcs8.public_key().as_ref().to_vec());
        // Enough that numbers with a leading bit and, likely, a leading zero are among them.
        for message in 0..1000_u16 {
            let message = message.to_be_bytes();
            let raw = pkcs8.sign(&SystemRandom::new(), &message).unwrap();
            public.verify(&message, &signature(raw.as_ref()).unwrap()).unwrap();
        }
        let small = [[0; 31].as_slice(), &[0x80], &[0; 31], &[1]].concat();
        assert_eq!(signature(&small).unwrap(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        for bad in [&[][..], &[0; 63], &[0; 65], &[0; 96]] {
            assert_eq!(signature(bad), None);
        }
    }
}
