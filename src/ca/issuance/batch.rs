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
//! While a batch is signed, the batch before it is committed and placed. A crash may leave both.
//!
//! A renewal with the same key replaces the certificate by one rename, so that readers always find a
//! matching pair. A new key needs two renames, which no file system does atomically. Both files are
//! synced before, and the renames follow each other immediately. If the second one fails, the first is
//! undone. After a crash in between, the next command completes it ([`crate::ca::home::recover`]).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::{self, Scope, ScopedJoinHandle};

use rcgen::Issuer;

use super::certificate_builder as builder;
use super::ended_files::EndedFiles;
use super::pair::StagedPair;
use super::request::{IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::audit::Provenance;
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::signing::with_signer_failure;
use crate::files::{self, Access, Placement, Staged};
use crate::identity::MachineLabel;
use crate::keys::PrivateKey;
use crate::store::{CertificateId, Inventory, Reservation};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, SubjectAltName, pem};

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
    pub(in crate::ca) label: Option<MachineLabel>,
    pub(in crate::ca) placement: Placement,
    /// Files of a revoked or expired certificate of the identity that stand in the way.
    pub(in crate::ca) ended: Option<EndedFiles>,
}

impl Authority {
    /// Runs all jobs in batches and keeps their order. One batch is signed while the one before it is committed and
    /// placed.
    pub(in crate::ca) fn run(
        &mut self,
        mut jobs: Vec<Job<'_>>,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        let provenance = self.cluster.context.provenance(reason);
        let issuer = self.cluster.issuer.clone();
        let mut batches = Vec::with_capacity(jobs.len() / BATCH + 1);
        while !jobs.is_empty() {
            let rest = jobs.split_off(jobs.len().min(BATCH));
            let jobs = std::mem::replace(&mut jobs, rest);
            let reservations = jobs.iter().map(|job| job.reservation(&self.cluster)).collect();
            batches.push(Batch { jobs, reservations });
        }
        let Self { cluster, signer, .. } = self;
        let mut recorder =
            Recorder { inventory: &mut cluster.inventory, issuer: &issuer, provenance: &provenance };
        let signing = SigningContext { root: &cluster.root, signer };
        let mut issued = Vec::new();
        thread::scope(|scope| {
            let mut signed_before = None;
            for batch in &batches {
                recorder.reserve(batch)?;
                let signing = signing.start(scope, &batch.jobs, progress);
                if let Some((before, signed)) = signed_before.replace((batch, signing)) {
                    issued.extend(recorder.finish(before, signed, signer)?);
                }
            }
            if let Some((last, signed)) = signed_before {
                issued.extend(recorder.finish(last, signed, signer)?);
            }
            Ok(issued)
        })
    }
}

/// Jobs of one transaction, with the reservations of their serial numbers.
struct Batch<'a> {
    jobs: Vec<Job<'a>>,
    reservations: Vec<Reservation>,
}

/// Steps of a batch that change the inventory and the names of files.
struct Recorder<'a> {
    inventory: &'a mut Inventory,
    issuer: &'a KeyIdentifier,
    provenance: &'a Provenance,
}

impl Recorder<'_> {
    fn reserve(&mut self, batch: &Batch<'_>) -> Result<(), CaError> {
        let transaction = self.inventory.begin(self.provenance)?;
        transaction.reserve(self.issuer, &batch.reservations)?.commit()?;
        Ok(())
    }

    /// Waits for the signatures, records the certificates, and places their files.
    fn finish(
        &mut self,
        batch: &Batch<'_>,
        signing: SigningThreads<'_>,
        signer: &Issuer<'static, PrivateKey>,
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        let (certificates, pairs) = with_signer_failure(signer.key(), signing.join())?;
        let directories: BTreeSet<&Path> =
            batch.jobs.iter().map(|job| files::parent(&job.certificate_path)).collect();
        make_durable(&pairs, &directories)?;

        let transaction = self.inventory.begin(self.provenance)?;
        let before = transaction.head().seq;
        let after = transaction.issue(self.issuer, &batch.reservations, &certificates)?.commit()?.seq;

        place_pairs(pairs, &directories)?;
        // The files are in place. If this record fails, the next command finds them there and repeats it.
        let _ = self.inventory.mark_placed(before + 1..=after);
        Ok(batch.jobs.iter().zip(&certificates).map(|(job, certificate)| job.issued(certificate)).collect())
    }
}

/// Threads that sign one batch.
struct SigningThreads<'scope>(Vec<ScopedJoinHandle<'scope, Result<SignedJobs, CaError>>>);

/// Certificates in the order of their jobs, and their files under temporary names.
type SignedJobs = (Vec<Certificate>, Vec<StagedPair>);

impl SigningThreads<'_> {
    fn join(self) -> Result<SignedJobs, CaError> {
        let (mut certificates, mut pairs) = SignedJobs::default();
        for thread in self.0 {
            let stopped = |_| CaError::Signing { why: "a signing thread stopped".to_owned() };
            let (some_certificates, some_pairs) = thread.join().map_err(stopped)??;
            certificates.extend(some_certificates);
            pairs.extend(some_pairs);
        }
        Ok((certificates, pairs))
    }
}

/// Issuer and its key, shared between signing threads.
#[derive(Clone, Copy)]
struct SigningContext<'a> {
    root: &'a Certificate,
    signer: &'a Issuer<'static, PrivateKey>,
}

impl<'a> SigningContext<'a> {
    /// Starts to generate keys and to sign on all cores.
    fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        jobs: &'scope [Job<'_>],
        progress: &'scope (dyn Fn(u64) + Sync),
    ) -> SigningThreads<'scope>
    where
        'a: 'scope,
    {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let chunks = jobs.chunks(jobs.len().div_ceil(cores).max(1));
        SigningThreads(chunks.map(|jobs| scope.spawn(move || self.sign_chunk(jobs, progress))).collect())
    }

    fn sign_chunk(&self, jobs: &[Job<'_>], progress: &(dyn Fn(u64) + Sync)) -> Result<SignedJobs, CaError> {
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
            label: self.label.clone(),
        }
    }

    fn issued(&self, certificate: &Certificate) -> IssuedCertificate {
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
