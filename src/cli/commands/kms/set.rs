//! `kms set`: one subcommand for each kind of service.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;

use super::kmip::SetKmip;
use super::service_report::{ServiceReport, write_keys};
use super::set_request::SetRequest;
use super::vault::SetVault;
use crate::ca::{Rewrapped, SecretStorage};
use crate::cli::custody::custody;
use crate::cli::session::Session;
use crate::terminal::report::{CommandResult, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum Set {
    /// The Transit engine of a HashiCorp Vault or an OpenBao
    Vault(SetVault),
    /// A KMIP server (1.2 to 2.x)
    Kmip(SetKmip),
}

impl Set {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let SetRequest { service, secrets, key_file, convert } = match self {
            Self::Kmip(set) => set.into_request(),
            Self::Vault(set) => set.into_request(),
        }?;
        let mut custody = custody(session)?;
        let keys = match key_file {
            Some(key) => vec![custody.set_kms_of(&key, &service, secrets)?],
            None => custody.set_kms(&service, secrets, convert)?,
        };
        let service = ServiceReport::of(&service, secrets == SecretStorage::Stored);
        Ok(Box::new(Shown(SetReport { service, keys })))
    }
}

#[derive(Serialize)]
struct SetReport {
    #[serde(flatten)]
    service: ServiceReport,
    keys: Vec<Rewrapped>,
}

impl fmt::Display for SetReport {
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
