//! Signing and placing of planned certificates, shared by issuing and renewing. Every certificate is
//! recorded durably before its files get their names.
//!
//! A batch runs in these steps. After a crash in any step, the next command completes or reports the
//! rest:
//!
//! 1. Plan: profiles and file names were checked before; nothing exists yet.
//! 2. Reserve: serial numbers, identities and destinations, in one durable transaction.
//! 3. Sign: generate keys and sign certificates, write both under temporary names, and sync.
//! 4. Commit: the certificates with their audit entries, in one durable transaction.
//! 5. Place: rename the temporary files.
//!
//! A renewal with the same key replaces the certificate by one rename, so that readers always find a
//! matching pair. A new key needs two renames, which no file system does atomically. Both files are
//! synced before, and the renames follow each other immediately. If the second one fails, the first is
//! undone. After a crash in between, the next command completes it ([`crate::ca::home::recover`]).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use rcgen::Issuer;

use super::certificate_builder as builder;
use super::ended_files::EndedFiles;
use super::pair::StagedPair;
use super::request::{IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::signing::with_signer_failure;
use crate::files::{self, Access, Placement, Staged};
use crate::keys::PrivateKey;
use crate::store::{CertificateId, Reservation};
use crate::x509::{Certificate, SerialNumber, SubjectAltName, pem};

/// Certificates per transaction: large enough to amortize two durable writes, small enough that few are
/// affected by a crash.
const BATCH: usize = 1_000;

/// A fully planned certificate, ready to be signed.
pub(in crate::ca) struct Job<'a> {
    pub(in crate::ca) key: Cow<'a, SubjectKey>,
    pub(in crate::ca) planned: PlannedCertificate,
    pub(in crate::ca) serial_number: SerialNumber,
    pub(in crate::ca) certificate_path: PathBuf,
    pub(in crate::ca) key_path: Option<PathBuf>,
    pub(in crate::ca) supersedes: Option<CertificateId>,
    pub(in crate::ca) placement: Placement,
    /// Files of a revoked or expired certificate of the identity that stand in the way.
    pub(in crate::ca) ended: Option<EndedFiles>,
}

impl Authority {
    /// Runs all jobs in batches and keeps their order.
    pub(in crate::ca) fn run(
        &mut self,
        mut jobs: Vec<Job<'_>>,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        let mut issued = Vec::with_capacity(jobs.len());
        while !jobs.is_empty() {
            let rest = jobs.split_off(jobs.len().min(BATCH));
            let batch = std::mem::replace(&mut jobs, rest);
            issued.extend(self.run_batch(batch, reason, progress)?);
        }
        Ok(issued)
    }

    /// Runs steps 2 to 5 for one batch.
    fn run_batch(
        &mut self,
        jobs: Vec<Job<'_>>,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        let provenance = self.cluster.context.provenance(reason);
        let issuer = self.cluster.issuer.clone();
        let reservations: Vec<Reservation> = jobs.iter().map(|job| job.reservation(&self.cluster)).collect();
        self.cluster.inventory.begin(&provenance)?.reserve(&issuer, &reservations)?.commit()?;

        let signing = SigningContext { root: &self.cluster.root, signer: &self.signer };
        let signed = signing.sign_all(&jobs, progress);
        let (certificates, pairs) = with_signer_failure(self.signer.key(), signed)?;
        let directories: BTreeSet<&Path> =
            jobs.iter().map(|job| files::parent(&job.certificate_path)).collect();
        make_durable(&pairs, &directories)?;

        self.cluster.inventory.begin(&provenance)?.issue(&issuer, &certificates)?.commit()?;

        place_pairs(pairs, &directories)?;
        let placed: Vec<SerialNumber> = jobs.iter().map(|job| job.serial_number).collect();
        // The files are in place. If this record fails, the next command finds them there and repeats it.
        let _ = self.cluster.inventory.mark_placed(&issuer, &placed);
        Ok(jobs.into_iter().zip(&certificates).map(|(job, certificate)| job.issued(certificate)).collect())
    }
}

/// Issuer and its key, shared between signing threads.
#[derive(Clone, Copy)]
struct SigningContext<'a> {
    root: &'a Certificate,
    signer: &'a Issuer<'static, PrivateKey>,
}

