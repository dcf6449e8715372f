//! Renewal: a new certificate for the same identity and hosts, checked against the current profile. It
//! is recorded as the replacement and replaces the old files.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::issue::check_label;
use super::job::Job;
use super::planner::file_paths;
use super::request::{IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::home::recorded_files::{self, MatchesCertificate};
use crate::files::{self, FileError, Placement};
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Host, MachineLabel, Name, Role};
use crate::keys::{KeyFile, Protection};
use crate::profile::{ProfileSet, RenewalKey};
use crate::store::{Filter, Record, RecordStatus, StoreError};
use crate::x509::{Certificate, Csr, KeyAlgorithm, SerialNumber, SubjectAltName};

/// Options of a renewal.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Key of the new certificate.
    pub key: RenewedKey,
    /// Validity. Defaults to the profile's.
    pub validity: Option<Duration>,
    /// Output directory. Defaults to replacing the old files.
    pub output: Option<PathBuf>,
    /// Hosts of the new certificate. Defaults to those of the old one.
    pub hosts: Option<Vec<Host>>,
    /// Label of the machine. Defaults to that of the old certificate.
    pub label: Option<MachineLabel>,
}

/// Key of a renewed certificate.
#[derive(Clone, Debug)]
pub enum RenewedKey {
    /// The key of the old certificate.
    Same,
    /// A key generated here, of this type or the type of the old one.
    New(Option<KeyAlgorithm>),
    /// A key generated elsewhere. The CA receives only its CSR.
    Csr(Box<Csr>),
    /// The profile's choice: a new key where the profile asks for one and the key is the CA's to make, otherwise the
    /// key of the old certificate. A key whose protection a new file would lose is kept, too.
    ByProfile,
}

/// A planned certificate and the one that it would replace.
#[derive(Debug, Serialize)]
pub struct PlannedRenewal {
    /// Serial number of the old certificate.
    pub supersedes: SerialNumber,
    /// The planned certificate.
    #[serde(flatten)]
    pub planned: PlannedCertificate,
}

/// An issued certificate and the one that it replaces.
#[derive(Debug, Serialize)]
pub struct Renewed {
    /// Serial number of the old certificate.
    pub supersedes: SerialNumber,
    /// The new certificate.
    #[serde(flatten)]
    pub issued: IssuedCertificate,
}

/// A certificate that cannot be renewed as requested.
#[derive(Debug)]
pub struct NotRenewed {
    /// Serial number of the old certificate.
    pub serial_number: SerialNumber,
    /// Role of the identity.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
    /// Reason for the refusal.
    pub error: CaError,
}

impl Cluster {
    /// Lists certificates that have expired, or expire before `expires_before`, and have not been renewed. A certificate
    /// whose identity has a later one, issued in its place, is left out.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be read.
    pub fn due_for_renewal(
        &self,
        expires_before: OffsetDateTime,
        role: Option<Role>,
    ) -> Result<Vec<Record>, CaError> {
        let filter = Filter { role, expires_before: Some(expires_before), newest: true, ..Filter::default() };
        let mut due = Vec::new();
        let now = self.context.now();
        self.inventory.list(&filter, now, |record| {
            if record.status(now) != RecordStatus::Expired || self.is_newest(&record)? {
                due.push(record);
            }
            Ok::<_, CaError>(())
        })?;
        Ok(due)
    }

    /// Lists certificates whose renewal is due by their profile, expired ones included, that were neither renewed nor
    /// revoked.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be read.
    pub fn due_by_profile(&self, profiles: &ProfileSet, role: Option<Role>) -> Result<Vec<Record>, CaError> {
        let now = self.context.now();
        let mut due = Vec::new();
        self.inventory.list(&Filter { role, newest: true, ..Filter::default() }, now, |record| {
            let rule = profiles.leaf(record.reservation.role).renewal();
            let is_due = record.issue.is_some_and(|issue| rule.due(issue.not_before, issue.not_after) <= now);
            let is_current = record.revocation.is_none() && record.superseded_by.is_none();
            if is_due
                && is_current
                && (record.status(now) != RecordStatus::Expired || self.is_newest(&record)?)
            {
                due.push(record);
            }
            Ok::<_, CaError>(())
        })?;
        Ok(due)
    }

