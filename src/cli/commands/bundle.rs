//! `bundle ROLE/NAME`: one file to hand over.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::audit::{Action, Outcome};
use crate::ca::{Cluster, ExportedCertificate, InventoryWriter, TrustFiles};
use crate::clock::rfc3339;
use crate::distribute::{FileStem, KeyStoreEntries, KeyStorePassword, Package, archive, key_store, readme};
use crate::error::Code;
use crate::files::{self, Access, Placement, Staged};
use crate::identity::Identity;
use crate::secret::Secret;
use crate::x509::{Certificate, pem};

use crate::cli::input;
use crate::cli::password::PasswordSource;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// Format of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tar with key, certificate, trust bundle, CRL and a short README.
    Tar,
    /// A password-encrypted PKCS#12 key store, for browsers and Java.
    P12,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::P12 => "p12",
        }
    }
}

/// The arguments of `bundle`.
#[derive(Debug, Args)]
pub(crate) struct Bundle {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(value_name = "SERIAL|ROLE/NAME|FILE")]
    target: String,

    /// File to create [default: such as user-alice.tar, in the current directory]
    #[arg(long, short, value_name = "FILE", value_parser = input::output_path())]
    output: Option<PathBuf>,

    /// Format: tar, or p12 (PKCS#12) for browsers and Java
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "tar", hide_possible_values = true)]
    format: Format,

    /// Base name of the files in a tar [default: control-service, node or user, by role], or name of the entry in a
    /// key store [default: such as user-alice]
    #[arg(long = "as", value_name = "NAME")]
    stem: Option<FileStem>,

    #[command(flatten)]
    password: PasswordSource,

    /// Reason for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Marker in the name of the temporary file.
const TAG: &str = "bundle";

/// Result of `bundle`.
#[derive(Serialize)]
struct BundleReport {
    #[serde(serialize_with = "crate::files::as_text")]
    bundle: PathBuf,
    format: &'static str,
    identity: Identity,
    serial_number: String,
    not_after: String,
    has_key: bool,
}

impl fmt::Display for BundleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Bundled {}/{}", self.identity.role, self.identity.name)?;
        writeln!(f, "  bundle       {}  (0600)", typed(&self.bundle))?;
        writeln!(f, "  serial       {}", self.serial_number)?;
        if !self.has_key {
            writeln!(f, "  key          not included: it is not stored here")?;
        }
        writeln!(f, "  valid until  {}", self.not_after)?;
        writeln!(f, "\nNext: hand it over through a confidential channel, then delete it here")
    }
}

impl Bundle {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if self.format == Format::Tar && self.password.is_given() {
            return Err(Failure::new(Code::usage("usage.password"), "a tar has no password")
                .with_hint("a key store has one: --format p12"));
        }
        let target = input::target(&self.target)?;
        let home = session.home();
        let cluster = Cluster::open(&home, &session.context)?;
        let mut leaf = match self.format {
            // The copy of the key in it is not protected.
            Format::Tar => cluster.export(&target),
            Format::P12 => cluster.export_opened(&target),
        }?;
        let trust = cluster.trust_files()?;
        let reservation = &leaf.record.reservation;
        let identity = Identity {
            trust_domain: cluster.trust_domain().clone(),
            role: reservation.role,
            name: reservation.name.clone(),
        };
        let name = format!("{}{}", identity.role.file_prefix(), identity.name);
        let output =
            self.output.clone().unwrap_or_else(|| format!("{name}.{}", self.format.extension()).into());
        if files::occupied(&output) {
            let exists = files::FileError::Exists { path: output };
            return Err(Failure::from(exists).or_elsewhere("--output FILE"));
        }
        let has_key = leaf.key_pem.is_some();
        let contents = match self.format {
            Format::Tar => self.tar(session, &name, &identity, &mut leaf, trust)?,
            Format::P12 => {
                let name = self.stem.as_ref().map_or_else(|| name.clone(), ToString::to_string);
                self.key_store(session, &name, cluster.facts().name.as_str(), &leaf, &trust)?
            }
        };
        let output = files::absolute(&output)?;
        let mut inventory = InventoryWriter::open(&home, &session.context)?;
        // A leftover of an aborted run: the home's lock excludes a concurrent writer.
        drop(Staged::adopt(&output, TAG));
        let staged = Staged::create(&output, TAG, Access::Private, contents.expose())?;
        staged.sync()?;
        let details = json!({
            "role": identity.role,
            "name": identity.name,
            "bundle": output.to_string_lossy(),
            "format": self.format.extension(),
            "with_key": has_key,
        });
        let reason = self.reason.as_deref();
        // The audit entry comes first: no bundle exists under its name without one.
        inventory.note(Action::CertificateBundle, &leaf.record, Outcome::Success, details, reason)?;
        staged.place(Placement::New)?;
        files::sync_directory(files::parent(&output))?;
        Ok(Box::new(Shown(BundleReport {
            bundle: output,
            format: self.format.extension(),
            identity,
            serial_number: leaf.record.reservation.serial_number.to_string(),
            not_after: rfc3339(leaf.certificate.not_after),
            has_key,
        })))
    }

    fn tar(
        &self,
        session: &CommandSession,
        name: &str,
        identity: &Identity,
        leaf: &mut ExportedCertificate,
        trust: TrustFiles,
    ) -> Result<Secret, Failure> {
        let stem = self.stem.clone().unwrap_or_else(|| FileStem::of_role(identity.role));
        let certificate = std::mem::take(&mut leaf.certificate_pem);
        let package = Package::new(&stem, leaf.key_pem.take(), certificate, trust.bundle, trust.crl);
        let readme = readme(identity, &stem, leaf.certificate.not_after, &package);
        archive(name, &readme, &package, session.context.clock.now())
            .map_err(|error| Failure::caused(Code::refused("bundle.archive"), &error))
    }

    fn key_store(
        &self,
        session: &CommandSession,
        alias: &str,
        cluster: &str,
        leaf: &ExportedCertificate,
        trust: &TrustFiles,
    ) -> Result<Secret, Failure> {
        let Some(key) = &leaf.key_pem else {
            return Err(Failure::new(
                Code::refused("bundle.no_key"),
                format!("a key store needs the private key, and that of {} is not stored here", self.target),
            ));
        };
        let password = KeyStorePassword::new(self.password.choose("the key store", None)?)?;
        let roots = pem::certificates(&trust.bundle)?;
        let is_issuer =
            |root: &&Certificate| root.subject_key_identifier.as_ref() == Some(&leaf.record.issuer);
        let (issuer, others): (Vec<_>, Vec<_>) = roots.iter().partition(is_issuer);
        // No alias has a space, so that none is the name of a root.
        let name = |index: usize| match index {
            0 => format!("{cluster} root"),
            index => format!("{cluster} root {}", index.saturating_add(1)),
        };
        let anchors: Vec<_> =
            issuer.into_iter().chain(others).enumerate().map(|(index, root)| (name(index), root)).collect();
        let entries = KeyStoreEntries { alias, key_pem: key, leaf: &leaf.certificate, anchors: &anchors };
        Ok(key_store(&entries, &password, session.context.entropy.as_ref())?)
    }
}
