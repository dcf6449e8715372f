//! Identity of the cluster.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::identity::{ClusterName, TrustDomain};

/// Identity of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Name, also the common name of the root.
    pub name: ClusterName,
    /// UUID, in every subject.
    pub uuid: Uuid,
    /// Trust domain, in every SPIFFE ID.
    pub trust_domain: TrustDomain,
    /// Time of creation.
    pub created_at: OffsetDateTime,
}
