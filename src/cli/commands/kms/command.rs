//! `kms` and its subcommands, except `kms set`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::login_report::LoginReport;
use super::service_report::{ServiceReport, write_keys};
use super::set::SetService;
use crate::ca::{Cluster, OwnServiceKeys, ProtectionChange, ReplacementProtection, RewrapOutcome, Rewrapped};
use crate::cli::group::GroupedCommand;
use crate::cli::input::output_path;
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::error::Code;
use crate::files;
use crate::keys::kms::{self, Configuration, KmsService, Rotation};
use crate::keys::{Envelope, KeyError, KeyFile, Protection};
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// Subcommands of `kms`.
#[derive(Debug, Subcommand)]
pub(crate) enum Kms {
    /// Wrap private keys with a key of this service, or move wrapped keys to it
    #[command(subcommand)]
    Set(SetService),
    /// Show the service and the keys it wraps (default)
    Show(ShowService),
    /// Stop wrapping private keys
    Unset(Unset),
    /// Write the configuration to unwrap one key, for the host that uses it (a gateway)
    Export(Export),
    /// Rewrap keys after a rotation of the service's key
    Rewrap(RewrapKeys),
}

/// `kms show`.
#[derive(Debug, Default, Args)]
pub(crate) struct ShowService {
    /// Also test the service or token: connect, log in, then wrap and unwrap, or sign
    #[arg(long)]
    check: bool,
}

/// `kms unset`.
#[derive(Debug, Args)]
pub(crate) struct Unset {
    /// Unwrap keys that are wrapped: protect them with --passphrase-file or --passphrase-fd instead, or
    /// only by their file mode
    #[arg(long)]
    allow_downgrade: bool,
}

/// `kms export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The wrapped private key
    key: PathBuf,

    /// File to write the configuration to (0600); it contains the secrets of the key's service
    #[arg(value_parser = output_path())]
    output: PathBuf,
}

/// `kms rewrap`.
#[derive(Debug, Args)]
pub(crate) struct RewrapKeys {
    /// UID of the new wrapping key (required for KMIP, otherwise refused)
    #[arg(long, value_name = "UID")]
    new_key_uid: Option<String>,

    /// Also rewrap the keys that have a service of their own
    #[arg(long)]
    all: bool,

    /// Move the keys that have a service of their own to the service of the cluster
    #[arg(long = "convert-to-cluster-key", conflicts_with = "all")]
    convert: bool,
}

impl Default for Kms {
    fn default() -> Self {
        Self::Show(ShowService::default())
    }
}

impl GroupedCommand for Kms {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::Set(set) => set.run(session),
            Self::Show(show) => show.run(session),
            Self::Unset(unset) => unset.run(session),
            Self::Export(export) => export.run(session),
            Self::Rewrap(rewrap) => rewrap.run(session),
        }
    }
}

impl ShowService {
    fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let stored = Configuration::load(&session.home().kms())?;
        let keys = cluster.wrapped_keys()?;
        let problems = if self.check { check(session, &cluster, &keys)? } else { Vec::new() };
        let configured = if self.check { session.context.unlock.kms()? } else { Configuration::default() };
        let login = |service: Option<&KmsService>| {
            service.filter(|_| self.check).and_then(|service| LoginReport::of(&configured, service))
        };
        let signer = configured.vault_signer().cloned().map(KmsService::from);
        let wrapped = keys.into_iter().map(|(key, envelope)| {
            let key_id = envelope.key_id().to_string();
            let own = stored.per_key.get(&key_id);
            Wrapped {
                key,
                own_service: own.map(|own| {
                    let login = login(configured.per_key.get(&key_id));
                    ServiceReport::of(own, own.has_secrets()).with_login(login)
                }),
                protection: KeyFile::Envelope(Box::new(envelope)).protection(),
            }
        });
        Ok(Box::new(KmsReport {
            signer: stored.signer.as_ref().map(ToString::to_string),
            signer_login_end: login(signer.as_ref()),
            checked: self.check,
            service: stored.cluster.as_ref().map(|service| {
                let login = login(configured.cluster.as_ref());
                ServiceReport::of(service, service.has_secrets()).with_login(login)
            }),
            moving_from: stored
                .previous
                .iter()
                .map(|service| ServiceReport::of(service, service.has_secrets()))
                .collect(),
            wrapped: wrapped.collect(),
            problems,
        }))
    }
}

