//! `kms set vault`, and the login options that it shares with `initialize`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::login_report::LoginReport;
use super::pem_file::pem_text;
use super::set_request::SetRequest;
use crate::ca::SecretStorage;
use crate::cli::environment;
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::cli::unlock::credential;
use crate::error::Code;
use crate::keys::kms::vault::{
    AppRole, KeyName, MountPath, Namespace, SECRET_ID, TOKEN, VaultAddress, VaultCredentials, VaultService,
};
use crate::keys::kms::{Configuration, Credential, KmsError, MissingSecret};
use crate::terminal::report::{CommandResult, Failure, Shown};

/// Login and mount options of a Vault.
#[derive(Debug, Args)]
pub(crate) struct VaultAccess {
    /// Read the token from the first line of this file (0600)
    #[arg(long, value_name = "FILE", conflicts_with = "role_id")]
    token_file: Option<PathBuf>,

    /// Log in with this role of the AppRole method, instead of with a token
    #[arg(long, value_name = "ID")]
    role_id: Option<String>,

    /// Read the role's secret id from the first line of this file (0600)
    #[arg(long, value_name = "FILE", requires = "role_id")]
    secret_id_file: Option<PathBuf>,

    /// The namespace of the engine and of the login
    #[arg(long)]
    namespace: Option<Namespace>,

    /// Mount path of the Transit engine [default: transit]
    #[arg(long, value_name = "PATH")]
    transit_path: Option<MountPath>,

    /// Mount path of the AppRole method below auth/ [default: approle]
    #[arg(long, value_name = "PATH")]
    auth_path: Option<MountPath>,
}

/// `kms set vault`.
#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
The token, or the secret id of the role, is read from its file, from CLUSTER_CA_KMS_TOKEN or
CLUSTER_CA_KMS_SECRET_ID, or from a prompt. The server's certificate must be issued by the CA of
`cluster-ca ca-cert set`, or without one by a CA in the system's trust store.

VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE and VAULT_CACERT, and before them those that begin with BAO_,
are read where neither an option nor a variable of cluster-ca nor ca-cert set gives the value.

The policy that the token needs, for the key ca-key:
  path \"transit/keys/ca-key\"    { capabilities = [\"read\"] }
  path \"transit/encrypt/ca-key\" { capabilities = [\"update\"] }
  path \"transit/decrypt/ca-key\" { capabilities = [\"update\"] }
  path \"transit/rewrap/ca-key\"  { capabilities = [\"update\"] }"
)]
pub(crate) struct SetVault {
    /// Address of the Vault: https://HOST:PORT [default: BAO_ADDR or VAULT_ADDR]
    address: Option<VaultAddress>,

    /// The name of the wrapping key in the Transit engine
    #[arg(value_name = "KEY-IDENTIFIER")]
    key: KeyName,

    #[command(flatten)]
    access: VaultAccess,

    /// Do not store the token or secret id: each run reads it from the environment or prompts for it
    #[arg(long)]
    do_not_keep_secrets: bool,

    /// Use the service only for the private key in this file (needs --role-id)
    #[arg(long = "for", value_name = "FILE", requires = "role_id", conflicts_with_all = ["convert", "token_file"])]
    own: Option<PathBuf>,

    /// Also move the keys that have a service of their own
    #[arg(long = "convert-to-cluster-key")]
    convert: bool,
}

impl VaultAccess {
    /// True if any of the options is given.
    pub(crate) fn is_given(&self) -> bool {
        self.token_file.is_some()
            || self.role_id.is_some()
            || self.namespace.is_some()
            || self.transit_path.is_some()
            || self.auth_path.is_some()
    }

    /// Take the namespace of the environment if none is given.
    pub(crate) fn or_namespace_of_environment(mut self, session: &CommandSession) -> Result<Self, Failure> {
        let given = environment::first(environment::NAMESPACE).filter(|_| self.namespace.is_none());
        if let Some((variable, text)) = given {
            let namespace = text.parse().map_err(|error: KmsError| Failure::from(error).at(variable))?;
            session.note(format_args!("the namespace {namespace} is that of {variable}"));
            self.namespace = Some(namespace);
        }
        Ok(self)
    }

