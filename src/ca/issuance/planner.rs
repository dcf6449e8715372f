//! Plans of requests for leaf certificates: everything about them that needs no inventory, on all cores.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use time::OffsetDateTime;
use uuid::Uuid;

use super::request::{IssueRequest, SubjectKey};
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::files;
use crate::identity::{Identity, Name, Role, TrustDomain};
use crate::profile::{LeafPlan, LeafRequest, ProfileSet};
use crate::x509::Sha256;

/// Fewer requests than this are not worth another thread.
const REQUESTS_PER_CORE: usize = 500;

/// Facts of a cluster from which requests are planned. Unlike the cluster, it is shared between threads.
pub(super) struct Planner<'a> {
    profiles: &'a ProfileSet,
    trust_domain: &'a TrustDomain,
    cluster_uuid: Uuid,
    root_not_after: OffsetDateTime,
    now: OffsetDateTime,
}

/// Planned certificate with the destinations of its files.
pub(super) struct Draft {
    pub(super) plan: Result<LeafPlan, CaError>,
    pub(super) certificate_path: PathBuf,
    pub(super) key_path: PathBuf,
    /// True if a file has the name of the certificate, or that of the key.
    pub(super) occupied: [bool; 2],
}

impl<'a> Planner<'a> {
    pub(super) fn new(cluster: &'a Cluster, profiles: &'a ProfileSet, now: OffsetDateTime) -> Self {
        Self {
            profiles,
            trust_domain: cluster.trust_domain(),
            cluster_uuid: cluster.facts.uuid,
            root_not_after: cluster.root().not_after,
            now,
        }
    }

    /// Plan all requests, whose files go to `output`, in their order.
    pub(super) fn draft_all(&self, requests: &[IssueRequest], output: &Path) -> Vec<Draft> {
        let draft = |requests: &[IssueRequest]| -> Vec<Draft> {
            requests.iter().map(|request| self.draft(request, output)).collect()
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = cores.min(requests.len() / REQUESTS_PER_CORE);
        if threads < 2 {
            return draft(requests);
        }
        thread::scope(|scope| {
            let chunks = requests.chunks(requests.len().div_ceil(threads));
            let running: Vec<_> = chunks.map(|requests| scope.spawn(move || draft(requests))).collect();
            let drafts = running.into_iter().map(ScopedJoinHandle::join);
            drafts.flat_map(|drafts| drafts.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    fn draft(&self, request: &IssueRequest, output: &Path) -> Draft {
        let [certificate_path, key_path] = file_paths(output, request.role, &request.name);
        let occupied = [&certificate_path, &key_path].map(|path| files::occupied(path));
        Draft { plan: self.plan(request), certificate_path, key_path, occupied }
    }

    /// Plan one certificate by the profile of its role.
    pub(super) fn plan(&self, request: &IssueRequest) -> Result<LeafPlan, CaError> {
        let profile = self.profiles.leaf(request.role);
        let identity = Identity {
            trust_domain: self.trust_domain.clone(),
            role: request.role,
            name: request.name.clone(),
        };
        let key_algorithm = match &request.key {
            SubjectKey::Generate(algorithm) => *algorithm,
            SubjectKey::Csr(csr) => Some(profile.check_public_key(Some(csr.key_algorithm))?),
            SubjectKey::Existing(certificate) => Some(profile.check_public_key(certificate.key_algorithm)?),
        };
        let request = LeafRequest {
            identity: &identity,
            cluster_uuid: self.cluster_uuid,
            hosts: &request.hosts,
            key_algorithm,
            validity: request.validity,
        };
        Ok(profile.plan(&request, self.now, self.root_not_after)?)
    }
}

/// Paths of an identity's certificate and key in `directory`.
pub(super) fn file_paths(directory: &Path, role: Role, name: &Name) -> [PathBuf; 2] {
    let stem = file_stem(&format!("{}{name}", role.file_prefix()));
    ["crt", "key"].map(|extension| directory.join(format!("{stem}.{extension}")))
}

/// Shorten a name that, with the serial number in the name of its temporary file, exceeds what file systems take. A
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
