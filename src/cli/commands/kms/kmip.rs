//! `kms set kmip`.

use std::path::PathBuf;

use clap::Args;

use super::pem_file::pem_text;
use super::set_request::SetRequest;
use crate::ca::SecretStorage;
use crate::cli::session::CommandSession;
use crate::keys::kms::Credential;
use crate::keys::kms::kmip::{KmipAddress, KmipService, UniqueIdentifier};
use crate::terminal::report::Failure;

/// `kms set kmip`.
#[derive(Debug, Args)]
#[command(after_help = "\
The key must be an active AES key whose usage mask allows Encrypt and Decrypt, and the client
certificate must belong to an identity that may use it. Certificate and key are stored in kms.json (0600).")]
pub(crate) struct SetKmip {
    /// Address of the server: HOST:PORT (the KMIP port is 5696)
    address: KmipAddress,

    /// The UID of the wrapping key
    #[arg(value_name = "KEY-IDENTIFIER")]
    key: UniqueIdentifier,

    /// Client certificate for the server, in PEM
    #[arg(long, value_name = "FILE")]
    client_cert: PathBuf,

    /// Its private key, in PEM (0600)
    #[arg(long, value_name = "FILE")]
    client_key: PathBuf,

    /// CA that issued the server's certificate, instead of the one set by `ca-cert set`
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// Also move the keys that have a service of their own
    #[arg(long = "convert-to-cluster-key")]
    convert: bool,
}

impl SetKmip {
    pub(super) fn into_request(self, _: &CommandSession) -> Result<SetRequest, Failure> {
        let service = KmipService {
            address: self.address,
            key: self.key,
            client_certificate: pem_text(&self.client_cert)?,
            client_key: Credential::from_pem_file(&self.client_key)?,
            ca_certificate: self.ca_cert.as_deref().map(pem_text).transpose()?,
        };
        Ok(SetRequest {
            service: service.into(),
            secrets: SecretStorage::Stored,
            key_file: None,
            convert: self.convert,
            ca_certificate: None,
        })
    }
}
