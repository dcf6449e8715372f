//! Comparison of files with the certificates that the inventory records.

use std::path::Path;

use crate::files;
use crate::keys::PrivateKey;
use crate::x509::{Certificate, pem};

/// True if the first certificate in the file is this one.
pub(in crate::ca) fn holds_certificate(path: &Path, certificate: &Certificate) -> bool {
    files::read(path, files::SMALL_FILE)
        .ok()
        .and_then(|bytes| pem::certificates(&bytes).ok())
        .is_some_and(|found| found.first() == Some(certificate))
}

/// True if the file contains the private key of this certificate.
pub(in crate::ca) fn holds_key_of(path: &Path, certificate: &Certificate) -> bool {
    PrivateKey::open(path).is_ok_and(|key| key.public_key_info() == certificate.public_key_info)
}
