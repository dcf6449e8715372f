//! `kms set|show|unset|rewrap`: the key management service that wraps private keys.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ca::{Cluster, ProtectionChange, ReplacementProtection, RewrapOutcome, Rewrapped, SecretStorage};
use crate::files;
use crate::keys::kms::{
    self, AppRole, Configuration, Credential, KeyName, KmipAddress, KmipService, KmsService, MissingSecret,
    MountPath, Namespace, Rotation, UniqueIdentifier, VaultAddress, VaultCredentials, VaultService,
};
use crate::keys::{KeyFile, Protection};

use crate::cli::custody::custody;
use crate::cli::session::Session;
use crate::cli::unlock::credential;
use crate::terminal::report::{CommandResult, Failure, Outcome, Shown, typed};

/// `kms`, alone or with one of its commands.
#[derive(Debug, Args)]
pub(crate) struct Kms {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wrap private keys with a key of this service; again: move them to it
    #[command(subcommand)]
    Set(Set),
    /// Show the service and the keys that it wraps (also `kms` alone)
    Show(Show),
    /// Stop using the service
    Unset(Unset),
    /// Write what opens one wrapped key, for the machine that uses it (a gateway)
    Export(Export),
    /// Wrap keys anew after the service's key was rotated
    Rewrap(Rewrap),
}

#[derive(Debug, Subcommand)]
enum Set {
    /// The Transit engine of a HashiCorp Vault or an OpenBao
    Vault(SetVault),
    /// A KMIP server (1.2 to 2.x)
    Kmip(SetKmip),
}

/// How to get at a Vault.
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

    /// Where the Transit engine is mounted [default: transit]
    #[arg(long, value_name = "PATH")]
    transit_path: Option<MountPath>,

    /// Where the AppRole method is mounted below auth/ [default: approle]
    #[arg(long, value_name = "PATH")]
    auth_path: Option<MountPath>,
}

/// `kms set kmip`.
#[derive(Debug, Args)]
#[command(after_help = "\
The key must be an active AES key whose usage mask allows Encrypt and Decrypt, and the client
certificate must belong to an identity that may use it. Certificate and key are kept in kms.json (0600).")]
struct SetKmip {
    /// Where the server is: HOST:PORT (the port of KMIP is 5696)
    address: KmipAddress,

    /// The UID of the wrapping key
    #[arg(value_name = "KEY-IDENTIFIER")]
    key: UniqueIdentifier,

    /// The certificate by which the server knows this CA, in PEM
    #[arg(long, value_name = "FILE")]
    client_cert: PathBuf,

    /// Its private key, in PEM (0600)
    #[arg(long, value_name = "FILE")]
    client_key: PathBuf,

    /// The CA that the server's certificate comes from, instead of the one that `ca-cert set` names
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// Also move the keys that have a service of their own
    #[arg(long = "convert-to-cluster-key")]
    convert: bool,
}

/// `kms set vault`.
#[derive(Debug, Args)]
#[command(after_help = "\
The token, or the secret id of the role, is read from its file, from CLUSTER_CA_KMS_TOKEN or
CLUSTER_CA_KMS_SECRET_ID, or asked for. The server's certificate must come from the CA that
`cluster-ca ca-cert set` names, or else from one that the system believes.

The policy that the token needs, for the key ca-key:
  path \"transit/keys/ca-key\"    { capabilities = [\"read\"] }
  path \"transit/encrypt/ca-key\" { capabilities = [\"update\"] }
  path \"transit/decrypt/ca-key\" { capabilities = [\"update\"] }
  path \"transit/rewrap/ca-key\"  { capabilities = [\"update\"] }")]
struct SetVault {
    /// Where the Vault is: https://HOST:PORT
    address: VaultAddress,

    /// The name of the wrapping key in the Transit engine
    #[arg(value_name = "KEY-IDENTIFIER")]
    key: KeyName,

    #[command(flatten)]
    access: VaultAccess,

    /// Keep neither token nor secret id: each run reads it from the environment or asks
    #[arg(long)]
    do_not_keep_secrets: bool,

    /// Wrap only the private key in this file, with this key of its own (needs --role-id)
    #[arg(long = "for", value_name = "FILE", requires = "role_id", conflicts_with_all = ["convert", "token_file"])]
    own: Option<PathBuf>,

    /// Also move the keys that have a service of their own
    #[arg(long = "convert-to-cluster-key")]
    convert: bool,
}

