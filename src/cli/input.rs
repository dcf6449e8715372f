//! Certificates, keys and CSRs that arguments refer to, parsed from text and files.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use uuid::Uuid;

use crate::ca::{CaError, Target};
use crate::error::{Code, excerpt};
use crate::files;
use crate::identity::{Host, Name, Role};
use crate::keys::PrivateKey;
use crate::secret::Secret;
use crate::x509::{Certificate, Csr, pem, public_key_algorithm};

use crate::terminal::report::Failure;

/// Read at most `limit` bytes from a file, or from standard input for `-`.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return Ok(files::read(path, limit)?);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::caused(Code::environment("file.stdin"), &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        return Ok(bytes);
    }
    Err(files::FileError::TooLarge { path: path.to_owned(), limit }.into())
}

/// Parser of the path of an output. `-` would become a file of that name, and files are written whole or not at all,
/// which standard output is not.
pub(crate) fn output_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path == Path::new("-") {
        true => Err("output goes to a file, never to standard output: give its name"),
        false => Ok(path),
    })
}

/// Parse a serial number, `ROLE/NAME`, or the path of a certificate file.
pub(crate) fn target(text: &str) -> Result<Target, Failure> {
    match text.parse() {
        Ok(target) => Ok(target),
        Err(_) if Path::new(text).is_file() => {
            let certificate = certificates(Path::new(text))?.into_iter().next();
            let none = || {
                Failure::new(Code::refused("ca.nothing_to_verify"), format!("{text} contains no certificate"))
            };
            Ok(Target::Certificate(Box::new(certificate.ok_or_else(none)?)))
        }
        Err(error) => {
            let names_a_role = text.split('/').next().is_some_and(|role| role.parse::<Role>().is_ok());
            let failure = match names_a_role {
                true => CaError::from(error).into(),
                false => Failure::new(
                    Code::usage("usage.target"),
                    format!("`{}` is not a serial number, ROLE/NAME or an existing file", excerpt(text)),
                ),
            };
            Err(failure.with_hint(match role_of(text) {
                Some(role) if !names_a_role => format!("a name needs its role: {role}/{text}"),
                _ => "give a serial number, ROLE/NAME such as api-user/alice, or a certificate's file"
                    .to_owned(),
            }))
        }
    }
}

/// The role that a bare name most likely belongs to.
fn role_of(name: &str) -> Option<Role> {
    match name.parse::<Host>() {
        _ if name.contains('/') => None,
        _ if name.parse::<Uuid>().is_ok() => Some(Role::NodeAgent),
        Ok(Host::Dns(_)) if !name.contains('.') => Name::of_user(name).is_ok().then_some(Role::ApiUser),
        Ok(_) => Some(Role::ControlService),
        Err(_) => Name::of_user(name).is_ok().then_some(Role::ApiUser),
    }
}

/// Read the certificates in a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    pem::certificates(&read(path, files::CRL_FILE)?).map_err(|error| Failure::of(&error).about(path))
}

/// Read a CSR (PKCS#10), PEM or DER.
pub(crate) fn certification_request(path: &Path) -> Result<Csr, Failure> {
    let bytes = read(path, files::SMALL_FILE)?;
    Csr::from_bytes(&bytes).map_err(|error| Failure::of(&error).about(path))
}

/// SubjectPublicKeyInfo (DER) of the key in a file: a public key, certificate, CSR or private key.
///
/// Private keys are accepted because a leaked key file is a reason to revoke.
pub(crate) fn public_key_info(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = Secret::new(read(path, files::SMALL_FILE)?);
    let no_key = || {
        Failure::new(
            Code::usage("input.public_key"),
            format!("{} contains no supported public key", path.display()),
        )
        .with_hint("give a public key, certificate, CSR or private key, in PEM")
    };
    let blocks = pem::blocks(bytes.expose()).map_err(|error| Failure::of(&error).about(path))?;
    let mut found = Vec::new();
    // OpenSSL writes the parameters of a key before it.
    for block in blocks.iter().filter(|block| block.label != "EC PARAMETERS") {
        let info = match (block.label.as_str(), pem::ObjectKind::of_label(&block.label)) {
            ("PUBLIC KEY", _) => Some(block.der().to_vec()),
            (_, Some(pem::ObjectKind::Certificate)) => {
                Certificate::from_der(block.der()).ok().map(|certificate| certificate.public_key_info)
            }
            (_, Some(pem::ObjectKind::Csr)) => {
                Csr::from_bytes(block.der()).ok().map(|request| request.public_key_info)
            }
            _ if block.is_private_key() => {
                let key = PrivateKey::from_pem(&bytes).map_err(|error| Failure::of(&error).about(path))?;
                Some(key.public_key_info())
            }
            _ => None,
        };
        found.push(info.filter(|info| public_key_algorithm(info).is_some()).ok_or_else(no_key)?);
    }
    // A key and its certificate in one file have one public key.
    found.dedup();
    match found.pop() {
        Some(info) if found.is_empty() => Ok(info),
        _ => Err(no_key()),
    }
}