/// Test the signer and each service, and open each wrapped key: a service may have lost the key that wrapped it.
fn check(
    session: &CommandSession,
    cluster: &Cluster,
    keys: &[(PathBuf, Envelope)],
) -> Result<Vec<Failure>, Failure> {
    cluster.test_remote_signer()?;
    let configured = session.context.unlock.kms()?;
    for service in configured.cluster.iter().chain(configured.per_key.values()) {
        kms::test_round_trip(configured.connect(service)?.as_ref(), service.address())?;
    }
    let mut problems = Vec::new();
    for (path, envelope) in keys {
        let opened = configured.data_key(envelope).map_err(KeyError::from);
        let opened = opened.and_then(|data_key| envelope.open(&data_key));
        problems.extend(opened.err().map(|error| Failure::of(&error).about(path)));
    }
    let root = session.home().key();
    if configured.cluster.is_some() && files::occupied(&root) && !keys.iter().any(|(path, _)| *path == root) {
        let message = format!("{} is not wrapped: `kms set` did not finish", typed(&root));
        let failure = Failure::new(Code::refused("kms.root_not_wrapped"), message);
        problems.push(failure.with_hint("run the same cluster-ca kms set again"));
    }
    Ok(problems)
}

impl Unset {
    fn run(self, session: &CommandSession) -> CommandResult {
        let passphrase = session.passphrase().given(&session.home().key())?;
        let instead = match &passphrase {
            _ if !self.allow_downgrade => None,
            Some(passphrase) => Some(ReplacementProtection::Passphrase(passphrase)),
            None => Some(ReplacementProtection::Nothing),
        };
        Ok(Box::new(Shown(UnsetReport { keys: open_key_protection(session)?.unset_kms(instead)? })))
    }
}

impl Export {
    fn run(self, session: &CommandSession) -> CommandResult {
        let KeyFile::Envelope(envelope) = KeyFile::read(&self.key)? else {
            return Err(Failure::new(
                Code::refused("key.not_wrapped"),
                "the private key is not wrapped by a key management service",
            )
            .about(&self.key));
        };
        let only = Configuration::load(&session.home().kms())?.for_envelope(&envelope)?;
        let also_opens = others_opened(session, &only, &envelope)?;
        if files::occupied(&self.output) {
            return Err(files::FileError::Exists { path: self.output }.into());
        }
        only.store(&self.output)?;
        let service = only.cluster.as_ref().map(|service| ServiceReport::of(service, service.has_secrets()));
        let (configuration, key) = (files::absolute(&self.output)?, files::absolute(&self.key)?);
        Ok(Box::new(Shown(ExportReport { configuration, key, service, also_opens })))
    }
}

impl RewrapKeys {
    fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(service) = Configuration::load(&session.home().kms())?.cluster {
            check_new_key(&service, self.new_key_uid.is_some())?;
        }
        let own_keys = match (self.convert, self.all) {
            (true, _) => OwnServiceKeys::Converted,
            (false, true) => OwnServiceKeys::Rewrapped,
            (false, false) => OwnServiceKeys::Left,
        };
        let keys = open_key_protection(session)?.rewrap_keys(self.new_key_uid.as_deref(), own_keys)?;
        Ok(Box::new(RewrapReport { keys }))
    }
}

/// Check that `--new-key-uid` is given if, and only if, a rotation gives the key another identifier.
fn check_new_key(service: &KmsService, given: bool) -> Result<(), Failure> {
    let kind = service.kind();
    let (message, hint) = match (service.rotation(), given) {
        (Rotation::NewVersion { command }, true) => (
            format!("--new-key-uid is not for {kind}: a rotated key keeps its name there"),
            format!("rotate the key in the service ({command}), then: cluster-ca kms rewrap"),
        ),
        (Rotation::NewKey, false) => (
            format!("{kind} needs --new-key-uid: a rotated key has another UID there"),
            "make and activate a new key in the KMS, keep the old one, and give the new UID".to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(Failure::new(Code::usage("usage.new_key_uid"), message).with_hint(hint))
}

#[derive(Serialize)]
struct KmsReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_login_end: Option<LoginReport>,
    service: Option<ServiceReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moving_from: Vec<ServiceReport>,
    wrapped: Vec<Wrapped>,
    checked: bool,
    /// Keys that do not open although their service works, and a root key that is not wrapped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Failure>,
}

impl CommandOutcome for KmsReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        self.problems.iter().map(Failure::exit_code).max().unwrap_or(0)
    }

    fn complaint(&self) -> Option<String> {
        let lines = self.problems.iter().map(|problem| format!("error: {problem}\n"));
        (!self.problems.is_empty()).then(|| lines.collect())
    }
}

