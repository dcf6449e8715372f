//! `inspect` and `verify`: contents of files, and verification of certificates.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::{Cluster, Expectation, VerificationReport};
use crate::clock::{parse_time, rfc3339};
use crate::distribute::{
    ArchivedFile, KeyStoreContents, StoredObject, is_archive, is_key_store, open_key_store, read_archive,
};
use crate::error::Code;
use crate::files;
use crate::identity::Host;
use crate::keys::KeyFile;
use crate::secret::Secret;
use crate::x509::inspect::{InspectedObject, inspect};
use crate::x509::pem;
use crate::x509::trust::Purpose;

use crate::cli::password::PasswordSource;
use crate::cli::session::CommandSession;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// The arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Certificates, CSRs, CRLs and keys, in PEM or DER; archives (tar) and PKCS#12 key stores
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    password: PasswordSource,
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
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let inspect_file = |file: PathBuf| -> Result<InspectedFile, Failure> {
            let bytes = Secret::new(files::read(&file, files::CRL_FILE)?);
            let contents = match bytes.expose() {
                bytes if is_key_store(bytes) => {
                    let password = self.password.enter(&typed(&file), session.passphrase())?;
                    stored(&password, bytes)
                }
                bytes if is_archive(bytes) => archived(bytes),
                bytes if bytes.starts_with(AGE) => {
                    Ok(vec![InspectedObject::new("encrypted backup (age)").flag("encrypted", true)])
                }
                bytes => objects(bytes),
            };
            Ok(InspectedFile { contents: contents.map_err(|failure| failure.about(&file))?, file })
        };
        let inspected = self.files.into_iter().map(inspect_file).collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(Shown(InspectedFiles(inspected))))
    }
}

/// First bytes of a backup.
const AGE: &[u8] = b"age-encryption.org/v1";

/// Objects in a file, PEM or DER.
fn objects(bytes: &[u8]) -> Result<Vec<InspectedObject>, Failure> {
    // A wrapped key is in a format of this project, unknown to `x509::inspect`.
    match KeyFile::parse(Secret::new(bytes.to_vec()))? {
        wrapped @ KeyFile::Envelope(_) => Ok(vec![wrapped_key(&wrapped)]),
        KeyFile::Plain(_) | KeyFile::Passphrase(_) => Ok(inspect(bytes)?),
    }
}

/// Objects in the files of an archive, each with its file.
fn archived(bytes: &[u8]) -> Result<Vec<InspectedObject>, Failure> {
    let files =
        read_archive(bytes).map_err(|error| Failure::caused(Code::refused("inspect.archive"), &error))?;
    let mut found = Vec::new();
    for ArchivedFile { path, contents } in files {
        // A file without an object, such as README, is named.
        let objects =
            objects(contents.expose()).unwrap_or_else(|_| vec![InspectedObject::new("text or other file")]);
        found.extend(objects.into_iter().map(|object| object.preceded_by("file", &path)));
    }
    Ok(found)
}

/// Objects in a key store, each with its name.
fn stored(password: &Secret, bytes: &[u8]) -> Result<Vec<InspectedObject>, Failure> {
    let KeyStoreContents { keys, certificates, authenticated } = open_key_store(bytes, password)?;
    let count = |objects: &[StoredObject]| u64::try_from(objects.len()).unwrap_or(u64::MAX);
    let store = InspectedObject::new("PKCS#12 key store")
        .number("private_keys", count(&keys))
        .number("certificates", count(&certificates))
        .flag("authenticated", authenticated);
    let mut found = vec![store];
    for StoredObject { name, trusted, der } in keys.into_iter().chain(certificates) {
        for mut object in objects(der.expose())? {
            if trusted {
                object = object.flag("trusted_by_java", true);
            }
            if let Some(name) = &name {
                object = object.preceded_by("friendly_name", name);
            }
            found.push(object.encrypted());
        }
    }
    Ok(found)
}

fn wrapped_key(file: &KeyFile) -> InspectedObject {
    let key_id = match file {
        KeyFile::Envelope(envelope) => envelope.key_id().to_string(),
        KeyFile::Plain(_) | KeyFile::Passphrase(_) => String::new(),
    };
    InspectedObject::protected_key(file.protection().to_string(), key_id)
}

/// Required purpose of a certificate.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RequiredPurpose {
    /// Client authentication.
    Client,
    /// Server authentication.
    Server,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyCertificate {
    /// The certificate; intermediates, if any, follow in the same file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Required purpose: client or server authentication [default: all purposes in the certificate]
    #[arg(long = "as", value_enum, value_name = "PURPOSE")]
    purpose: Option<RequiredPurpose>,

    /// Host name or IP address that the certificate must contain
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Verify as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct VerifiedCertificate(VerificationReport);

impl fmt::Display for VerifiedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        let purposes: Vec<String> = report.purposes.iter().map(ToString::to_string).collect();
        writeln!(f, "Valid as {}", purposes.join(" and "))?;
        if let Some(identity) = &report.spiffe_id {
            writeln!(f, "  identity     {identity}")?;
        }
        writeln!(f, "  serial       {}", report.serial_number)?;
        writeln!(f, "  valid until  {}", rfc3339(report.not_after))
    }
}

impl VerifyCertificate {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let host = self.host.as_deref().map(str::parse::<Host>).transpose()?;
        let certificates = pem::certificates(&files::read(&self.file, files::SMALL_FILE)?)
            .map_err(|error| Failure::of(&error).about(&self.file))?;
        let expected = Expectation {
            purpose: self.purpose.map(|purpose| match purpose {
                RequiredPurpose::Client => Purpose::Client,
                RequiredPurpose::Server => Purpose::Server,
            }),
            host,
            at: self.at.unwrap_or_else(|| session.context.clock.now()),
        };
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let report = cluster.verify(&certificates, &expected)?;
        let Some(worst) = report.broken.first() else {
            return Ok(Box::new(Shown(VerifiedCertificate(report))));
        };
        let message = format!("{} is refused: {}", self.file.display(), worst.message);
        let others = report.broken.iter().skip(1).map(|rule| format!("{} [{}]", rule.message, rule.code));
        let failure = Failure::new(worst.code, message).with_causes(others.collect());
        Err(match hint(Audience::Ca, worst.code.name()) {
            Some(_) => failure,
            None => {
                failure.with_hint("issue a new one with cluster-ca, whose profiles comply with these rules")
            }
        })
    }
}
