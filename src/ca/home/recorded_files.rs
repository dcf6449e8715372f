//! Whether a file holds what the inventory says of it.

use std::path::Path;

use crate::files;
use crate::keys::PrivateKey;
use crate::x509::{Certificate, pem};

/// Whether the file holds this certificate, first of all.
pub(in crate::ca) fn holds_certificate(path: &Path, certificate: &Certificate) -> bool {
    files::read(path, files::SMALL_FILE)
        .ok()
        .and_then(|bytes| pem::certificates(&bytes).ok())
        .is_some_and(|found| found.first() == Some(certificate))
}

/// Whether the file holds the private key of this certificate.
pub(in crate::ca) fn holds_key_of(path: &Path, certificate: &Certificate) -> bool {
    PrivateKey::open(path).is_ok_and(|key| key.public_key_info() == certificate.public_key_info)
}
