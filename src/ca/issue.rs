//! Issuing: from orders to certificates whose record is durable before anybody holds them.
//!
//! One batch runs in this order, and a crash after any step leaves what the next command can finish
//! or name:
//!
//! 1. plan: every order is judged by its profile, every file name is free; nothing is made yet;
//! 2. reserve: the serial numbers with their intent, one durable transaction;
//! 3. sign: keys made, certificates signed, both written under temporary names, made durable;
//! 4. commit: the certificates with their audit entries, one durable transaction;
//! 5. place: the temporary files get their names.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use rcgen::Issuer;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::files::{self, Access, Placement, Staged};
use crate::identity::{Host, Identity, Name, Role};
use crate::keys::PrivateKey;
use crate::profile::{Asked, LeafPlan, LeafRequest, Mismatch, ProfileSet};
use crate::store::Intent;
use crate::x509::{Certificate, CertificationRequest, KeyAlgorithm, SerialNumber, SubjectAltName, pem};

use super::{Authority, CaError, Cluster, builder, explained};

/// Certificates in one transaction: large enough that its two durable writes weigh little, small
/// enough that a crash leaves few to name.
const BATCH: usize = 1_000;

/// One certificate that somebody asks for.
#[derive(Clone, Debug)]
pub struct LeafOrder {
    /// The role it is for.
    pub role: Role,
    /// The name within the role.
    pub name: Name,
    /// The hosts it shall serve as.
    pub hosts: Vec<Host>,
    /// Whose key is certified.
    pub key: KeySource,
    /// How long it shall hold; the profile's default otherwise.
    pub validity: Option<Duration>,
}

/// Where the key of a certificate comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Made here, of this type or the profile's first.
    Generate(Option<KeyAlgorithm>),
    /// Made elsewhere and never seen here: the request proves that its sender has it.
    Request(Box<CertificationRequest>),
}

/// What an order comes to under its profile, before anything is made.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// The certificate that would be signed.
    #[serde(flatten)]
    pub plan: LeafPlan,
    /// What the request asks for beyond that; it is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}

/// A certificate that was issued, and where it is.
#[derive(Debug, Serialize)]
pub struct Fulfilled {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The private key's file; none when the key was made elsewhere.
    pub key: Option<PathBuf>,
    /// The serial number.
    pub serial_number: SerialNumber,
    /// The role.
    pub role: Role,
    /// The name within the role.
    pub name: Name,
    /// The SPIFFE ID.
    pub spiffe_id: Identity,
    /// The hosts it serves as.
    pub hosts: Vec<String>,
    /// When it begins to hold.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// When it ceases to hold.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// What the request asked for and did not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}

/// One order on its way, with everything decided but the signature.
struct Job<'a> {
    order: &'a LeafOrder,
    planned: Planned,
    serial_number: SerialNumber,
    certificate_path: PathBuf,
    key_path: Option<PathBuf>,
}

impl Cluster {
    /// Judges orders by their profiles without making anything.
    ///
    /// # Errors
    /// [`CaError::Policy`] for the first order that a profile refuses.
    pub fn plan(&self, profiles: &ProfileSet, orders: &[LeafOrder]) -> Result<Vec<Planned>, CaError> {
        let now = self.context.now();
        orders.iter().map(|order| self.plan_one(profiles, order, now)).collect()
    }

    fn plan_one(
        &self,
        profiles: &ProfileSet,
        order: &LeafOrder,
        now: OffsetDateTime,
    ) -> Result<Planned, CaError> {
        let profile = profiles.leaf(order.role);
        let identity = Identity {
            trust_domain: self.trust_domain().clone(),
            role: order.role,
            name: order.name.clone(),
        };
        let key_algorithm = match &order.key {
            KeySource::Generate(algorithm) => *algorithm,
            KeySource::Request(request) => Some(profile.judge_public_key(Some(request.key_algorithm))?),
        };
        let plan = profile.plan(
            &LeafRequest {
                identity: &identity,
                cluster_uuid: self.facts.uuid,
                hosts: &order.hosts,
                key_algorithm,
                validity: order.validity,
            },
            now,
            self.root().not_after,
        )?;
        let not_granted = match &order.key {
            KeySource::Generate(_) => Vec::new(),
            KeySource::Request(request) => plan.judge_request(&asked(request))?,
        };
        Ok(Planned { plan, not_granted })
    }
}