    fn is_newest(&self, record: &Record) -> Result<bool, CaError> {
        let reservation = &record.reservation;
        let issued = self.inventory.find_identity(reservation.role, &reservation.name)?;
        let newest = issued.iter().find(|one| one.issue.is_some());
        Ok(newest.is_some_and(|newest| newest.reservation.serial_number == reservation.serial_number))
    }

    /// Check each renewal against its profile without creating anything.
    #[must_use]
    pub fn plan_renewals(
        &self,
        profiles: &ProfileSet,
        records: &[Record],
        renewal: &Renewal,
    ) -> (Vec<PlannedRenewal>, Vec<NotRenewed>) {
        let now = self.context.now();
        let (jobs, refused) = self.renewal_jobs(profiles, records, renewal, now);
        let planned = jobs.into_iter().map(|(record, job)| PlannedRenewal {
            supersedes: record.reservation.serial_number,
            planned: job.planned,
        });
        (planned.collect(), refused)
    }

    fn renewal_jobs<'a>(
        &self,
        profiles: &ProfileSet,
        records: &'a [Record],
        renewal: &Renewal,
        now: OffsetDateTime,
    ) -> (Vec<(&'a Record, Job<'static>)>, Vec<NotRenewed>) {
        let (mut jobs, mut refused) = (Vec::with_capacity(records.len()), Vec::new());
        let mut taken = HashSet::with_capacity(records.len());
        for record in records {
            let job = self.renewal_job(profiles, record, renewal, now).and_then(|job| {
                // Two valid certificates of one identity would have the same path in a new directory.
                match taken.insert(job.certificate_path.clone()) {
                    true => Ok(job),
                    false => Err(FileError::Exists { path: job.certificate_path }.into()),
                }
            });
            match job {
                Ok(job) => jobs.push((record, job)),
                Err(error) => refused.push(NotRenewed {
                    serial_number: record.reservation.serial_number,
                    role: record.reservation.role,
                    name: record.reservation.name.clone(),
                    error,
                }),
            }
        }
        (jobs, refused)
    }

    /// Perform all checks of a renewal.
    fn renewal_job(
        &self,
        profiles: &ProfileSet,
        record: &Record,
        renewal: &Renewal,
        now: OffsetDateTime,
    ) -> Result<Job<'static>, CaError> {
        let issued = self.check_renewable(record)?;
        let reservation = &record.reservation;
        check_label(renewal.label.as_ref(), reservation.role, &reservation.name)?;
        let old = self.genuine_certificate(record)?;
        let mut others =
            issued.iter().filter(|one| one.reservation.serial_number != reservation.serial_number);
        others.try_for_each(|one| {
            self.refuse_lost_revocation(one)?;
            Ok::<_, CaError>(self.inventory.check_record(one)?)
        })?;
        let key = self.key_by_profile(profiles, record, &renewal.key)?;
        let request = IssueRequest {
            role: reservation.role,
            name: reservation.name.clone(),
            hosts: match (&renewal.hosts, hosts_of(&old, &reservation.name)?) {
                (Some(requested), hosts) => with_own_first(hosts, requested, &reservation.name),
                (None, hosts) => hosts,
            },
            key: self.subject_key(record, &old, key.as_ref())?,
            validity: renewal.validity,
            label: renewal.label.clone().or_else(|| reservation.label.clone()),
        };
        let planned = self.plan_one(profiles, &request, now)?;
        let files = match &renewal.output {
            Some(directory) => self.new_files(directory, record, &request.key)?,
            None => self.old_files(record, &old, &request.key)?,
        };
        Ok(Job {
            key: Cow::Owned(request.key),
            planned,
            serial_number: SerialNumber::random(self.context.entropy.as_ref())?,
            certificate_path: files.certificate,
            key_path: files.key,
            supersedes: Some(record.id()),
            label: request.label,
            placement: files.placement,
            ended: None,
        })
    }

    /// Replace [`RenewedKey::ByProfile`] by what it means for one certificate.
    fn key_by_profile<'a>(
        &self,
        profiles: &ProfileSet,
        record: &Record,
        key: &'a RenewedKey,
    ) -> Result<Cow<'a, RenewedKey>, CaError> {
        if !matches!(key, RenewedKey::ByProfile) {
            return Ok(Cow::Borrowed(key));
        }
        let is_protected = |path: &Path| {
            KeyFile::read(&self.locate(path)).is_ok_and(|key| key.protection() != Protection::None)
        };
        let rekeys = profiles.leaf(record.reservation.role).renewal().key() == RenewalKey::Rekey
            && self.made_the_key(record)?
            && !record.reservation.key_path.as_deref().is_some_and(is_protected);
        Ok(Cow::Owned(if rekeys { RenewedKey::New(None) } else { RenewedKey::Same }))
    }

    fn subject_key(
        &self,
        record: &Record,
        old: &Certificate,
        key: &RenewedKey,
    ) -> Result<SubjectKey, CaError> {
        let serial_number = old.serial_number;
        match key {
            RenewedKey::Same | RenewedKey::ByProfile => Ok(SubjectKey::Existing(Box::new(old.clone()))),
            RenewedKey::New(_) if !self.made_the_key(record)? => Err(CaError::ExternalKey { serial_number }),
            RenewedKey::New(algorithm) => Ok(SubjectKey::Generate(algorithm.or(old.key_algorithm))),
            RenewedKey::Csr(csr) if csr.public_key_info == old.public_key_info => {
                Err(CaError::SameKey { serial_number })
            }
            RenewedKey::Csr(csr) => Ok(SubjectKey::Csr(csr.clone())),
        }
    }

    /// True if a key of this certificate or its predecessors was generated here, even if it was delivered
    /// and deleted since.
    fn made_the_key(&self, record: &Record) -> Result<bool, CaError> {
        let made = |one: &Record| one.reservation.key_path.is_some() || one.key_forgotten.is_some();
        Ok(made(record) || self.inventory.lineage(&record.id())?.iter().any(made))
    }

    /// Paths of the old pair, if the files there are the old pair.
    fn old_files(&self, record: &Record, old: &Certificate, key: &SubjectKey) -> Result<Files, CaError> {
        let recorded_key = record.reservation.key_path.as_deref().map(|path| self.locate(path));
        let certificate = self.locate(&record.reservation.certificate_path);
        let key_path = match key {
            // A delivered and deleted key is restored at its path. If only the certificate was moved to
            // another directory, the new key belongs beside it.
            SubjectKey::Generate(_) => {
                let beside = recorded_key.filter(|key| files::parent(key) == files::parent(&certificate));
                Some(beside.unwrap_or_else(|| certificate.with_extension("key")))
            }
            SubjectKey::Existing(_) => recorded_key,
            SubjectKey::Csr(_) => None,
        };
        let serial_number = old.serial_number;
        let check = |path: &Path, matches: MatchesCertificate| {
            if files::occupied(path) && !matches(path, old)? {
                return Err(CaError::FileMismatch { path: path.to_owned(), serial_number });
            }
            Ok(())
        };
        check(&certificate, recorded_files::holds_certificate)?;
        if let (SubjectKey::Generate(_), Some(path)) = (key, &key_path) {
            match KeyFile::read(path).map(|old| old.protection()) {
                Ok(Protection::None) | Err(_) => check(path, recorded_files::holds_key_of)?,
                Ok(by) => return Err(CaError::LosesProtection { path: path.clone(), by }),
            }
        }
        Ok(Files { certificate, key: key_path, placement: Placement::Replace })
    }

    /// Paths in `directory`. A key that stays the same is not moved.
    fn new_files(&self, directory: &Path, record: &Record, key: &SubjectKey) -> Result<Files, CaError> {
        let recorded_key = record.reservation.key_path.as_deref().map(|path| self.locate(path));
        let [certificate, new_key] = file_paths(directory, record.reservation.role, &record.reservation.name);
        let (key_path, made) = match key {
            SubjectKey::Generate(_) => (Some(new_key.clone()), Some(new_key)),
            SubjectKey::Existing(_) => (recorded_key, None),
            SubjectKey::Csr(_) => (None, None),
        };
        for path in [Some(&certificate), made.as_ref()].into_iter().flatten() {
            if files::occupied(path) {
                return Err(FileError::Exists { path: path.clone() }.into());
            }
        }
        Ok(Files { certificate, key: key_path, placement: Placement::New })
    }

    /// Refuse a certificate that has been replaced, and an identity that is revoked or on hold. Return all
    /// certificates of the identity.
    fn check_renewable(&self, record: &Record) -> Result<Vec<Record>, CaError> {
        let serial_number = record.reservation.serial_number;
        if let Some(by) = &record.superseded_by {
            return Err(CaError::Superseded { serial_number, by: by.serial_number });
        }
        if record.issue.is_none() {
            return Err(StoreError::NotIssued { serial_number }.into());
        }
        let issued = self.inventory.find_identity(record.reservation.role, &record.reservation.name)?;
        let newest = issued.iter().find(|one| one.issue.is_some());
        let revoked = newest.into_iter().chain([record]).find_map(|one| Some((one, one.revocation?)));
        if let Some((revoked, revocation)) = revoked {
            return Err(CaError::IdentityRevoked {
                role: record.reservation.role,
                name: record.reservation.name.clone(),
                serial_number: revoked.reservation.serial_number,
                at: revocation.at,
                reason: revocation.reason,
            });
        }
        Ok(issued)
    }
}