    /// The service at `address`, with its key and the secret for its login.
    pub(crate) fn service(
        self,
        address: VaultAddress,
        key: KeyName,
        session: &CommandSession,
    ) -> Result<VaultService, Failure> {
        let read = |file: Option<PathBuf>, kind| match file {
            Some(file) => Credential::from_file(&file).map(Some),
            None => credential(&MissingSecret { kind, address: address.to_string() }, session.is_quiet()),
        };
        let credentials = match self.role_id {
            None => VaultCredentials::Token(read(self.token_file, TOKEN)?),
            Some(role_id) => VaultCredentials::AppRole(AppRole {
                auth_path: self.auth_path.map_or_else(|| "approle".parse(), Ok)?,
                role_id,
                secret_id: read(self.secret_id_file, SECRET_ID)?,
            }),
        };
        let transit_path = self.transit_path.map_or_else(|| "transit".parse(), Ok)?;
        Ok(VaultService { address, key, namespace: self.namespace, transit_path, credentials })
    }
}

/// `kms set signer`.
#[derive(Debug, Args)]
pub(crate) struct SetSigner {
    #[command(flatten)]
    access: VaultAccess,
}

impl SetSigner {
    pub(super) fn run(self, session: &CommandSession) -> CommandResult {
        let mut home = open_key_protection(session)?;
        let old = home.vault_signer()?;
        let (namespace, transit_path) = (self.access.namespace.clone(), self.access.transit_path.clone());
        let new = VaultService {
            namespace: namespace.or(old.namespace),
            transit_path: transit_path.unwrap_or(old.transit_path),
            ..self.access.service(old.address, old.key, session)?
        };
        let signer = home.set_vault_signer(new.clone())?;
        let login_end = LoginReport::of(&Configuration::load(&session.home().kms())?, &new.into());
        Ok(Box::new(Shown(SignerReport { signer, login_end })))
    }
}

#[derive(Serialize)]
struct SignerReport {
    signer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_end: Option<LoginReport>,
}

impl fmt::Display for SignerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The root's key is in {}", self.signer)?;
        writeln!(f, "  the new login made a test signature")?;
        self.login_end.iter().try_for_each(|login| write!(f, "{login}"))
    }
}

impl SetVault {
    pub(super) fn into_request(self, session: &CommandSession) -> Result<SetRequest, Failure> {
        let address = or_address_of_environment(self.address, session, "as the first argument")?;
        let access = self.access.or_namespace_of_environment(session)?;
        let service = access.service(address, self.key, session)?;
        let secrets = if self.do_not_keep_secrets { SecretStorage::NotStored } else { SecretStorage::Stored };
        let is_ca_set = Configuration::load(&session.home().kms())?.ca_certificate.is_some();
        let ca_certificate = if is_ca_set { None } else { ca_of_environment(session)? };
        Ok(SetRequest {
            service: service.into(),
            secrets,
            key_file: self.own,
            convert: self.convert,
            ca_certificate,
        })
    }
}

/// The given address of a Vault, or that of the environment.
pub(crate) fn or_address_of_environment(
    given: Option<VaultAddress>,
    session: &CommandSession,
    place: &str,
) -> Result<VaultAddress, Failure> {
    if let Some(address) = given {
        return Ok(address);
    }
    let (variable, text) = environment::first(environment::ADDRESS).ok_or_else(|| {
        let failure = Failure::new(Code::usage("usage.vault_address"), "the address of the Vault is missing");
        failure.with_hint(format!("give https://HOST:PORT {place}, or set VAULT_ADDR"))
    })?;
    let address = text.parse().map_err(|error: KmsError| Failure::from(error).at(variable))?;
    session.note(format_args!("the address {address} is that of {variable}"));
    Ok(address)
}

/// The CA for the certificate of a Vault that the environment names, in PEM.
pub(crate) fn ca_of_environment(session: &CommandSession) -> Result<Option<String>, Failure> {
    let Some((variable, file)) = environment::first(environment::CA_CERTIFICATE) else { return Ok(None) };
    let pem = pem_text(Path::new(&file)).map_err(|failure| failure.at(variable))?;
    session
        .note(format_args!("the CA for KMS server certificates is {file}, that of {variable}; it is stored"));
    Ok(Some(pem))
}
