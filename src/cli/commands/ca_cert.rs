//! `ca-cert set|status|download|unset`: whose certificates make an external service believable.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::rfc3339;
use crate::error::Code;
use crate::files;
use crate::keys::kms::Configuration;
use crate::x509::{Sha256, pem};

use crate::cli::custody::custody;
use crate::cli::session::Session;
use crate::terminal::report::{CommandResult, Failure, Outcome, Shown};

/// The commands about the CA of external services.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCert {
    /// Believe services whose certificates come from this CA, and no others
    Set(Set),
    /// Say which CA is believed
    Status,
    /// Print the CA certificate in PEM
    Download,
    /// Believe the CAs that the system believes again
    Unset,
}

/// The arguments of `ca-cert set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The CA certificate, or several, in PEM
    file: PathBuf,
}

impl CaCert {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        match self {
            Self::Set(set) => {
                let contents = files::read(&set.file, files::SMALL_FILE)?;
                let pem = String::from_utf8(contents).map_err(|_| {
                    Failure::new(
                        Code::refused("kms.ca_certificate"),
                        "not a CA certificate to trust services by: it is not PEM",
                    )
                })?;
                custody(session)?.set_service_ca(Some(pem))?;
            }
            Self::Unset => custody(session)?.set_service_ca(None)?,
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
        Ok(Box::new(Shown(Status::of(&load(session)?)?)))
    }
}

fn load(session: &Session) -> Result<Configuration, Failure> {
    Ok(Configuration::load(&session.home().kms())?)
}

/// Which CAs are believed; none: the system's.
#[derive(Serialize)]
struct Status {
    certificates: Vec<Believed>,
}

#[derive(Serialize)]
struct Believed {
    subject: String,
    not_after: String,
    fingerprint_sha256: Sha256,
}

impl Status {
    fn of(configuration: &Configuration) -> Result<Self, Failure> {
        let Some(pem) = &configuration.ca_certificate else { return Ok(Self { certificates: Vec::new() }) };
        let certificates = pem::certificates(pem.as_bytes())?;
        let believed = certificates.iter().map(|certificate| Believed {
            subject: certificate.subject.to_string(),
            not_after: rfc3339(certificate.not_after),
            fingerprint_sha256: certificate.fingerprint(),
        });
        Ok(Self { certificates: believed.collect() })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return writeln!(f, "External services are believed by the CAs that the system believes");
        }
        writeln!(f, "External services are believed by this CA alone")?;
        for Believed { subject, not_after, fingerprint_sha256 } in &self.certificates {
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

impl Outcome for Pem {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
