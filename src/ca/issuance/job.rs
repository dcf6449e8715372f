//! Planned certificates, ready to be signed.

use std::borrow::Cow;
use std::path::PathBuf;

use super::ended_files::EndedFiles;
use super::request::{IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::ca::cluster::Cluster;
use crate::files::Placement;
use crate::identity::MachineLabel;
use crate::store::{CertificateId, Reservation};
use crate::x509::{Certificate, SerialNumber, SubjectAltName};

/// A fully planned certificate, ready to be signed.
pub(in crate::ca) struct Job<'a> {
    pub(in crate::ca) key: Cow<'a, SubjectKey>,
    pub(in crate::ca) planned: PlannedCertificate,
    pub(in crate::ca) serial_number: SerialNumber,
    pub(in crate::ca) certificate_path: PathBuf,
    pub(in crate::ca) key_path: Option<PathBuf>,
    pub(in crate::ca) supersedes: Option<CertificateId>,
    pub(in crate::ca) label: Option<MachineLabel>,
    pub(in crate::ca) placement: Placement,
    /// Files of a revoked or expired certificate of the identity that stand in the way.
    pub(in crate::ca) ended: Option<EndedFiles>,
}

impl Job<'_> {
    pub(super) fn reservation(&self, cluster: &Cluster) -> Reservation {
        let identity = &self.planned.plan.identity;
        Reservation {
            serial_number: self.serial_number,
            role: identity.role,
            name: identity.name.clone(),
            profile: self.planned.plan.profile,
            certificate_path: cluster.recorded(&self.certificate_path),
            key_path: self.key_path.as_deref().map(|path| cluster.recorded(path)),
            supersedes: self.supersedes.clone(),
            label: self.label.clone(),
        }
    }

    pub(super) fn issued(&self, certificate: &Certificate) -> IssuedCertificate {
        let identity = &self.planned.plan.identity;
        IssuedCertificate {
            certificate: self.certificate_path.clone(),
            key: self.key_path.clone(),
            serial_number: self.serial_number,
            role: identity.role,
            name: identity.name.clone(),
            spiffe_id: identity.clone(),
            label: self.label.clone(),
            hosts: certificate
                .subject_alt_names
                .iter()
                .filter_map(|name| match name {
                    SubjectAltName::Dns(name) => Some(name.clone()),
                    SubjectAltName::Ip(ip) => Some(ip.to_string()),
                    SubjectAltName::Uri(_) | SubjectAltName::Other(_) => None,
                })
                .collect(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            superseded: self.ended.as_ref().map(|ended| ended.certificate.1.clone()),
            not_granted: self.planned.not_granted.clone(),
        }
    }
}
