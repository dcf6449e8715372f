//! Certificate and key of the gateway.

use std::path::{Path, PathBuf};

use super::{key, schema};
use crate::gateway::config::reader::Item;
use crate::gateway::config::values::guarded;
use crate::mtls::keys::KeySource;

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, its issuers after it if there are any.
    pub certificate: PathBuf,
    /// Its private key.
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