impl SigningContext<'_> {
    /// Generates keys and signs on all cores. Keeps the order of the jobs.
    fn sign_all(
        &self,
        jobs: &[Job<'_>],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Certificate>, Vec<StagedPair>), CaError> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let chunk_size = jobs.len().div_ceil(cores).max(1);
        if jobs.len() == chunk_size {
            return self.sign_chunk(jobs, progress);
        }
        thread::scope(|scope| {
            let workers: Vec<_> = jobs
                .chunks(chunk_size)
                .map(|jobs| scope.spawn(move || self.sign_chunk(jobs, progress)))
                .collect();
            let (mut certificates, mut pairs) =
                (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
            for worker in workers {
                let stopped = |_| CaError::Signing { why: "a signing thread stopped".to_owned() };
                let (some_certificates, some_pairs) = worker.join().map_err(stopped)??;
                certificates.extend(some_certificates);
                pairs.extend(some_pairs);
            }
            Ok((certificates, pairs))
        })
    }

    fn sign_chunk(
        &self,
        jobs: &[Job<'_>],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Certificate>, Vec<StagedPair>), CaError> {
        let (mut certificates, mut pairs) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for job in jobs {
            let (certificate, pair) = self.sign(job)?;
            certificates.push(certificate);
            pairs.push(pair);
            progress(1);
        }
        Ok((certificates, pairs))
    }

    /// Signs one certificate. Writes it, and its key if generated here, under temporary names.
    fn sign(&self, job: &Job<'_>) -> Result<(Certificate, StagedPair), CaError> {
        let plan = &job.planned.plan;
        let tag = job.serial_number.to_string();
        let (certificate, key) = match (job.key.as_ref(), &job.key_path) {
            (SubjectKey::Generate(_), Some(key_path)) => {
                let key = PrivateKey::generate(plan.key_algorithm)?;
                let certificate = builder::sign_leaf(plan, job.serial_number, &key, self.root, self.signer)?;
                let staged = Staged::create(key_path, &tag, Access::Private, key.to_pem()?.expose())?;
                (certificate, Some(staged))
            }
            (SubjectKey::Generate(_), None) => {
                return Err(CaError::Signing { why: "no path for the key".to_owned() });
            }
            (SubjectKey::Csr(csr), _) => (self.sign_public(job, &csr.public_key_info)?, None),
            (SubjectKey::Existing(old), _) => (self.sign_public(job, &old.public_key_info)?, None),
        };
        let text = pem::pem(pem::ObjectKind::Certificate.label(), &certificate.der);
        let staged = Staged::create(&job.certificate_path, &tag, Access::Public, text.as_bytes())?;
        Ok((certificate, StagedPair { key, certificate: staged, placement: job.placement }))
    }

    fn sign_public(&self, job: &Job<'_>, public_key_info: &[u8]) -> Result<Certificate, CaError> {
        let key = builder::public_key(public_key_info)?;
        builder::sign_leaf(&job.planned.plan, job.serial_number, &key, self.root, self.signer)
    }
}

impl Job<'_> {
    fn reservation(&self, cluster: &Cluster) -> Reservation {
        let identity = &self.planned.plan.identity;
        Reservation {
            serial_number: self.serial_number,
            role: identity.role,
            name: identity.name.clone(),
            profile: self.planned.plan.profile,
            certificate_path: cluster.recorded(&self.certificate_path),
            key_path: self.key_path.as_deref().map(|path| cluster.recorded(path)),
            supersedes: self.supersedes.clone(),
        }
    }

    fn issued(self, certificate: &Certificate) -> IssuedCertificate {
        let identity = self.planned.plan.identity;
        IssuedCertificate {
            certificate: self.certificate_path,
            key: self.key_path,
            serial_number: self.serial_number,
            role: identity.role,
            name: identity.name.clone(),
            spiffe_id: identity,
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
            superseded: self.ended.map(|ended| ended.certificate.1),
            not_granted: self.planned.not_granted,
        }
    }
}

/// Syncs a few files one by one, and many with one call per file system.
fn make_durable(pairs: &[StagedPair], directories: &BTreeSet<&Path>) -> Result<(), CaError> {
    if pairs.len() > 4 {
        return Ok(directories.iter().try_for_each(|directory| files::sync_filesystem(directory))?);
    }
    Ok(pairs.iter().try_for_each(StagedPair::sync)?)
}

/// Renames all files to their final names. Failures do not stop the others. A failed pair stays pending
/// in the inventory, so that the next command reports it.
fn place_pairs(pairs: Vec<StagedPair>, directories: &BTreeSet<&Path>) -> Result<(), CaError> {
    let mut first_failure = Ok(());
    for pair in pairs {
        let placed = pair.place();
        if first_failure.is_ok() {
            first_failure = placed;
        }
    }
    first_failure?;
    Ok(directories.iter().try_for_each(|directory| files::sync_directory(directory))?)
}
