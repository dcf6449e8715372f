//! Issuing: checks requests and turns them into jobs for [`super::batch`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use time::OffsetDateTime;

use super::ended_files::EndedFiles;
use super::job::Job;
use super::planner::{Draft, Planner};
use super::request::{IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::files::{self, Placement};
use crate::identity::{MachineLabel, Name, Role};
use crate::profile::{CsrFields, LeafPlan, ProfileSet};
use crate::revocation::RevocationReason;
use crate::x509::{Csr, SerialNumber, Sha256};

impl Cluster {
    /// Check requests against their profiles without creating anything.
    ///
    /// # Errors
    /// [`CaError::Policy`] for the first request that a profile refuses.
    pub fn plan(
        &self,
        profiles: &ProfileSet,
        requests: &[IssueRequest],
    ) -> Result<Vec<PlannedCertificate>, CaError> {
        let planner = Planner::new(self, profiles, self.context.now());
        requests.iter().map(|request| self.check(request, planner.plan(request)?)).collect()
    }

    pub(in crate::ca) fn plan_one(
        &self,
        profiles: &ProfileSet,
        request: &IssueRequest,
        now: OffsetDateTime,
    ) -> Result<PlannedCertificate, CaError> {
        self.check(request, Planner::new(self, profiles, now).plan(request)?)
    }

    /// Check the key of a request that was not generated here.
    fn check(&self, request: &IssueRequest, plan: LeafPlan) -> Result<PlannedCertificate, CaError> {
        let not_granted = match &request.key {
            SubjectKey::Generate(_) => Vec::new(),
            SubjectKey::Existing(certificate) => {
                self.refuse_compromised(&certificate.public_key_info)?;
                Vec::new()
            }
            SubjectKey::Csr(csr) => {
                self.refuse_compromised(&csr.public_key_info)?;
                plan.compare_csr(&csr_fields(csr))?
            }
        };
        Ok(PlannedCertificate { plan, not_granted })
    }

    /// Refuse the public key of a root, and one that was revoked as compromised.
    fn refuse_compromised(&self, public_key_info: &[u8]) -> Result<(), CaError> {
        if self
            .inventory
            .issuers()?
            .iter()
            .any(|issuer| issuer.certificate.public_key_info == public_key_info)
        {
            return Err(CaError::RootKey);
        }
        let certified = self.inventory.find_public_key(&Sha256::of(public_key_info))?;
        certified.iter().try_for_each(|record| self.refuse_lost_revocation(record))?;
        let mut revoked = certified.iter().filter(|record| record.revocation.is_some());
        revoked.try_for_each(|record| self.inventory.check_revocation(record))?;
        let compromised = certified.iter().find_map(|record| {
            record
                .revocation
                .filter(|revocation| revocation.reason == RevocationReason::KeyCompromise)
                .map(|revocation| (record, revocation))
        });
        match compromised {
            Some((record, revocation)) => Err(CaError::KeyCompromised {
                serial_number: record.reservation.serial_number,
                at: revocation.at,
            }),
            None => Ok(()),
        }
    }
}

impl Authority {
    /// Issue a certificate for each request and write it, with its key if generated here, to `output`.
    /// Calls `progress` with the number of certificates completed since the last call.
    ///
    /// # Errors
    /// [`CaError`]. Refusals by profiles and existing files are found before anything is created. After
    /// that, a failure affects whole batches; certificates of completed batches remain valid.
    pub fn issue(
        &mut self,
        profiles: &ProfileSet,
        requests: &[IssueRequest],
        output: &Path,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        self.check_root_is_valid()?;
        let output = files::absolute(output)?;
        let jobs = self.jobs(profiles, requests, &output)?;
        files::make_private_directory(&output)?;
        jobs.iter().filter_map(|job| job.ended.as_ref()).try_for_each(EndedFiles::move_away)?;
        self.run(jobs, reason, progress)
    }

    /// Perform all checks of a request before any key is generated.
    fn jobs<'a>(
        &self,
        profiles: &ProfileSet,
        requests: &'a [IssueRequest],
        output: &Path,
    ) -> Result<Vec<Job<'a>>, CaError> {
        let drafts =
            Planner::new(&self.cluster, profiles, self.cluster.context.now()).draft_all(requests, output);
        let mut taken = HashSet::with_capacity(requests.len());
        let mut jobs = Vec::with_capacity(requests.len());
        for (request, draft) in requests.iter().zip(drafts) {
            let Draft { plan, certificate_path, key_path, occupied } = draft;
            let (role, name) = (request.role, &request.name);
            check_label(request.label.as_ref(), role, name)?;
            if !taken.insert(certificate_path.clone()) {
                return Err(CaError::DuplicateRequest { role, name: name.clone() });
            }
            let ended = match occupied {
                [true, _] => EndedFiles::find(&self.cluster, role, name, &certificate_path, &key_path)?,
                [false, _] => None,
            };
            let makes_key = matches!(request.key, SubjectKey::Generate(_));
            let path = match (&ended, occupied) {
                (None, [true, _]) => Some(&certificate_path),
                (None, [false, true]) if makes_key => Some(&key_path),
                _ => None,
            };
            if let Some(path) = path {
                return Err(files::FileError::Exists { path: path.clone() }.into());
            }
            jobs.push(Job {
                key: Cow::Borrowed(&request.key),
                planned: self.cluster.check(request, plan?)?,
                serial_number: SerialNumber::random(self.cluster.context.entropy.as_ref())?,
                certificate_path,
                key_path: makes_key.then_some(key_path),
                supersedes: None,
                label: request.label.clone(),
                placement: Placement::New,
                ended,
            });
        }
        Ok(jobs)
    }
}

/// Refuse a label of an identity that is no machine.
pub(in crate::ca) fn check_label(
    label: Option<&MachineLabel>,
    role: Role,
    name: &Name,
) -> Result<(), CaError> {
    match label.is_some() && !role.takes_label() {
        true => Err(CaError::LabelWithoutMachine { role, name: name.clone() }),
        false => Ok(()),
    }
}

fn csr_fields(csr: &Csr) -> CsrFields<'_> {
    CsrFields {
        subject: &csr.subject,
        subject_alt_names: &csr.subject_alt_names,
        requests_ca: csr.requests_ca,
        key_usage: csr.key_usage,
        extended_key_usage: csr.extended_key_usage.as_deref(),
    }
}
