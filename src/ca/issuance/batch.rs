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

use std::collections::BTreeSet;
use std::path::Path;

use rcgen::Issuer;

use super::job::Job;
use super::pair::StagedPair;
use super::request::IssuedCertificate;
use super::signing_queue::{SigningBatch, SigningContext};
use crate::audit::Provenance;
use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::ca::signing::with_signer_failure;
use crate::files;
use crate::keys::PrivateKey;
use crate::store::{Inventory, Reservation};
use crate::x509::KeyIdentifier;

/// Certificates of the largest transaction: large enough to amortize two durable writes and the pages of the indexes,
/// which many random serial numbers share; small enough that few are affected by a crash.
const LARGEST_BATCH: usize = 4_000;

/// Certificates of the first and of the last transaction of many.
const SMALLEST_BATCH: usize = 250;

impl Authority {
    /// Run all jobs in batches and keep their order. One batch is signed while the one before it is committed and
    /// placed.
    pub(in crate::ca) fn run(
        &mut self,
        mut jobs: Vec<Job<'_>>,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<IssuedCertificate>, CaError> {
        let provenance = self.cluster.context.provenance(reason);
        let issuer = self.cluster.issuer.clone();
        let batches: Vec<_> = batch_sizes(jobs.len())
            .map(|size| {
                let rest = jobs.split_off(size.min(jobs.len()));
                let jobs = std::mem::replace(&mut jobs, rest);
                let reservations = jobs.iter().map(|job| job.reservation(&self.cluster)).collect();
                Batch { jobs, reservations }
            })
            .collect();
        let Self { cluster, signer, .. } = self;
        let mut recorder =
            Recorder { inventory: &mut cluster.inventory, issuer: &issuer, provenance: &provenance };
        let signing = SigningContext { root: &cluster.root, signer, progress };
        signing.with_threads(|queue| {
            let mut issued = Vec::new();
            let mut signed_before = None;
            for batch in &batches {
                recorder.reserve(batch)?;
                let signing = queue.sign(&batch.jobs);
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

/// Sizes of the batches of `count` jobs. They grow from a small one, so that signing starts early, and shrink to a small
/// one, so that little is left to record when signing ends.
fn batch_sizes(count: usize) -> impl Iterator<Item = usize> {
    let (mut left, mut largest) = (count, SMALLEST_BATCH);
    std::iter::from_fn(move || {
        let size = largest.min(left / 2).max(SMALLEST_BATCH).min(left);
        left -= size;
        largest = LARGEST_BATCH.min(size * 4);
        (size > 0).then_some(size)
    })
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

    /// Wait for the signatures, record the certificates, and place their files.
    fn finish(
        &mut self,
        batch: &Batch<'_>,
        signing: SigningBatch,
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

/// Sync a few files one by one, and many with one call per file system.
fn make_durable(pairs: &[StagedPair], directories: &BTreeSet<&Path>) -> Result<(), CaError> {
    if pairs.len() > 4 {
        return Ok(directories.iter().try_for_each(|directory| files::sync_filesystem(directory))?);
    }
    Ok(pairs.iter().try_for_each(StagedPair::sync)?)
}

/// Rename all files to their final names. Failures do not stop the others. A failed pair stays pending
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_in_one_batch_of_bounded_size() {
        for count in [0, 1, 249, 250, 251, 1_000, 10_000, 1_000_000] {
            let sizes: Vec<usize> = batch_sizes(count).collect();
            assert_eq!(sizes.iter().sum::<usize>(), count, "{sizes:?}");
            assert!(sizes.iter().all(|size| (1..=LARGEST_BATCH).contains(size)), "{sizes:?}");
            let ends = [sizes.first(), sizes.last()];
            assert!(ends.into_iter().flatten().all(|size| *size <= SMALLEST_BATCH), "{sizes:?}");
        }
        assert_eq!(
            batch_sizes(10_000).collect::<Vec<_>>(),
            [250, 1_000, 4_000, 2_375, 1_187, 594, 297, 250, 47]
        );
    }
}