impl Authority {
    /// Renew each certificate that can be renewed. Call `progress` with the number of certificates
    /// completed since the last call.
    ///
    /// # Errors
    /// [`CaError`] if the operation had to stop; certificates renewed before remain. Refusals are part of
    /// the result and do not stop the others.
    pub fn renew(
        &mut self,
        profiles: &ProfileSet,
        records: &[Record],
        renewal: &Renewal,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Renewed>, Vec<NotRenewed>), CaError> {
        self.check_root_is_valid()?;
        let output = renewal.output.as_deref().map(files::absolute).transpose()?;
        let renewal = Renewal { output, ..renewal.clone() };
        let now = self.cluster.context.now();
        let (jobs, refused) = self.cluster.renewal_jobs(profiles, records, &renewal, now);
        let (olds, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|(record, job)| (record.reservation.serial_number, job)).unzip();
        for job in &jobs {
            // The directory may have been removed since the certificate was issued.
            files::make_private_directory(files::parent(&job.certificate_path))?;
        }
        let issued = self.run(jobs, reason, progress)?;
        let renewed = olds.into_iter().zip(issued);
        let renewed = renewed.map(|(supersedes, issued)| Renewed { supersedes, issued }).collect();
        Ok((renewed, refused))
    }
}

/// Paths of a renewed pair, and the treatment of existing files.
struct Files {
    certificate: PathBuf,
    key: Option<PathBuf>,
    placement: Placement,
}

