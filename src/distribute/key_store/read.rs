//! Contents of a PKCS#12 key store.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use pkcs8::der::Decode;
use pkcs12::Pfx;
use pkcs12::pfx::Version;

use super::error::KeyStoreError;
use crate::secret::Secret;

/// Private key or certificate in a key store.
#[derive(Debug)]
pub struct StoredObject {
    /// Its friendlyName.
    pub name: Option<String>,
    /// True for a certificate that Java takes as a trust anchor.
    pub trusted: bool,
    /// Certificate or PKCS#8 key, DER.
    pub der: Secret,
}

/// Objects in a key store, in their order.
#[derive(Debug)]
pub struct KeyStoreContents {
    /// Private keys.
    pub keys: Vec<StoredObject>,
    /// Certificates with and without a key.
    pub certificates: Vec<StoredObject>,
    /// True if a MAC protects the contents.
    pub authenticated: bool,
}

/// True for a PKCS#12 key store.
#[must_use]
pub fn is_key_store(bytes: &[u8]) -> bool {
    Pfx::from_der(bytes).is_ok_and(|store| store.version == Version::V3)
}

/// Open a key store of this or another program. Keys and certificates are not compared with each other.
///
/// # Errors
/// [`KeyStoreError::WrongPassword`], or [`KeyStoreError::Unreadable`] for a damaged file, an unknown encryption, and
/// more iterations than a million.
pub fn open_key_store(bytes: &[u8], password: &Secret) -> Result<KeyStoreContents, KeyStoreError> {
    let unreadable = |error: &dyn std::error::Error| KeyStoreError::Unreadable { why: error.to_string() };
    let authenticated = Pfx::from_der(bytes).map_err(|error| unreadable(&error))?.mac_data.is_some();
    let password = std::str::from_utf8(password.expose()).map_err(|_| KeyStoreError::WrongPassword)?;
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Error::MacError(_) | Error::Pkcs5Error(_) => KeyStoreError::WrongPassword,
        error => unreadable(&error),
    })?;
    let keys = archive.keys.into_iter().map(|bag| StoredObject {
        name: bag.friendly_name,
        trusted: false,
        der: Secret::new(bag.key.as_der().to_vec()),
    });
    let certificates = archive.certs.into_iter().map(|bag| StoredObject {
        name: bag.friendly_name,
        trusted: bag.trusted,
        der: Secret::new(bag.cert.as_der().to_vec()),
    });
    Ok(KeyStoreContents { keys: keys.collect(), certificates: certificates.collect(), authenticated })
}