/// `kms show`.
#[derive(Debug, Default, Args)]
struct Show {
    /// Also try whether the service or token can be reached, logged in to, and asked to wrap and unwrap,
    /// or to sign
    #[arg(long)]
    check: bool,
}

/// `kms unset`.
#[derive(Debug, Args)]
struct Unset {
    /// Even though keys are wrapped: protect them by --passphrase-file or --passphrase-fd instead, or
    /// by nothing but the mode of their files
    #[arg(long)]
    allow_downgrade: bool,
}

/// `kms export`.
#[derive(Debug, Args)]
struct Export {
    /// The wrapped private key
    key: PathBuf,

    /// Where to write the configuration (0600); it holds the secrets of the key's service
    output: PathBuf,
}

/// `kms rewrap`.
#[derive(Debug, Args)]
struct Rewrap {
    /// The UID of the key that takes the old one's place (KMIP only, and needed there)
    #[arg(long, value_name = "UID")]
    new_key_uid: Option<String>,

    /// Also the keys that have a service of their own
    #[arg(long)]
    all: bool,
}

impl Kms {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        match self.command.unwrap_or(Command::Show(Show::default())) {
            Command::Set(Set::Kmip(set)) => set.run(session),
            Command::Set(Set::Vault(set)) => set.run(session),
            Command::Show(show) => show.run(session),
            Command::Unset(unset) => unset.run(session),
            Command::Export(export) => export.run(session),
            Command::Rewrap(rewrap) => rewrap.run(session),
        }
    }
}

impl VaultAccess {
    /// Whether anything was said of it.
    pub(crate) fn is_given(&self) -> bool {
        self.token_file.is_some()
            || self.role_id.is_some()
            || self.namespace.is_some()
            || self.transit_path.is_some()
            || self.auth_path.is_some()
    }

    /// The service at `address` with its key, and the secret that logs in to it.
    pub(crate) fn service(self, address: VaultAddress, key: KeyName) -> Result<VaultService, Failure> {
        let read = |file: Option<PathBuf>, kind| match file {
            Some(file) => Credential::from_file(&file).map(Some),
            None => credential(&MissingSecret { kind, address: address.to_string() }),
        };
        let credentials = match self.role_id {
            None => VaultCredentials::Token(read(self.token_file, kms::TOKEN)?),
            Some(role_id) => VaultCredentials::AppRole(AppRole {
                auth_path: self.auth_path.map_or_else(|| "approle".parse(), Ok)?,
                role_id,
                secret_id: read(self.secret_id_file, kms::SECRET_ID)?,
            }),
        };
        let transit_path = self.transit_path.map_or_else(|| "transit".parse(), Ok)?;
        Ok(VaultService { address, key, namespace: self.namespace, transit_path, credentials })
    }
}

impl SetVault {
    fn run(self, session: &Session) -> CommandResult {
        let service = KmsService::from(self.access.service(self.address, self.key)?);
        let secrets = if self.do_not_keep_secrets { SecretStorage::NotStored } else { SecretStorage::Stored };
        set(session, &service, secrets, self.own, self.convert)
    }
}

impl SetKmip {
    fn run(self, session: &Session) -> CommandResult {
        let service = KmsService::from(KmipService {
            address: self.address,
            key: self.key,
            client_certificate: text_of(&self.client_cert)?,
            client_key: Credential::from_pem_file(&self.client_key)?,
            ca_certificate: self.ca_cert.as_deref().map(text_of).transpose()?,
        });
        set(session, &service, SecretStorage::Stored, None, self.convert)
    }
}

/// A public PEM file as text.
pub(crate) fn text_of(file: &Path) -> Result<String, Failure> {
    let not_pem = |_| Failure::new("x509.pem", format!("{} is not PEM", file.display()));
    String::from_utf8(files::read(file, files::SMALL_FILE)?).map_err(not_pem)
}

/// Sets a service, whatever kind it is.
fn set(
    session: &Session,
    service: &KmsService,
    secrets: SecretStorage,
    own: Option<PathBuf>,
    convert: bool,
) -> CommandResult {
    let mut custody = custody(session)?;
    let keys = match own {
        Some(key) => vec![custody.set_kms_of(&key, service, secrets)?],
        None => custody.set_kms(service, secrets, convert)?,
    };
    Ok(Box::new(Shown(WasSet { service: Facts::of(service, secrets == SecretStorage::Stored), keys })))
}