/// Requested hosts, preceded by the host of the old certificate that the identity is named for.
fn with_own_first(old: Vec<Host>, requested: &[Host], name: &Name) -> Vec<Host> {
    let own: Vec<Host> = old.into_iter().filter(|host| Name::of_host(host) == *name).collect();
    let others: Vec<Host> = requested.iter().filter(|host| !own.contains(host)).cloned().collect();
    own.into_iter().chain(others).collect()
}

/// Hosts of an existing certificate as they were requested, with the identity's own first.
fn hosts_of(certificate: &Certificate, name: &Name) -> Result<Vec<Host>, CaError> {
    let is_own = |host: &Host| Name::of_host(host) == *name;
    let mut hosts = Vec::new();
    for alternative in &certificate.subject_alt_names {
        let host = match alternative {
            SubjectAltName::Dns(dns) => dns.parse()?,
            SubjectAltName::Ip(ip) => Host::Ip(*ip),
            SubjectAltName::Uri(_) | SubjectAltName::Other(_) => continue,
        };
        let is_fixed = matches!(&host, Host::Dns(dns) if dns == CONTROL_SERVICE_DNS_NAME);
        if !is_fixed || is_own(&host) {
            hosts.push(host);
        }
    }
    hosts.sort_by_key(|host| !is_own(host));
    Ok(hosts)
}
