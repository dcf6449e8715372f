//! Certificate of the server of this CA: issued and renewed by itself, beside the other issued certificates.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::renew::{Renewal, RenewedKey};
use super::request::{IssueRequest, SubjectKey};
use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::error::{Code, Coded};
use crate::files;
use crate::identity::{Host, Name, Role};
use crate::profile::ProfileSet;
use crate::store::{Record, RecordStatus};
use crate::x509::{SerialNumber, SubjectAltName};

/// Certificate of a control service, with its key in the home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCertificate {
    /// Path of the certificate.
    pub certificate: PathBuf,
    /// Path of the private key.
    pub key: PathBuf,
    /// Serial number, as served.
    pub serial_number: SerialNumber,
    /// Expiry.
    pub not_after: OffsetDateTime,
    /// True if it was issued or renewed now.
    pub is_new: bool,
}

/// Certificate that a server cannot use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceCertificateError {
    /// An error of the CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The certificate of the host has not all names.
    #[error("the certificate of control-service/{name} ({serial_number}) is not valid for {missing}")]
    Host {
        /// First of the hosts.
        name: Name,
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// The first host that it lacks.
        missing: Host,
    },
    /// No host was given.
    #[error("a server needs at least one host name or address")]
    NoHost,
    /// The key of the certificate is not in the home.
    #[error(
        "the certificate of control-service/{name} ({serial_number}) is valid, but its key is not in this home"
    )]
    NoKey {
        /// First of the hosts.
        name: Name,
        /// Serial number of the certificate.
        serial_number: SerialNumber,
    },
}

impl Coded for ServiceCertificateError {
    fn coded(&self) -> Code {
        match self {
            Self::Ca(error) => error.coded(),
            Self::Host { .. } => Code::refused("server.certificate_host"),
            Self::NoHost => Code::usage("server.no_host"),
            Self::NoKey { .. } => Code::refused("server.certificate_key"),
        }
    }
}

impl Authority {
    /// Return the valid certificate of the control service on `hosts`, the first of which names it. Issue one if there
    /// is none, and renews one whose renewal is due by its profile.
    ///
    /// # Errors
    /// [`ServiceCertificateError::Host`] and [`ServiceCertificateError::NoKey`] for a valid certificate that a server
    /// cannot use, and errors of issuing.
    pub fn ensure_service_certificate(
        &mut self,
        profiles: &ProfileSet,
        hosts: &[Host],
    ) -> Result<ServiceCertificate, ServiceCertificateError> {
        let name = Name::of_host(hosts.first().ok_or(ServiceCertificateError::NoHost)?);
        let Some(record) = self.valid_certificate(&name)? else {
            return self.issue_for(profiles, name, hosts);
        };
        let serial_number = record.reservation.serial_number;
        let certificate = self.cluster.genuine_certificate(&record)?;
        let is_valid_for = |host: &Host| {
            certificate.subject_alt_names.iter().any(|name| match (name, host) {
                (SubjectAltName::Dns(name), Host::Dns(host)) => name.eq_ignore_ascii_case(host),
                (SubjectAltName::Ip(ip), Host::Ip(host)) => ip == host,
                _ => false,
            })
        };
        if let Some(missing) = hosts.iter().find(|host| !is_valid_for(host)) {
            return Err(ServiceCertificateError::Host { name, serial_number, missing: missing.clone() });
        }
        let key = record.reservation.key_path.as_deref().map(|path| self.cluster.locate(path));
        let Some(key) = key.filter(|path| files::occupied(path)) else {
            return Err(ServiceCertificateError::NoKey { name, serial_number });
        };
        let rule = profiles.leaf(Role::ControlService).renewal();
        if rule.due(certificate.not_before, certificate.not_after) > self.cluster.context.now() {
            return Ok(ServiceCertificate {
                certificate: self.cluster.locate(&record.reservation.certificate_path),
                key,
                serial_number,
                not_after: certificate.not_after,
                is_new: false,
            });
        }
        let renewal =
            Renewal { key: RenewedKey::ByProfile, validity: None, output: None, hosts: None, label: None };
        let reason = Some("renewal of the server's own certificate");
        let (renewed, refused) = self.renew(profiles, &[record], &renewal, reason, &|_| ())?;
        match (renewed.into_iter().next(), refused.into_iter().next()) {
            (Some(renewed), _) => Ok(ServiceCertificate {
                key: renewed.issued.key.unwrap_or(key),
                certificate: renewed.issued.certificate,
                serial_number: renewed.issued.serial_number,
                not_after: renewed.issued.not_after,
                is_new: true,
            }),
            (None, Some(refused)) => Err(refused.error.into()),
            (None, None) => Err(ServiceCertificateError::NoKey { name, serial_number }),
        }
    }

    fn issue_for(
        &mut self,
        profiles: &ProfileSet,
        name: Name,
        hosts: &[Host],
    ) -> Result<ServiceCertificate, ServiceCertificateError> {
        let request = IssueRequest {
            role: Role::ControlService,
            name: name.clone(),
            hosts: hosts.to_vec(),
            key: SubjectKey::Generate(None),
            validity: None,
            label: None,
        };
        let output = self.cluster.home.issued();
        let reason = Some("the server's own certificate");
        let issued = self.issue(profiles, &[request], &output, reason, &|_| ())?.into_iter().next();
        let made = issued.and_then(|issued| {
            Some(ServiceCertificate {
                key: issued.key?,
                certificate: issued.certificate,
                serial_number: issued.serial_number,
                not_after: issued.not_after,
                is_new: true,
            })
        });
        made.ok_or(ServiceCertificateError::NoHost)
    }

    /// The newest valid certificate of the control service that has not been renewed.
    fn valid_certificate(&self, name: &Name) -> Result<Option<Record>, CaError> {
        let now = self.cluster.context.now();
        let all = self.cluster.inventory.find_identity(Role::ControlService, name)?;
        let is_current =
            |record: &Record| record.status(now) == RecordStatus::Valid && record.superseded_by.is_none();
        Ok(all.into_iter().find(is_current))
    }
}
