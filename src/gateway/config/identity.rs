//! Certificate and key of the gateway.

use std::path::{Path, PathBuf};

use super::{key, schema};
use crate::mtls::keys::KeySource;
use crate::yaml::reader::Item;
use crate::yaml::values::guarded;

/// Files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificate, followed by its issuers, if any.
    pub certificate: PathBuf,
    /// Private key of the certificate.
    pub key: KeySource,
}

pub(super) fn identity(item: &Item<'_>, base: &Path) -> Option<IdentityFiles> {
    let mut fields = item.fields(&schema::IDENTITY)?;
    let certificate = fields.required("certificate").and_then(|item| guarded(&item, base));
    let key = fields.required("key");
    let key = key::read(key.as_ref(), &mut fields, base);
    fields.finish();
    Some(IdentityFiles { certificate: certificate?, key: key? })
}