impl Authority {
    /// Issues a certificate for each order and writes it, with its key if it was made here, to
    /// `output`. `progress` is told how many more are done.
    ///
    /// # Errors
    /// [`CaError`]. What a profile or a file in the way refuses is refused before anything is made;
    /// after that, whole batches are issued or not, and those that were stay valid.
    pub fn issue(
        &mut self,
        profiles: &ProfileSet,
        orders: &[LeafOrder],
        output: &Path,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Fulfilled>, CaError> {
        self.check_root_is_valid()?;
        let output = files::absolute(output)?;
        let mut jobs = self.jobs(profiles, orders, &output)?;
        files::make_private_directory(&output)?;
        let mut fulfilled = Vec::with_capacity(jobs.len());
        while !jobs.is_empty() {
            let rest = jobs.split_off(jobs.len().min(BATCH));
            let batch = std::mem::replace(&mut jobs, rest);
            fulfilled.extend(self.issue_batch(batch, &output, reason, progress)?);
        }
        Ok(fulfilled)
    }

    /// Everything that can refuse an order, before the first key is made.
    fn jobs<'a>(
        &self,
        profiles: &ProfileSet,
        orders: &'a [LeafOrder],
        output: &Path,
    ) -> Result<Vec<Job<'a>>, CaError> {
        let now = self.cluster.context.now();
        let mut taken = HashSet::with_capacity(orders.len());
        orders
            .iter()
            .map(|order| {
                let stem = format!("{}{}", order.role.file_prefix(), order.name);
                let certificate_path = output.join(format!("{stem}.crt"));
                let key_path = output.join(format!("{stem}.key"));
                if !taken.insert(stem) {
                    return Err(CaError::OrderedTwice { role: order.role, name: order.name.clone() });
                }
                let makes_key = matches!(order.key, KeySource::Generate(_));
                for path in [Some(&certificate_path), makes_key.then_some(&key_path)].into_iter().flatten() {
                    if files::occupied(path) {
                        return Err(files::FileError::Exists { path: path.clone() }.into());
                    }
                }
                Ok(Job {
                    order,
                    planned: self.cluster.plan_one(profiles, order, now)?,
                    serial_number: SerialNumber::random(self.cluster.context.entropy.as_ref())?,
                    certificate_path,
                    key_path: makes_key.then_some(key_path),
                })
            })
            .collect()
    }

    /// One batch through steps 2 to 5.
    fn issue_batch(
        &mut self,
        jobs: Vec<Job<'_>>,
        output: &Path,
        reason: Option<&str>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Fulfilled>, CaError> {
        let provenance = self.cluster.context.provenance(reason);
        let issuer = self.cluster.issuer.clone();
        let intents: Vec<Intent> = jobs.iter().map(Job::intent).collect();
        self.cluster.inventory.begin(&provenance)?.reserve(&issuer, &intents)?.commit()?;

        let desk = Desk { root: &self.cluster.root, signer: &self.signer };
        let signed = desk.sign_all(&jobs, progress);
        let (certificates, staged) = explained(self.signer.key(), signed)?;
        make_durable(&staged, output)?;

        self.cluster.inventory.begin(&provenance)?.issue(&issuer, &certificates)?.commit()?;

        place_all(staged, output)?;
        let placed: Vec<SerialNumber> = jobs.iter().map(|job| job.serial_number).collect();
        self.cluster.inventory.mark_placed(&issuer, &placed)?;
        Ok(jobs.into_iter().zip(&certificates).map(|(job, certificate)| job.fulfilled(certificate)).collect())
    }
}

/// What signing needs, and may be shared between threads.
#[derive(Clone, Copy)]
struct Desk<'a> {
    root: &'a Certificate,
    signer: &'a Issuer<'static, PrivateKey>,
}

