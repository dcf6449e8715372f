//! Key store of one private key, its certificate and the trust anchors.
//!
//! The store is encrypted with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC; RFC 8018) and
//! authenticated with HMAC-SHA-256. Java 8u301, OpenSSL 1.1.1, NSS and their successors read it.
//!
//! The leaf has the name of the key, as OpenSSL and keytool write it: Firefox and Chromium show it. Java takes a
//! certificate as a trust anchor only with an attribute of Oracle, which the roots have; other readers ignore it.

use aws_lc_rs::hmac;
use pkcs8::der::asn1::{Any, BmpString, ObjectIdentifier, OctetString, SetOfVec};
use pkcs8::der::{self, Decode, Encode};
use pkcs8::pkcs5::{self, pbes2};
use pkcs12::cms::cert::x509::attr::{Attribute, Attributes};
use pkcs12::cms::cert::x509::spki::AlgorithmIdentifierOwned;
use pkcs12::cms::content_info::{CmsVersion, ContentInfo};
use pkcs12::cms::encrypted_data::EncryptedData;
use pkcs12::cms::enveloped_data::EncryptedContentInfo;
use pkcs12::pbe_params::EncryptedPrivateKeyInfo;
use pkcs12::pfx::Version;
use pkcs12::{CertBag, DigestInfo, MacData, Pfx, SafeBag, kdf};
use sha2::Sha256;

use super::error::KeyStoreError;
use super::password::KeyStorePassword;
use crate::clock::Entropy;
use crate::keys::PrivateKey;
use crate::secret::Secret;
use crate::x509::Certificate;

/// PBKDF2 iterations: the OWASP recommendation for HMAC-SHA-256; opening takes a tenth of a second.
const ITERATIONS: u32 = 600_000;

/// Iterations of the MAC's key derivation; some readers limit these to fewer than PBKDF2's.
const MAC_ITERATIONS: i32 = 100_000;

// RFC 2985, RFC 7292 appendix D, RFC 5652, RFC 8018.
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Mark a trust anchor, for the usages of its value.
const ORACLE_TRUSTED_KEY_USAGE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.113894.746875.1.1");
const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Contents of a key store to create.
#[derive(Debug)]
pub struct KeyStoreEntries<'a> {
    /// Name of the key and of its certificate.
    pub alias: &'a str,
    /// Private key, PEM.
    pub key_pem: &'a Secret,
    /// Certificate of the key.
    pub leaf: &'a Certificate,
    /// Trust anchors, each with a name. The issuer of the leaf is among them.
    pub anchors: &'a [(String, &'a Certificate)],
}

/// Create a key store.
///
/// # Errors
/// [`KeyStoreError`] when the key cannot be parsed or the encoder fails.
pub fn key_store(
    entries: &KeyStoreEntries<'_>,
    password: &KeyStorePassword,
    entropy: &dyn Entropy,
) -> Result<Secret, KeyStoreError> {
    let key = PrivateKey::from_pem(entries.key_pem)?;
    let password = password.as_str()?;
    // Links the key to its certificate (localKeyID, RFC 2985): any value unique to the pair.
    let pair = entries.leaf.fingerprint().0;
    let own = [(FRIENDLY_NAME, bmp(entries.alias)?), (LOCAL_KEY_ID, octets(&pair)?)];
    let mut certificates = vec![certificate_bag(entries.leaf, &own)?];
    for (name, anchor) in entries.anchors {
        let trusted = Any::from_der(&ANY_EXTENDED_KEY_USAGE.to_der()?)?;
        let attributes = [(FRIENDLY_NAME, bmp(name)?), (ORACLE_TRUSTED_KEY_USAGE, trusted)];
        certificates.push(certificate_bag(anchor, &attributes)?);
    }
    let (content_enc_alg, encrypted) = encrypt(&certificates.to_der()?, password, entropy)?;
    let certificates = EncryptedData {
        version: CmsVersion::V0,
        enc_content_info: EncryptedContentInfo {
            content_type: DATA,
            content_enc_alg,
            encrypted_content: Some(OctetString::new(encrypted)?),
        },
        unprotected_attrs: None,
    };
    let (encryption_algorithm, encrypted) = encrypt(key.to_pkcs8()?.secret_pkcs8_der(), password, entropy)?;
    let key = EncryptedPrivateKeyInfo { encryption_algorithm, encrypted_data: OctetString::new(encrypted)? };
    let key = bag(SHROUDED_KEY_BAG, key.to_der()?, &own)?;
    let safes = vec![content(ENCRYPTED_DATA, &certificates)?, data(&vec![key].to_der()?)?].to_der()?;
    let store = Pfx {
        version: Version::V3,
        mac_data: Some(authenticate(&safes, password, entropy)?),
        auth_safe: data(&safes)?,
    };
    Ok(Secret::new(store.to_der()?))
}

