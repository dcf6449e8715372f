//! `inspect` and `verify`: what files say, and whether it holds.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::{Cluster, Expectation, VerificationReport};
use crate::clock::{parse_time, rfc3339};
use crate::files;
use crate::identity::Host;
use crate::keys::KeyFile;
use crate::secret::Secret;
use crate::x509::inspect::{InspectedObject, inspect};
use crate::x509::pem;
use crate::x509::trust::Purpose;

use crate::cli::session::Session;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::report::{CommandResult, Failure, Shown};

/// The arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Certificates, requests, revocation lists, keys or bundles, in PEM or DER
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct InspectedFile {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    contents: Vec<InspectedObject>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct InspectedFiles(Vec<InspectedFile>);

impl fmt::Display for InspectedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, file) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if self.0.len() > 1 {
                writeln!(f, "{}:", file.file.display())?;
            }
            for (index, contents) in file.contents.iter().enumerate() {
                if index > 0 {
                    writeln!(f)?;
                }
                writeln!(f, "{contents}")?;
            }
        }
        Ok(())
    }
}

impl Inspect {
    pub(crate) fn run(self) -> CommandResult {
        let look = |file: PathBuf| -> Result<InspectedFile, Failure> {
            let bytes = Secret::new(files::read(&file, files::CRL_FILE)?);
            let about = |failure: Failure| failure.about(&file);
            // Of our own making, and of no standard form.
            let contents = match KeyFile::parse(Secret::new(bytes.expose().to_vec())) {
                Ok(sealed @ KeyFile::Envelope(_)) => vec![sealed_key(&sealed)],
                Err(error) => return Err(about(error.into())),
                Ok(_) => inspect(bytes.expose()).map_err(|error| about(error.into()))?,
            };
            Ok(InspectedFile { file, contents })
        };
        let looked = self.files.into_iter().map(look).collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(Shown(InspectedFiles(looked))))
    }
}

fn sealed_key(file: &KeyFile) -> InspectedObject {
    let key_id = match file {
        KeyFile::Envelope(envelope) => envelope.key_id().to_string(),
        KeyFile::Plain(_) | KeyFile::Passphrase(_) => String::new(),
    };
    InspectedObject::protected_key(file.protection().to_string(), key_id)
}

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    /// To call.
    Client,
    /// To be called.
    Server,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The certificate; intermediates, if any, after it in the same file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What it is to be good for [default: whatever it claims]
    #[arg(long = "as", value_enum, value_name = "PURPOSE")]
    purpose: Option<As>,

    /// A host that it must name
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Judge as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Good(VerificationReport);

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.0;
        let purposes: Vec<String> = verdict.purposes.iter().map(ToString::to_string).collect();
        writeln!(f, "Good as {}", purposes.join(" and "))?;
        if let Some(identity) = &verdict.spiffe_id {
            writeln!(f, "  identity     {identity}")?;
        }
        writeln!(f, "  serial       {}", verdict.serial_number)?;
        writeln!(f, "  valid until  {}", rfc3339(verdict.not_after))
    }
}

impl Verify {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let host = self.host.as_deref().map(str::parse::<Host>).transpose()?;
        let certificates = pem::certificates(&files::read(&self.file, files::SMALL_FILE)?)
            .map_err(|error| Failure::of(&error).about(&self.file))?;
        let expected = Expectation {
            purpose: self.purpose.map(|purpose| match purpose {
                As::Client => Purpose::Client,
                As::Server => Purpose::Server,
            }),
            host,
            at: self.at.unwrap_or_else(|| session.context.clock.now()),
        };
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let verdict = cluster.verify(&certificates, &expected)?;
        let Some(worst) = verdict.broken.first() else {
            return Ok(Box::new(Shown(Good(verdict))));
        };
        let message = format!("{} is refused: {}", self.file.display(), worst.message);
        let others = verdict.broken.iter().skip(1).map(|rule| format!("{} [{}]", rule.message, rule.code));
        let failure = Failure::new(worst.code, message).with_causes(others.collect());
        Err(match hint(Audience::Ca, worst.code.name()) {
            Some(_) => failure,
            None => failure.with_hint("issue it anew with cluster-ca, whose profiles keep to these rules"),
        })
    }
}
