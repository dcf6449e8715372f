//! Comparison of files with the certificates that the inventory records.

use std::io::ErrorKind;
use std::path::Path;

use crate::files::{self, FileError};
use crate::keys::{KeyError, PrivateKey};
use crate::x509::{Certificate, pem};

/// Test that compares a file with a certificate.
pub(in crate::ca) type MatchesCertificate = fn(&Path, &Certificate) -> Result<bool, FileError>;

/// True if the first certificate in the file is this one. A file that cannot be read is an error, a
/// missing one or one with other contents is not.
pub(in crate::ca) fn holds_certificate(path: &Path, certificate: &Certificate) -> Result<bool, FileError> {
    match files::read(path, files::SMALL_FILE) {
        Ok(bytes) => Ok(pem::certificates(&bytes).is_ok_and(|found| found.first() == Some(certificate))),
        Err(error) if is_read_failure(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// True if the file contains the private key of this certificate. Errors are those of
/// [`holds_certificate`].
pub(in crate::ca) fn holds_key_of(path: &Path, certificate: &Certificate) -> Result<bool, FileError> {
    match PrivateKey::open(path) {
        Ok(key) => Ok(key.public_key_info() == certificate.public_key_info),
        Err(KeyError::File(error)) if is_read_failure(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// True if an existing file could not be read, so that its contents are unknown.
fn is_read_failure(error: &FileError) -> bool {
    matches!(error, FileError::Io { source, .. }
        if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory))
}
