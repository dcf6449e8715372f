//! `ca-cert set|status|download|unset`: CA that is trusted for external services.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::rfc3339;
use crate::error::Code;
use crate::files;
use crate::keys::kms::Configuration;
use crate::x509::{Sha256, pem};

use crate::cli::group::GroupedCommand;
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown};

/// Subcommands of `ca-cert`.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum CaCert {
    /// Trust only this CA for KMS server certificates
    Set(SetServiceCa),
    /// Show the CA that is trusted for KMS server certificates (default)
    #[default]
    Status,
    /// Print the CA certificate in PEM
    Download,
    /// Trust the system's CAs for KMS server certificates again
    Unset,
}

/// The arguments of `ca-cert set`.
#[derive(Debug, Args)]
pub(crate) struct SetServiceCa {
    /// The CA certificate, or several, in PEM
    file: PathBuf,
}

impl GroupedCommand for CaCert {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::Set(set) => {
                let contents = files::read_write_protected(&set.file, files::SMALL_FILE)?;
                let pem = String::from_utf8(contents).map_err(|_| {
                    Failure::new(
                        Code::refused("kms.ca_certificate"),
                        "the CA certificate for external services is not PEM",
                    )
                })?;
                open_key_protection(session)?.set_service_ca(Some(pem))?;
            }
            Self::Unset => open_key_protection(session)?.set_service_ca(None)?,
            Self::Download => {
                return match load(session)?.ca_certificate {
                    Some(pem) => Ok(Box::new(Pem(pem))),
                    None => Err(Failure::new(
                        Code::refused("ca.no_service_ca"),
                        "no CA is set for external services",
                    )),
                };
            }
            Self::Status => {}
        }
        Ok(Box::new(Shown(ServiceCaReport::of(&load(session)?)?)))
    }
}

fn load(session: &CommandSession) -> Result<Configuration, Failure> {
    Ok(Configuration::load(&session.home().kms())?)
}

/// Trusted CAs; empty for the system's trust store.
#[derive(Serialize)]
struct ServiceCaReport {
    certificates: Vec<TrustedCa>,
}

#[derive(Serialize)]
struct TrustedCa {
    subject: String,
    not_after: String,
    fingerprint_sha256: Sha256,
}

impl ServiceCaReport {
    fn of(configuration: &Configuration) -> Result<Self, Failure> {
        let Some(pem) = &configuration.ca_certificate else { return Ok(Self { certificates: Vec::new() }) };
        let certificates = pem::certificates(pem.as_bytes())?;
        let trusted = certificates.iter().map(|certificate| TrustedCa {
            subject: certificate.subject.to_string(),
            not_after: rfc3339(certificate.not_after),
            fingerprint_sha256: certificate.fingerprint(),
        });
        Ok(Self { certificates: trusted.collect() })
    }
}

impl fmt::Display for ServiceCaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return writeln!(f, "External services are verified with the system's trusted CAs");
        }
        writeln!(f, "External services are verified with this CA only")?;
        for TrustedCa { subject, not_after, fingerprint_sha256 } in &self.certificates {
            writeln!(f, "  subject      {subject}")?;
            writeln!(f, "  valid until  {not_after}")?;
            writeln!(f, "  SHA-256      {fingerprint_sha256}")?;
        }
        Ok(())
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