impl Desk<'_> {
    /// Makes the keys and signs on every core; the order of the jobs is kept.
    fn sign_all(
        &self,
        jobs: &[Job<'_>],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Certificate>, Vec<Staged>), CaError> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = jobs.len().div_ceil(cores).max(1);
        if jobs.len() == share {
            return self.sign_share(jobs, progress);
        }
        thread::scope(|scope| {
            let workers: Vec<_> =
                jobs.chunks(share).map(|jobs| scope.spawn(move || self.sign_share(jobs, progress))).collect();
            let (mut certificates, mut staged) =
                (Vec::with_capacity(jobs.len()), Vec::with_capacity(2 * jobs.len()));
            for worker in workers {
                let stopped = |_| CaError::Signing { why: "a signing thread stopped".to_owned() };
                let (some_certificates, some_staged) = worker.join().map_err(stopped)??;
                certificates.extend(some_certificates);
                staged.extend(some_staged);
            }
            Ok((certificates, staged))
        })
    }

    fn sign_share(
        &self,
        jobs: &[Job<'_>],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Certificate>, Vec<Staged>), CaError> {
        let (mut certificates, mut staged) =
            (Vec::with_capacity(jobs.len()), Vec::with_capacity(2 * jobs.len()));
        for job in jobs {
            certificates.push(self.sign(job, &mut staged)?);
            progress(1);
        }
        Ok((certificates, staged))
    }

    /// Signs one certificate and writes it, and its key if it is made here, under temporary names.
    fn sign(&self, job: &Job<'_>, staged: &mut Vec<Staged>) -> Result<Certificate, CaError> {
        let plan = &job.planned.plan;
        let tag = job.serial_number.to_string();
        let certificate = match (&job.order.key, &job.key_path) {
            (KeySource::Generate(_), Some(key_path)) => {
                let key = PrivateKey::generate(plan.key_algorithm)?;
                let certificate = builder::sign_leaf(plan, job.serial_number, &key, self.root, self.signer)?;
                // The key comes first: whoever sees the certificate finds its key beside it.
                staged.push(Staged::create(key_path, &tag, Access::Private, key.to_pem()?.expose())?);
                certificate
            }
            (KeySource::Generate(_), None) => {
                return Err(CaError::Signing { why: "there is no place for the key".to_owned() });
            }
            (KeySource::Request(request), _) => {
                let key = builder::public_key(&request.public_key_info)?;
                builder::sign_leaf(plan, job.serial_number, &key, self.root, self.signer)?
            }
        };
        let text = pem::pem(pem::Kind::Certificate.label(), &certificate.der);
        staged.push(Staged::create(&job.certificate_path, &tag, Access::Public, text.as_bytes())?);
        Ok(certificate)
    }
}

impl Job<'_> {
    fn intent(&self) -> Intent {
        Intent {
            serial_number: self.serial_number,
            role: self.order.role,
            name: self.order.name.clone(),
            profile: self.planned.plan.profile,
            certificate_path: self.certificate_path.clone(),
            key_path: self.key_path.clone(),
        }
    }

    fn fulfilled(self, certificate: &Certificate) -> Fulfilled {
        Fulfilled {
            certificate: self.certificate_path,
            key: self.key_path,
            serial_number: self.serial_number,
            role: self.order.role,
            name: self.order.name.clone(),
            spiffe_id: self.planned.plan.identity,
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
            not_granted: self.planned.not_granted,
        }
    }
}

fn asked(request: &CertificationRequest) -> Asked<'_> {
    Asked {
        subject: &request.subject,
        subject_alt_names: &request.subject_alt_names,
        asks_ca: request.asks_ca,
        key_usage: request.key_usage,
        extended_key_usage: request.extended_key_usage.as_deref(),
    }
}

/// A few files one by one, many by one call for the whole file system.
fn make_durable(staged: &[Staged], output: &Path) -> Result<(), CaError> {
    if staged.len() > 8 {
        return Ok(files::sync_filesystem(output)?);
    }
    staged.iter().try_for_each(|file| Ok(file.sync()?))
}

/// Gives every file its name. One that cannot be placed does not keep the others from it; the record
/// stays open, so that the next command says what became of it.
fn place_all(staged: Vec<Staged>, output: &Path) -> Result<(), CaError> {
    let mut first_failure = Ok(());
    for file in staged {
        let placed = file.place(Placement::New);
        if first_failure.is_ok() {
            first_failure = placed;
        }
    }
    first_failure?;
    Ok(files::sync_directory(output)?)
}
