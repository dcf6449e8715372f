//! Issuing: checks requests against profiles and turns them into jobs for [`super::batch`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::batch::Job;
use super::ended_files::EndedFiles;
use super::request::{IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::files::{self, Placement};
use crate::identity::{Identity, Name, Role};
use crate::profile::{CsrFields, LeafRequest, ProfileSet};
use crate::revocation::RevocationReason;
use crate::x509::{Csr, SerialNumber, Sha256};

impl Cluster {
    /// Checks requests against their profiles without creating anything.
    ///
    /// # Errors
    /// [`CaError::Policy`] for the first request that a profile refuses.
    pub fn plan(
        &self,
        profiles: &ProfileSet,
        requests: &[IssueRequest],
    ) -> Result<Vec<PlannedCertificate>, CaError> {
        let now = self.context.now();
        requests.iter().map(|request| self.plan_one(profiles, request, now)).collect()
    }

    pub(in crate::ca) fn plan_one(
        &self,
        profiles: &ProfileSet,
        request: &IssueRequest,
        now: OffsetDateTime,
    ) -> Result<PlannedCertificate, CaError> {
        let profile = profiles.leaf(request.role);
        let identity = Identity {
            trust_domain: self.trust_domain().clone(),
            role: request.role,
            name: request.name.clone(),
        };
        let key_algorithm = match &request.key {
            SubjectKey::Generate(algorithm) => *algorithm,
            SubjectKey::Csr(csr) => Some(profile.check_public_key(Some(csr.key_algorithm))?),
            SubjectKey::Existing(certificate) => Some(profile.check_public_key(certificate.key_algorithm)?),
        };
        let plan = profile.plan(
            &LeafRequest {
                identity: &identity,
                cluster_uuid: self.facts.uuid,
                hosts: &request.hosts,
                key_algorithm,
                validity: request.validity,
            },
            now,
            self.root().not_after,
        )?;
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

    /// Refuses the public key of a root, and one that was revoked as compromised.
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
    /// Issues a certificate for each request and writes it, with its key if generated here, to `output`.
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

    /// Performs all checks of a request before any key is generated.
    fn jobs<'a>(
        &self,
        profiles: &ProfileSet,
        requests: &'a [IssueRequest],
        output: &Path,
    ) -> Result<Vec<Job<'a>>, CaError> {
        let now = self.cluster.context.now();
        let mut taken = HashSet::with_capacity(requests.len());
        requests
            .iter()
            .map(|request| {
                let [certificate_path, key_path] = file_paths(output, request.role, &request.name);
                if !taken.insert(certificate_path.clone()) {
                    return Err(CaError::DuplicateRequest { role: request.role, name: request.name.clone() });
                }
                let (role, name) = (request.role, &request.name);
                let ended = EndedFiles::find(&self.cluster, role, name, &certificate_path, &key_path)?;
                let makes_key = matches!(request.key, SubjectKey::Generate(_));
                let key_path = makes_key.then_some(key_path);
                if ended.is_none() {
                    for path in [Some(&certificate_path), key_path.as_ref()].into_iter().flatten() {
                        if files::occupied(path) {
                            return Err(files::FileError::Exists { path: path.clone() }.into());
                        }
                    }
                }
                Ok(Job {
                    key: Cow::Borrowed(&request.key),
                    planned: self.cluster.plan_one(profiles, request, now)?,
                    serial_number: SerialNumber::random(self.cluster.context.entropy.as_ref())?,
                    certificate_path,
                    key_path,
                    supersedes: None,
                    label: request.label.clone(),
                    placement: Placement::New,
                    ended,
                })
            })
            .collect()
    }
}

/// Paths of an identity's certificate and key in `directory`.
pub(in crate::ca) fn file_paths(directory: &Path, role: Role, name: &Name) -> [PathBuf; 2] {
    let stem = file_stem(&format!("{}{name}", role.file_prefix()));
    ["crt", "key"].map(|extension| directory.join(format!("{stem}.{extension}")))
}

/// Shortens a name that, with the serial number in the name of its temporary file, exceeds what file systems take. A
/// host name may have 253 characters (RFC 1035, section 2.3.4).
fn file_stem(name: &str) -> String {
    /// 255 octets, without a dot, `.crt`, a dot, a serial number of 40 digits, and `.tmp`.
    const LONGEST: usize = 255 - 1 - 4 - 1 - 40 - 4;
    const KEPT: usize = 160;
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let kept: String = name.char_indices().take_while(|(at, _)| *at < KEPT).map(|(_, c)| c).collect();
    let digest = Sha256::of(name.as_bytes()).to_string();
    let digest: String = digest.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    format!("{kept}-{digest}")
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
