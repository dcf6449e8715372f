//! `kms set`: one subcommand for each kind of service.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;

use super::login_report::LoginReport;
use super::service_report::{ServiceReport, write_keys};
use super::set_request::SetRequest;
use super::vault::SetSigner;
use crate::ca::{Rewrapped, SecretStorage};
use crate::cli::key_protection::open_key_protection;
use crate::cli::session::CommandSession;
use crate::keys::kms::Configuration;
use crate::terminal::report::{CommandResult, Shown};

/// Make the subcommands from one line for each kind of service: its help text, its name and its options.
macro_rules! services {
    ($($(#[$attribute:meta])* $name:ident($options:ty),)+) => {
        #[derive(Debug, Subcommand)]
        pub(crate) enum SetService {
            $($(#[$attribute])* $name($options),)+
            /// A new token or role for the Vault that signs as the root
            Signer(SetSigner),
        }

        impl SetService {
            pub(super) fn run(self, session: &CommandSession) -> CommandResult {
                let request = match self {
                    $(Self::$name(options) => options.into_request(session),)+
                    Self::Signer(signer) => return signer.run(session),
                };
                request?.run(session)
            }
        }
    };
}

services! {
    /// The Transit engine of a HashiCorp Vault or an OpenBao
    Vault(super::vault::SetVault),
    /// A KMIP server (1.2 to 2.x)
    Kmip(super::kmip::SetKmip),
}

impl SetRequest {
    fn run(self, session: &CommandSession) -> CommandResult {
        let Self { service, secrets, key_file, convert, ca_certificate } = self;
        let mut protection = open_key_protection(session)?;
        ca_certificate.map_or(Ok(()), |pem| protection.default_service_ca(pem))?;
        let keys = match key_file {
            Some(key) => vec![protection.set_kms_of(&key, &service, secrets)?],
            None => protection.set_kms(&service, secrets, convert)?,
        };
        let login = LoginReport::of(&Configuration::load(&session.home().kms())?, &service);
        let service = ServiceReport::of(&service, secrets == SecretStorage::Stored).with_login(login);
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
            "These private keys cannot be recovered without that key: back up the service and its key."
        )?;
        writeln!(f, "Earlier copies of them are not protected by it.")
    }
}