impl Show {
    fn run(self, session: &Session) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let stored = Configuration::load(&session.home().kms())?;
        if self.check {
            cluster.test_remote_signer()?;
            let configured = session.context.unlock.kms()?;
            for service in configured.cluster.iter().chain(configured.per_key.values()) {
                kms::test_round_trip(configured.connect(service)?.as_ref(), service.address())?;
            }
        }
        let keys = cluster.wrapped_keys()?;
        let wrapped = keys.into_iter().map(|(key, envelope)| {
            let own = stored.per_key.get(&envelope.key_id().to_string());
            Wrapped {
                key,
                own_service: own.map(|own| Facts::of(own, own.has_secrets())),
                protection: KeyFile::Envelope(Box::new(envelope)).protection(),
            }
        });
        Ok(Box::new(Shown(State {
            signer: stored.signer.as_ref().map(ToString::to_string),
            checked: self.check,
            service: stored.cluster.as_ref().map(|service| Facts::of(service, service.has_secrets())),
            moving_from: stored
                .previous
                .iter()
                .map(|service| Facts::of(service, service.has_secrets()))
                .collect(),
            wrapped: wrapped.collect(),
        })))
    }
}

impl Unset {
    fn run(self, session: &Session) -> CommandResult {
        let passphrase = session.passphrase().given(&session.home().key())?;
        let instead = match &passphrase {
            _ if !self.allow_downgrade => None,
            Some(passphrase) => Some(ReplacementProtection::Passphrase(passphrase)),
            None => Some(ReplacementProtection::Nothing),
        };
        Ok(Box::new(Shown(Ended { keys: custody(session)?.unset_kms(instead)? })))
    }
}

impl Export {
    fn run(self, session: &Session) -> CommandResult {
        let KeyFile::Envelope(envelope) = KeyFile::read(&self.key)? else {
            return Err(Failure::new(
                "key.not_wrapped",
                "the private key is not wrapped by a key management service",
            )
            .about(&self.key));
        };
        let only = Configuration::load(&session.home().kms())?.for_envelope(&envelope)?;
        if files::occupied(&self.output) {
            return Err(files::FileError::Exists { path: self.output }.into());
        }
        only.store(&self.output)?;
        let service = only.cluster.as_ref().map(|service| Facts::of(service, service.has_secrets()));
        let (configuration, key) = (files::absolute(&self.output)?, files::absolute(&self.key)?);
        Ok(Box::new(Shown(Exported { configuration, key, service })))
    }
}

impl Rewrap {
    fn run(self, session: &Session) -> CommandResult {
        if let Some(service) = Configuration::load(&session.home().kms())?.cluster {
            check_new_key(&service, self.new_key_uid.is_some())?;
        }
        let keys = custody(session)?.rewrap_keys(self.new_key_uid.as_deref(), self.all)?;
        Ok(Box::new(Rotated { keys }))
    }
}

