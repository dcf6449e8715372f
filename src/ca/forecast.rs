//! What breaks first, and when: nothing here is wrong yet, and all of it will be if nobody acts.

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::cluster::Cluster;
use super::error::CaError;
use crate::clock::{format_duration, rfc3339};
use crate::identity::ClusterName;
use crate::profile::ProfileSet;
use crate::store::{Counts, CurrentCrl, Record, StoreError};

/// The most certificates that are named; the others are counted.
const NAMED: u64 = 100;

/// What ceases to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutageKind {
    /// The root ends, and everything with it.
    Root,
    /// The revocation list ends: gateways refuse everybody.
    Crl,
    /// New certificates no longer get their full validity, because the root ends before.
    Issuing,
    /// One certificate ends.
    Leaf,
}

/// One thing that breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    pub what: OutageKind,
    /// Which one, and what that means.
    pub message: String,
}

impl Outage {
    /// The first to break first; of those that break at once, the one that concerns more.
    const fn order(&self) -> (OffsetDateTime, OutageKind) {
        (self.at, self.what)
    }
}

/// What breaks within a window, the first to break first.
#[derive(Debug, Serialize)]
pub struct Forecast {
    /// As of when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The end of the window.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// What breaks, the first to break first; at most a hundred certificates are named.
    pub outages: Vec<Outage>,
    /// How many certificates end within the window, named or not.
    pub leaves: u64,
    /// The first thing to break, within the window or after it.
    pub first: Option<Outage>,
    /// Facts for a monitoring system.
    #[serde(skip)]
    pub gauges: Gauges,
}

/// What a monitoring system keeps an eye on.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Which cluster.
    pub cluster: ClusterName,
    /// How many certificates there are of each status.
    pub counts: Counts,
    /// The newest revocation list.
    pub crl: Option<CurrentCrl>,
    /// When the root ends.
    pub root_not_after: OffsetDateTime,
    /// When the first certificate that nothing replaces ends.
    pub first_leaf_not_after: Option<OffsetDateTime>,
}

impl Forecast {
    /// Whether nothing breaks within the window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outages.is_empty()
    }
}

impl Cluster {
    /// What breaks until `within` from now. What broke before is told too, a certificate only as long
    /// ago as the window reaches ahead: one that ended earlier and was not replaced is not missed.
    ///
    /// # Errors
    /// What the inventory says.
    pub fn forecast(&self, profiles: &ProfileSet, within: Duration) -> Result<Forecast, CaError> {
        let at = self.context.now();
        let (since, until) = (at.saturating_sub(within), at.saturating_add(within));
        let mut outages = self.common_outages(profiles)?;
        let first_leaf = self.inventory.first_ending(since)?.and_then(|record| ending(&record));
        let first = outages.iter().chain(&first_leaf).min_by_key(|outage| outage.order()).cloned();
        outages.retain(|outage| outage.at < until);
        let mut leaves = 0;
        self.inventory.ending(since, until, |record| {
            leaves += 1;
            if leaves <= NAMED {
                outages.extend(ending(&record));
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

    /// The outages that concern everybody, whenever they are.
    fn common_outages(&self, profiles: &ProfileSet) -> Result<Vec<Outage>, CaError> {
        let root_end = self.root.not_after;
        let mut outages = vec![Outage {
            at: root_end,
            what: OutageKind::Root,
            message: "the root ends, and every certificate with it".to_owned(),
        }];
        for crl in self.inventory.issuers()?.into_iter().filter_map(|issuer| issuer.crl) {
            let message = format!("CRL {} ends: gateways refuse every caller", crl.number);
            outages.push(Outage { at: crl.next_update, what: OutageKind::Crl, message });
        }
        let at = self.context.now();
        if let Some(message) = self.unusable_crl(at) {
            outages.push(Outage { at, what: OutageKind::Crl, message });
        }
        for profile in profiles.leaves() {
            let validity = profile.validity().default_validity();
            let message = format!(
                "new {} certificates get less than {}, because the root ends at {}",
                profile.role(),
                format_duration(validity),
                rfc3339(root_end)
            );
            outages.push(Outage {
                at: root_end.saturating_sub(validity),
                what: OutageKind::Issuing,
                message,
            });
        }
        Ok(outages)
    }
}

impl Cluster {
    /// What is wrong with the list in the home, if whoever copies it from here would be let down. What the
    /// passing of time does to it is told with its end, or the root's.
    fn unusable_crl(&self, at: OffsetDateTime) -> Option<String> {
        let error = self.verify_crl(&self.home.crl(), at).err()?;
        let timely = self.root.is_valid_at(at) && error.code() != "crl.not_yet_valid";
        timely.then(|| format!("cluster.crl cannot be used as it is: {error}"))
    }
}

fn ending(record: &Record) -> Option<Outage> {
    let intent = &record.intent;
    let message = format!("{}/{} ({}) ends", intent.role, intent.name, intent.serial_number);
    record.issue.map(|issue| Outage { at: issue.not_after, what: OutageKind::Leaf, message })
}
