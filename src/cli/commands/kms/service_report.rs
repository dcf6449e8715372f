//! Report of a key management service.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::login_report::LoginReport;
use crate::ca::{RewrapOutcome, Rewrapped};
use crate::keys::kms::KmsService;
use crate::terminal::report::typed;

/// A service without its secrets.
#[derive(Serialize)]
pub(super) struct ServiceReport {
    kms: &'static str,
    address: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    login: &'static str,
    secrets_kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_end: Option<LoginReport>,
}

impl ServiceReport {
    pub(super) fn of(service: &KmsService, secrets_kept: bool) -> Self {
        Self {
            kms: service.kind(),
            address: service.address().to_owned(),
            key: service.key().to_owned(),
            namespace: service.namespace().map(str::to_owned),
            login: service.login(),
            secrets_kept,
            login_end: None,
        }
    }

    /// Add the end of the login.
    pub(super) fn with_login(self, login_end: Option<LoginReport>) -> Self {
        Self { login_end, ..self }
    }
}

impl fmt::Display for ServiceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Path::new("kms.json"), f)
    }
}

impl ServiceReport {
    /// Write the report; `file` contains the secrets.
    pub(super) fn write(&self, file: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  service      {} at {}", self.kms, self.address)?;
        writeln!(f, "  key          {}", self.key)?;
        if let Some(namespace) = &self.namespace {
            writeln!(f, "  namespace    {namespace}")?;
        }
        let kept = match self.secrets_kept {
            true => format!("stored in {} (0600)", typed(file)),
            false => "not stored".to_owned(),
        };
        writeln!(f, "  login        {}, its secret {kept}", self.login)?;
        self.write_login(f)
    }

    /// Write the end of the login, if it has one.
    pub(super) fn write_login(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.login_end.iter().try_for_each(|login| write!(f, "{login}"))
    }
}

/// Write one line for each key.
pub(super) fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[Rewrapped]) -> fmt::Result {
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
