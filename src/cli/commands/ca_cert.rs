//! `ca-cert set|status|download|unset`: CA that is trusted for external services.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::ca::ServiceCa;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::{self, Access, Placement};
use crate::keys::kms::{Configuration, trusted_certificates};
use crate::x509::Sha256;

use crate::cli::group::GroupedCommand;
use crate::cli::input::output_path;
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// Subcommands of `ca-cert`.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum CaCert {
    /// Trust this CA for KMS server certificates, instead of the system's CAs or besides them
    Set(SetServiceCa),
    /// Show the CA that is trusted for KMS server certificates (default)
    #[default]
    Status,
    /// Print the CA certificate in PEM, or write it to a file
    Download(Download),
    /// Trust the system's CAs alone for KMS server certificates again
    #[command(visible_alias = "reset")]
    Unset(UnsetServiceCa),
}

/// The arguments of `ca-cert set`.
#[derive(Debug, Args)]
#[command(after_help = "\
A self-signed certificate of a server is pinned: the server may present exactly this certificate, until it
expires. Names in it must match the address; one without names is accepted at any address.

Each service in use is reached with the new setting first. If one is not, nothing is changed.")]
pub(crate) struct SetServiceCa {
    /// The CA certificate, or several, in PEM
    #[arg(required_unless_present = "cert_file")]
    file: Option<PathBuf>,

    /// The same file, as an option
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    cert_file: Option<PathBuf>,

    /// Replace the system's CAs, or keep them besides this CA
    #[arg(
        long,
        value_enum,
        value_name = "replace|keep",
        default_value = "replace",
        hide_possible_values = true
    )]
    system_cas: SystemCas,

    /// Store the setting even if a service in use cannot be reached with it
    #[arg(long)]
    untested: bool,
}

/// Use of the system's CAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SystemCas {
    /// They are not trusted.
    Replace,
    /// They are trusted, too.
    Keep,
}

/// The arguments of `ca-cert download`.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// File to create, instead of printing
    #[arg(value_parser = output_path())]
    path: Option<PathBuf>,
}

/// The arguments of `ca-cert unset`.
#[derive(Debug, Args)]
pub(crate) struct UnsetServiceCa {
    /// Store the setting even if a service in use cannot be reached with it
    #[arg(long)]
    untested: bool,
}

impl GroupedCommand for CaCert {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::Set(set) => set.run(session)?,
            Self::Unset(UnsetServiceCa { untested }) => {
                store(session, ServiceCa { pem: None, and_system: false, is_tested: !untested })?;
            }
            Self::Download(download) => return download.run(session),
            Self::Status => {}
        }
        Ok(Box::new(Shown(ServiceCaReport::of(&load(session)?)?)))
    }
}

impl SetServiceCa {
    fn run(self, session: &CommandSession) -> Result<(), Failure> {
        let file = self.file.or(self.cert_file).unwrap_or_default();
        let contents = files::read_write_protected(&file, files::SMALL_FILE)?;
        let pem = String::from_utf8(contents).map_err(|_| {
            Failure::new(
                Code::refused("kms.ca_certificate"),
                "the CA certificate for external services is not PEM",
            )
        })?;
        let and_system = self.system_cas == SystemCas::Keep;
        store(session, ServiceCa { pem: Some(pem), and_system, is_tested: !self.untested })
    }
}

/// Store the setting. If it makes a service in use unreachable, the hint names the way to store it in any case.
fn store(session: &CommandSession, ca: ServiceCa) -> Result<(), Failure> {
    let is_tested = ca.is_tested;
    open_key_protection(session)?.set_service_ca(ca).map_err(|error| {
        let is_reached = !matches!(error.code(), "kms.certificate_untrusted" | "kms.unavailable");
        let failure = Failure::from(error);
        if !is_tested || is_reached {
            return failure;
        }
        failure.with_hint(
            "nothing was changed; give the CA of the service in use, too, or --untested to store the setting untested",
        )
    })
}

impl Download {
    fn run(self, session: &CommandSession) -> CommandResult {
        let Some(pem) = load(session)?.ca_certificate else {
            return Err(Failure::new(
                Code::refused("ca.no_service_ca"),
                "no CA is set for external services",
            ));
        };
        let Some(path) = self.path else { return Ok(Box::new(Pem(pem))) };
        files::write(&path, Access::Public, Placement::New, pem.as_bytes())?;
        Ok(Box::new(Shown(Downloaded { certificate: files::absolute(&path)? })))
    }
}

fn load(session: &CommandSession) -> Result<Configuration, Failure> {
    Ok(Configuration::load(&session.home().kms())?)
}

/// Trusted CAs; empty for the system's trust store.
#[derive(Serialize)]
struct ServiceCaReport {
    certificates: Vec<TrustedCa>,
    system_cas: bool,
}

#[derive(Serialize)]
struct TrustedCa {
    subject: String,
    not_after: String,
    fingerprint_sha256: Sha256,
    /// False for a pinned certificate of a server.
    is_ca: bool,
}

impl ServiceCaReport {
    fn of(configuration: &Configuration) -> Result<Self, Failure> {
        let Some(pem) = &configuration.ca_certificate else {
            return Ok(Self { certificates: Vec::new(), system_cas: true });
        };
        let certificates = trusted_certificates(pem)?;
        let trusted = certificates.iter().map(|certificate| TrustedCa {
            subject: certificate.subject.to_string(),
            not_after: rfc3339(certificate.not_after),
            fingerprint_sha256: certificate.fingerprint(),
            is_ca: certificate.is_ca(),
        });
        Ok(Self { certificates: trusted.collect(), system_cas: configuration.and_system_cas })
    }
}

impl fmt::Display for ServiceCaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return writeln!(f, "External services are verified with the system's trusted CAs");
        }
        match self.system_cas {
            true => writeln!(f, "External services are verified with the system's trusted CAs and this CA")?,
            false => writeln!(f, "External services are verified with this CA only")?,
        }
        for TrustedCa { subject, not_after, fingerprint_sha256, is_ca } in &self.certificates {
            let pinned = if *is_ca { "" } else { "  (pinned: accepted as it is)" };
            writeln!(f, "  subject      {subject}{pinned}")?;
            writeln!(f, "  valid until  {not_after}")?;
            writeln!(f, "  SHA-256      {fingerprint_sha256}")?;
        }
        Ok(())
    }
}

/// Result of `ca-cert download PATH`.
#[derive(Serialize)]
struct Downloaded {
    #[serde(serialize_with = "crate::files::as_text")]
    certificate: PathBuf,
}

impl fmt::Display for Downloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Wrote the CA for external services\n  certificate  {}", typed(&self.certificate))
    }
}

/// PEM, printed as it is.
struct Pem(String);

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CommandOutcome for Pem {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