#[derive(Serialize)]
struct Wrapped {
    #[serde(serialize_with = "crate::files::as_text")]
    key: PathBuf,
    #[serde(flatten)]
    protection: Protection,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_service: Option<ServiceReport>,
}

impl fmt::Display for KmsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(signer) = &self.signer {
            writeln!(f, "The root's key is in {signer}")?;
        }
        if let Some(login) = &self.signer_login_end {
            write!(f, "{login}")?;
        }
        match &self.service {
            None => writeln!(f, "No key management service wraps the keys of this cluster")?,
            Some(service) => write!(f, "Private keys are wrapped by a key management service\n{service}")?,
        }
        for service in &self.moving_from {
            writeln!(f, "Migration pending from (run `kms set` or `kms rewrap` again to finish)")?;
            write!(f, "{service}")?;
        }
        for wrapped in &self.wrapped {
            let own = if wrapped.own_service.is_some() { "its own " } else { "" };
            writeln!(f, "  {}  wrapped by {own}{}", typed(&wrapped.key), wrapped.protection)?;
            if let Some(own) = &wrapped.own_service {
                own.write_login(f)?;
            }
        }
        let wraps = self.service.is_some() || self.wrapped.iter().any(|key| key.own_service.is_some());
        let done = [self.signer.is_some().then_some("signed"), wraps.then_some("wrapped and unwrapped")];
        let done: Vec<&str> = done.into_iter().flatten().collect();
        if self.checked && self.problems.is_empty() && !done.is_empty() {
            writeln!(f, "  checked      reached, logged in, {}", done.join(", "))?;
        }
        for problem in &self.problems {
            writeln!(f, "error: {problem}")?;
            if let Some(hint) = problem.hint() {
                writeln!(f, "  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct ExportReport {
    #[serde(serialize_with = "crate::files::as_text")]
    configuration: PathBuf,
    #[serde(serialize_with = "crate::files::as_text")]
    key: PathBuf,
    service: Option<ServiceReport>,
    /// Other keys here that the same login unwraps.
    #[serde(serialize_with = "crate::files::all_as_text")]
    also_opens: Vec<PathBuf>,
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let only = if self.also_opens.is_empty() { " and no other key here" } else { "" };
        writeln!(f, "{} unwraps {}{only}", typed(&self.configuration), typed(&self.key))?;
        for key in &self.also_opens {
            writeln!(f, "  also unwraps {}", typed(key))?;
        }
        if let Some(service) = &self.service {
            service.write(&self.configuration, f)?;
        }
        if self.also_opens.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        writeln!(
            f,
            "Give the key a wrapping key and a role of its own before the file leaves this machine:"
        )?;
        writeln!(
            f,
            "  cluster-ca kms set vault ADDRESS KEY --role-id ID --secret-id-file FILE --for {}",
            typed(&self.key)
        )
    }
}

/// The other wrapped keys of the home that `only` unwraps too, by their service and wrapping key.
fn others_opened(
    session: &CommandSession,
    only: &Configuration,
    exported: &Envelope,
) -> Result<Vec<PathBuf>, Failure> {
    let wrapped = Cluster::open(&session.home(), &session.context)?.wrapped_keys()?;
    let is_opened =
        |envelope: &Envelope| envelope.key_id() != exported.key_id() && only.for_envelope(envelope).is_ok();
    Ok(wrapped.into_iter().filter(|(_, envelope)| is_opened(envelope)).map(|(path, _)| path).collect())
}

#[derive(Serialize)]
struct UnsetReport {
    keys: Vec<ProtectionChange>,
}

impl fmt::Display for UnsetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "No key management service wraps the keys of this cluster any more")?;
        for ProtectionChange { key, after, .. } in &self.keys {
            writeln!(f, "  {}  protection: {after}", typed(key))?;
        }
        if self.keys.iter().any(|key| key.after == Protection::None) {
            writeln!(
                f,
                "  weaker now   any user who can read one of these files, or a backup of it, has the key"
            )?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct RewrapReport {
    keys: Vec<Rewrapped>,
}

impl RewrapReport {
    fn count(&self, which: impl Fn(&RewrapOutcome) -> bool) -> usize {
        self.keys.iter().filter(|key| which(&key.outcome)).count()
    }
}

impl fmt::Display for RewrapReport {
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

impl CommandOutcome for RewrapReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    /// Exit code 4, as for an unavailable service: failed keys can be retried.
    fn exit_code(&self) -> u8 {
        if self.count(|outcome| matches!(outcome, RewrapOutcome::Failed { .. })) == 0 { 0 } else { 4 }
    }
}
