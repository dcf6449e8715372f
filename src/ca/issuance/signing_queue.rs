//! Threads that generate keys and sign certificates, one on each core, and the queue of their work.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rcgen::Issuer;

use super::certificate_builder as builder;
use super::job::Job;
use super::pair::StagedPair;
use super::request::SubjectKey;
use crate::ca::error::CaError;
use crate::files::{Access, Staged};
use crate::keys::PrivateKey;
use crate::x509::{Certificate, pem};

/// Certificates that a thread signs before it returns to the queue, so that all threads end a batch together.
const LARGEST_TASK: usize = 64;

/// Certificates in the order of their jobs, and their files under temporary names.
pub(super) type SignedJobs = (Vec<Certificate>, Vec<StagedPair>);

/// Queue of the signing threads.
pub(super) struct SigningQueue<'a> {
    tasks: Sender<SigningTask<'a>>,
    threads: usize,
}

/// Jobs of one batch that one thread signs.
struct SigningTask<'a> {
    /// Place among the tasks of the batch.
    place: usize,
    jobs: &'a [Job<'a>],
    signed: Sender<(usize, Result<SignedJobs, CaError>)>,
}

/// Batch that is being signed.
pub(super) struct SigningBatch {
    tasks: usize,
    signed: Receiver<(usize, Result<SignedJobs, CaError>)>,
}

/// Issuer and its key, shared between signing threads.
#[derive(Clone, Copy)]
pub(super) struct SigningContext<'a> {
    pub(super) root: &'a Certificate,
    pub(super) signer: &'a Issuer<'static, PrivateKey>,
    /// Called with the number of certificates signed since the last call.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a> SigningContext<'a> {
    /// Run `work` with a queue of signing threads, one on each core. When `work` fails, the threads drop what is left.
    pub(super) fn with_threads<T>(
        self,
        work: impl FnOnce(&SigningQueue<'a>) -> Result<T, CaError>,
    ) -> Result<T, CaError> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (tasks, queue) = mpsc::channel();
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.sign_tasks(&queue))).collect();
            let result = work(&SigningQueue { tasks, threads });
            // A thread that panicked left its batch incomplete, which is an error of `work`.
            running.into_iter().map(thread::ScopedJoinHandle::join).for_each(drop);
            result
        })
    }

    /// Sign until the queue is closed, or no caller waits for the result.
    fn sign_tasks(self, queue: &Mutex<Receiver<SigningTask<'_>>>) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(SigningTask { place, jobs, signed }) = next else { return };
            if signed.send((place, self.sign_all(jobs))).is_err() {
                return;
            }
        }
    }

    fn sign_all(&self, jobs: &[Job<'_>]) -> Result<SignedJobs, CaError> {
        let (mut certificates, mut pairs) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for job in jobs {
            let (certificate, pair) = self.sign(job)?;
            certificates.push(certificate);
            pairs.push(pair);
            (self.progress)(1);
        }
        Ok((certificates, pairs))
    }

    /// Sign one certificate. Write it, and its key if generated here, under temporary names.
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

impl<'a> SigningQueue<'a> {
    /// Append the jobs of a batch to the queue.
    pub(super) fn sign(&self, jobs: &'a [Job<'a>]) -> SigningBatch {
        let (sender, signed) = mpsc::channel();
        let tasks = jobs.chunks(jobs.len().div_ceil(self.threads).clamp(1, LARGEST_TASK));
        let count = tasks.len();
        for (place, jobs) in tasks.enumerate() {
            // Without any thread left, the batch has no result, which is an error when it is joined.
            let _ = self.tasks.send(SigningTask { place, jobs, signed: sender.clone() });
        }
        SigningBatch { tasks: count, signed }
    }
}

impl SigningBatch {
    /// Wait until all jobs are signed.
    pub(super) fn join(self) -> Result<SignedJobs, CaError> {
        let mut parts = BTreeMap::new();
        for _ in 0..self.tasks {
            let stopped = |_| CaError::Signing { why: "a signing thread stopped".to_owned() };
            let (place, part) = self.signed.recv().map_err(stopped)?;
            parts.insert(place, part?);
        }
        let (mut certificates, mut pairs) = SignedJobs::default();
        for (some_certificates, some_pairs) in parts.into_values() {
            certificates.extend(some_certificates);
            pairs.extend(some_pairs);
        }
        Ok((certificates, pairs))
    }
}
