//! Certificates in the answers of a server.

use std::path::Path;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;

use crate::api_client::{ApiSession, encoded};
use crate::ca::{CertificateStatus, Target};
use crate::cli::input;
use crate::cli::server_args::failure;
use crate::error::Code;
use crate::identity::{MachineLabel, Role};
use crate::revocation::RevocationReason;
use crate::terminal::report::Failure;
use crate::x509::SerialNumber;
use crate::x509::crl::CrlNumber;

/// Path of the certificates.
pub(super) const CERTIFICATES: &str = "/certificates";

/// A certificate as a server lists it.
#[derive(Deserialize)]
pub(super) struct ServedCertificate {
    #[serde(deserialize_with = "parsed")]
    pub(super) serial_number: SerialNumber,
    #[serde(deserialize_with = "parsed")]
    pub(super) role: Role,
    pub(super) name: String,
    #[serde(default, deserialize_with = "parsed_if_present")]
    pub(super) label: Option<MachineLabel>,
    pub(super) spiffe_id: String,
    #[serde(deserialize_with = "parsed")]
    pub(super) status: CertificateStatus,
    pub(super) not_before: Option<String>,
    pub(super) not_after: Option<String>,
    pub(super) fingerprint: Option<String>,
    pub(super) revoked_at: Option<String>,
    #[serde(deserialize_with = "parsed_if_present")]
    pub(super) reason: Option<RevocationReason>,
    #[serde(deserialize_with = "parsed_if_present")]
    pub(super) supersedes: Option<SerialNumber>,
    #[serde(deserialize_with = "parsed_if_present")]
    pub(super) superseded_by: Option<SerialNumber>,
}

/// A certificate with its history, as a server shows it.
#[derive(Deserialize)]
pub(super) struct ServedDetails {
    #[serde(flatten)]
    pub(super) certificate: ServedCertificate,
    pub(super) profile: String,
    pub(super) reserved_at: String,
    pub(super) issued_by: Option<String>,
    pub(super) why: Option<String>,
    pub(super) key_forgotten_at: Option<String>,
    pub(super) lineage: Vec<String>,
}

/// Change of the revocation of a certificate, as a server reports it.
#[derive(Deserialize)]
pub(super) struct ServedChange {
    pub(super) certificate: ServedCertificate,
    pub(super) already: bool,
    pub(super) crl: ServedCrlDates,
}

/// CRL after a change.
#[derive(Deserialize)]
pub(super) struct ServedCrlDates {
    pub(super) number: CrlNumber,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) this_update: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) next_update: OffsetDateTime,
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom("another text was expected"))
}

fn parsed_if_present<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(|_| D::Error::custom("another text was expected"))
}

/// Path of the certificate that a target names. The server finds a name as a command does.
pub(super) fn path_of(target: &Target) -> String {
    format!("{CERTIFICATES}/{}", encoded(&target.to_string()))
}

/// Find a certificate by serial number, role and name, or its file, and a node by its label.
pub(super) fn find_served(api: &ApiSession, text: &str) -> Result<ServedDetails, Failure> {
    let refused = match input::target(text) {
        Ok(target) => return api.get(&path_of(&target)).map_err(failure),
        Err(refused) => refused,
    };
    let is_label = text.parse::<MachineLabel>().is_ok() && !text.contains(['*', '?', '[']);
    if Path::new(text).exists() || !is_label {
        return Err(refused);
    }
    let mut found = Vec::new();
    let conditions = [("label", text.to_owned()), ("newest", true.to_string())];
    api.get_pages(CERTIFICATES, &conditions, 2, failure, &mut |one: ServedCertificate| {
        found.push(one.serial_number);
        Ok(())
    })?;
    match found.as_slice() {
        [] => Err(refused),
        [one] => api.get(&path_of(&Target::Serial(*one))).map_err(failure),
        several => {
            let serials: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!("{text} matches {} certificates: {}", several.len(), serials.join(", "));
            Err(Failure::new(Code::refused("ca.ambiguous"), message))
        }
    }
}