/// Checks that `--new-key-uid` is given if, and only if, a rotation gives the key another identifier.
fn check_new_key(service: &KmsService, given: bool) -> Result<(), Failure> {
    let kind = service.kind();
    let (message, hint) = match (service.rotation(), given) {
        (Rotation::NewVersion { command }, true) => (
            format!("--new-key-uid is not for {kind}, which rotates a key under its name"),
            format!("rotate the key in the service ({command}), then: cluster-ca kms rewrap"),
        ),
        (Rotation::NewKey, false) => (
            format!("{kind} needs --new-key-uid: a rotated key has another UID there"),
            "make and activate a new key in the KMS, keep the old one, and give the new UID".to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(Failure::new("usage.new_key_uid", message).with_hint(hint))
}

/// A service as it is shown: without its secrets.
#[derive(Serialize)]
struct Facts {
    kms: &'static str,
    address: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    login: &'static str,
    secrets_kept: bool,
}

impl Facts {
    fn of(service: &KmsService, secrets_kept: bool) -> Self {
        Self {
            kms: service.kind(),
            address: service.address().to_owned(),
            key: service.key().to_owned(),
            namespace: service.namespace().map(str::to_owned),
            login: service.login(),
            secrets_kept,
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Path::new("kms.json"), f)
    }
}

impl Facts {
    /// The facts, its secret being in `file`.
    fn write(&self, file: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  service      {} at {}", self.kms, self.address)?;
        writeln!(f, "  key          {}", self.key)?;
        if let Some(namespace) = &self.namespace {
            writeln!(f, "  namespace    {namespace}")?;
        }
        let kept = match self.secrets_kept {
            true => format!("kept in {} (0600)", typed(file)),
            false => "not kept".to_owned(),
        };
        writeln!(f, "  login        {}, its secret {kept}", self.login)
    }
}

#[derive(Serialize)]
struct WasSet {
    #[serde(flatten)]
    service: Facts,
    keys: Vec<Rewrapped>,
}

impl fmt::Display for WasSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Private keys are wrapped by a key management service")?;
        write!(f, "{}", self.service)?;
        write_keys(f, &self.keys)?;
        writeln!(f)?;
        writeln!(
            f,
            "Without that key nothing opens these private keys: see that the service and its key are backed up."
        )?;
        writeln!(f, "Copies of them made before now are not protected by it.")
    }
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[Rewrapped]) -> fmt::Result {
    for Rewrapped { key, outcome } in keys {
        let key = typed(key);
        match outcome {
            RewrapOutcome::AlreadyCurrent => writeln!(f, "  {key}  already current")?,
            RewrapOutcome::Failed { code, message } => writeln!(f, "  {key}  failed: {message} [{code}]")?,
            RewrapOutcome::Rewrapped { after } => writeln!(f, "  {key}  wrapped by {after}")?,
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct State {
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    service: Option<Facts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moving_from: Vec<Facts>,
    wrapped: Vec<Wrapped>,
    checked: bool,
}

#[derive(Serialize)]
struct Wrapped {
    #[serde(serialize_with = "crate::files::as_text")]
    key: PathBuf,
    #[serde(flatten)]
    protection: Protection,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_service: Option<Facts>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(signer) = &self.signer {
            writeln!(f, "The root's key is held by {signer}")?;
        }
        match &self.service {
            None => writeln!(f, "No key management service wraps the keys of this cluster")?,
            Some(service) => write!(f, "Private keys are wrapped by a key management service\n{service}")?,
        }
        for service in &self.moving_from {
            writeln!(f, "On the way from (run `kms set` or `kms rewrap` again to finish)")?;
            write!(f, "{service}")?;
        }
        for wrapped in &self.wrapped {
            let own = if wrapped.own_service.is_some() { "its own " } else { "" };
            writeln!(f, "  {}  wrapped by {own}{}", typed(&wrapped.key), wrapped.protection)?;
        }
        let wraps = self.service.is_some() || self.wrapped.iter().any(|key| key.own_service.is_some());
        let done = [self.signer.is_some().then_some("signed"), wraps.then_some("wrapped and unwrapped")];
        let done: Vec<&str> = done.into_iter().flatten().collect();
        if self.checked && !done.is_empty() {
            writeln!(f, "  checked      reached, logged in, {}", done.join(", "))?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Exported {
    #[serde(serialize_with = "crate::files::as_text")]
    configuration: PathBuf,
    #[serde(serialize_with = "crate::files::as_text")]
    key: PathBuf,
    service: Option<Facts>,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} opens {} and nothing else", typed(&self.configuration), typed(&self.key))?;
        match &self.service {
            Some(service) => service.write(&self.configuration, f),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Ended {
    keys: Vec<ProtectionChange>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "No key management service wraps the keys of this cluster any more")?;
        for ProtectionChange { key, after, .. } in &self.keys {
            writeln!(f, "  {}  protection: {after}", typed(key))?;
        }
        if self.keys.iter().any(|key| key.after == Protection::None) {
            writeln!(f, "  weaker now   whoever reads one of these files, or a backup of it, has the key")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Rotated {
    keys: Vec<Rewrapped>,
}

impl Rotated {
    fn count(&self, which: impl Fn(&RewrapOutcome) -> bool) -> usize {
        self.keys.iter().filter(|key| which(&key.outcome)).count()
    }
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_keys(f, &self.keys)?;
        writeln!(
            f,
            "{} rewrapped, {} already current, {} failed",
            self.count(|outcome| matches!(outcome, RewrapOutcome::Rewrapped { .. })),
            self.count(|outcome| matches!(outcome, RewrapOutcome::AlreadyCurrent)),
            self.count(|outcome| matches!(outcome, RewrapOutcome::Failed { .. })),
        )
    }
}

impl Outcome for Rotated {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    /// As a service that is not available: what failed is to be tried again.
    fn exit_code(&self) -> u8 {
        if self.count(|outcome| matches!(outcome, RewrapOutcome::Failed { .. })) == 0 { 0 } else { 4 }
    }
}