type BagAttribute = (ObjectIdentifier, Any);

fn certificate_bag(certificate: &Certificate, attributes: &[BagAttribute]) -> Result<SafeBag, KeyStoreError> {
    let cert_value = OctetString::new(certificate.der.as_ref())?;
    bag(CERTIFICATE_BAG, CertBag { cert_id: X509_CERTIFICATE, cert_value }.to_der()?, attributes)
}

fn bag(
    bag_id: ObjectIdentifier,
    bag_value: Vec<u8>,
    attributes: &[BagAttribute],
) -> Result<SafeBag, KeyStoreError> {
    let mut set = Attributes::new();
    for (oid, value) in attributes {
        let values = SetOfVec::try_from(vec![value.clone()])?;
        set.insert(Attribute { oid: *oid, values })?;
    }
    Ok(SafeBag { bag_id, bag_value, bag_attributes: Some(set) })
}

fn content(content_type: ObjectIdentifier, value: &impl Encode) -> Result<ContentInfo, KeyStoreError> {
    Ok(ContentInfo { content_type, content: Any::from_der(&value.to_der()?)? })
}

fn data(bytes: &[u8]) -> Result<ContentInfo, KeyStoreError> {
    content(DATA, &OctetString::new(bytes)?)
}

fn bmp(text: &str) -> Result<Any, KeyStoreError> {
    Ok(Any::from_der(&BmpString::from_utf8(text)?.to_der()?)?)
}

fn octets(bytes: &[u8]) -> Result<Any, KeyStoreError> {
    Ok(Any::from_der(&OctetString::new(bytes)?.to_der()?)?)
}

/// Encrypt with PBES2 under a fresh salt.
fn encrypt(
    plain: &[u8],
    password: &str,
    entropy: &dyn Entropy,
) -> Result<(AlgorithmIdentifierOwned, Vec<u8>), KeyStoreError> {
    let (mut salt, mut iv) = ([0; 32], [0; 16]);
    entropy.fill(&mut salt)?;
    entropy.fill(&mut iv)?;
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv)?;
    let encrypted = parameters.encrypt(password.as_bytes(), plain)?;
    let parameters = Some(Any::from_der(&parameters.to_der()?)?);
    Ok((AlgorithmIdentifierOwned { oid: PBES2, parameters }, encrypted))
}

/// HMAC-SHA-256 under a key from the password (RFC 7292, appendix B).
fn authenticate(safes: &[u8], password: &str, entropy: &dyn Entropy) -> Result<MacData, KeyStoreError> {
    let mut salt = [0; 16];
    entropy.fill(&mut salt)?;
    let length = hmac::HMAC_SHA256.digest_algorithm().output_len();
    let key =
        kdf::derive_key_utf8::<Sha256>(password, &salt, kdf::Pkcs12KeyType::Mac, MAC_ITERATIONS, length)?;
    let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), safes);
    // Readers expect the NULL parameters that other writers give (RFC 5754, section 2).
    let algorithm = AlgorithmIdentifierOwned { oid: SHA_256, parameters: Some(Any::null()) };
    Ok(MacData {
        mac: DigestInfo { algorithm, digest: OctetString::new(digest.as_ref())? },
        mac_salt: OctetString::new(salt)?,
        iterations: MAC_ITERATIONS,
    })
}

impl From<der::Error> for KeyStoreError {
    fn from(error: der::Error) -> Self {
        Self::Library { why: error.to_string() }
    }
}

impl From<pkcs5::Error> for KeyStoreError {
    fn from(error: pkcs5::Error) -> Self {
        Self::Library { why: error.to_string() }
    }
}
