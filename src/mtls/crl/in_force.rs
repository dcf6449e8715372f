//! CRLs in force and the grace period after their nextUpdate.

use serde::Serialize;
use time::OffsetDateTime;

use crate::revocation::{Crl, RevocationSet};

/// CRLs in force, verified when they were loaded.
#[derive(Clone, Debug)]
pub struct CrlsInForce {
    /// One CRL per issuer.
    pub set: RevocationSet,
    /// Time after nextUpdate during which a CRL is still relied on.
    pub grace: time::Duration,
}

/// Freshness of a CRL at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlFreshness {
    /// nextUpdate is in the future.
    Current,
    /// nextUpdate has passed, and the grace period has not: still relied on.
    Grace,
    /// The grace period has passed: certificates of the issuer are refused.
    Expired,
}

impl CrlsInForce {
    /// CRLs that are relied on up to their nextUpdate and no longer.
    #[must_use]
    pub const fn without_grace(set: RevocationSet) -> Self {
        Self { set, grace: time::Duration::ZERO }
    }

    /// Freshness at `at` of `crl`, which is one of these.
    #[must_use]
    pub fn freshness(&self, crl: &Crl, at: OffsetDateTime) -> CrlFreshness {
        if self.is_stale(crl.next_update, at) {
            CrlFreshness::Expired
        } else if crl.is_expired_at(at) {
            CrlFreshness::Grace
        } else {
            CrlFreshness::Current
        }
    }

    /// True if a CRL with this nextUpdate is no longer relied on at `at`: its grace period has passed too.
    #[must_use]
    pub fn is_stale(&self, next_update: OffsetDateTime, at: OffsetDateTime) -> bool {
        next_update.saturating_add(self.grace) <= at
    }
}
