//! Forecast of upcoming expirations and their consequences.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::cluster::Cluster;
use super::error::CaError;
use crate::clock::{format_duration, rfc3339};
use crate::error::Coded;
use crate::identity::ClusterName;
use crate::profile::ProfileSet;
use crate::store::{CurrentCrl, Record, RecordCounts, StoreError};

/// Maximum number of certificates listed individually. Further ones are only counted.
const MAX_LISTED: u64 = 100;

/// Kind of outage, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutageKind {
    /// The root expires, and every certificate with it.
    Root,
    /// The CRL expires, and gateways refuse every client.
    Crl,
    /// The CRL of one gateway expires, and it refuses every client.
    GatewayCrl,
    /// The login to a key management service ends, and the keys that it wraps or holds cannot be used.
    Login,
    /// New certificates no longer get their full validity, because the root expires earlier.
    Issuing,
    /// One certificate expires.
    Leaf,
}

/// One expected outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Time at which it begins.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Its kind.
    pub what: OutageKind,
    /// Description of the cause and its effect.
    pub message: String,
}

impl Outage {
    /// Sort key: the earliest first, and at the same time the most severe first.
    const fn order(&self) -> (OffsetDateTime, OutageKind) {
        (self.at, self.what)
    }
}

/// Outages expected within a window.
#[derive(Debug, Serialize)]
pub struct Forecast {
    /// Start of the window.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// End of the window.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// Outages in chronological order, with at most 100 certificates.
    pub outages: Vec<Outage>,
    /// Number of certificates that expire within the window, listed or not.
    pub leaves: u64,
    /// The earliest outage, inside or after the window.
    pub first: Option<Outage>,
    /// Values for a monitoring system.
    #[serde(skip)]
    pub gauges: Gauges,
}

/// Values for a monitoring system.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Number of certificates by status.
    pub counts: RecordCounts,
    /// The current CRL.
    pub crl: Option<CurrentCrl>,
    /// Expiry of the root.
    pub root_not_after: OffsetDateTime,
    /// Earliest expiry of a certificate that has no replacement.
    pub first_leaf_not_after: Option<OffsetDateTime>,
}

impl Forecast {
    /// Add an outage that the home alone does not know of.
    pub fn include(&mut self, outage: Outage) {
        if self.first.as_ref().is_none_or(|first| outage.order() < first.order()) {
            self.first = Some(outage.clone());
        }
        if outage.at < self.until {
            let place = self.outages.partition_point(|other| other.order() <= outage.order());
            self.outages.insert(place, outage);
        }
    }

    /// True if no outage falls within the window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outages.is_empty()
    }
}

impl Cluster {
    /// Lists outages that begin before `within` from now. Past outages are included. Of expired
    /// certificates, only those that expired at most `within` ago are: an older one without a replacement
    /// is not missed.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be read.
    pub fn forecast(&self, profiles: &ProfileSet, within: Duration) -> Result<Forecast, CaError> {
        let at = self.context.now();
        let (since, until) = (at.saturating_sub(within), at.saturating_add(within));
        let mut outages = self.common_outages(profiles)?;
        let first_leaf = self.inventory.next_expiring(since)?.and_then(|record| leaf_outage(&record));
        let first = outages.iter().chain(&first_leaf).min_by_key(|outage| outage.order()).cloned();
        outages.retain(|outage| outage.at < until);
        let mut leaves = 0;
        self.inventory.expiring(since, until, |record| {
            leaves += 1;
            if leaves <= MAX_LISTED {
                outages.extend(leaf_outage(&record));
            }
            Ok::<_, StoreError>(())
        })?;
        outages.sort_by_key(Outage::order);
        let gauges = Gauges {
            cluster: self.facts.name.clone(),
            counts: self.inventory.counts(at)?,
            crl: self.inventory.active_issuer()?.crl,
            root_not_after: self.root.not_after,
            first_leaf_not_after: first_leaf.map(|outage| outage.at),
        };
        Ok(Forecast { at, until, outages, leaves, first, gauges })
    }

    /// Outages that affect the whole cluster, at any time.
    fn common_outages(&self, profiles: &ProfileSet) -> Result<Vec<Outage>, CaError> {
        let root_not_after = self.root.not_after;
        let mut outages = vec![Outage {
            at: root_not_after,
            what: OutageKind::Root,
            message: "the root expires, and every certificate with it".to_owned(),
        }];
        for crl in self.inventory.issuers()?.into_iter().filter_map(|issuer| issuer.crl) {
            let message = format!("CRL {} expires: gateways refuse every client", crl.number);
            outages.push(Outage { at: crl.next_update, what: OutageKind::Crl, message });
        }
        let at = self.context.now();
        if let Some(message) = self.unusable_crl(at) {
            outages.push(Outage { at, what: OutageKind::Crl, message });
        }
        for profile in profiles.leaves() {
            let validity = profile.validity().default_validity();
            let message = format!(
                "new {} certificates get less than {}, because the root expires at {}",
                profile.role(),
                format_duration(validity),
                rfc3339(root_not_after)
            );
            outages.push(Outage {
                at: root_not_after.saturating_sub(validity),
                what: OutageKind::Issuing,
                message,
            });
        }
        Ok(outages)
    }
}

impl Cluster {
    /// A defect that makes `cluster.crl` unusable for gateways. Expiry is excluded: it is an outage of its
    /// own, of the CRL or the root.
    fn unusable_crl(&self, at: OffsetDateTime) -> Option<String> {
        let error = self.verify_crl(&self.home.crl(), at).err()?;
        let timely = self.root.is_valid_at(at) && error.code() != "crl.not_yet_valid";
        timely.then(|| format!("cluster.crl is unusable: {error}"))
    }
}

fn leaf_outage(record: &Record) -> Option<Outage> {
    let reservation = &record.reservation;
    let message =
        format!("{}/{} ({}) expires", reservation.role, reservation.name, reservation.serial_number);
    record.issue.map(|issue| Outage { at: issue.not_after, what: OutageKind::Leaf, message })
}
