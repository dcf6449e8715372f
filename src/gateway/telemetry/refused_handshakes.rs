//! Most recent refused handshakes, in memory, for operators who diagnose a client that cannot connect.
//!
//! Refusals with a certificate and those without have room of their own: scanners and health checks have none. Within
//! either, the source and reason with the most entries make room, so that no client can displace the refusals of others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::gateway::telemetry::events::{HandshakeRefused, Timestamp};
use crate::serving::rate_limit::SourcePrefix;
use crate::x509::pem::pem;

/// Number of handshakes kept with a certificate, and the same without.
const KEPT: usize = 100;

/// Most recent refused handshakes.
#[derive(Debug, Default)]
pub struct RefusedHandshakes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    with_certificate: FairRing,
    without_certificate: FairRing,
    /// Number of handshakes so far, which orders those of both rings.
    count: u64,
}

/// Source and reason, which compete for the room.
type Group = (SourcePrefix, &'static str);

/// Handshakes in their order, at most [`KEPT`].
#[derive(Debug, Default)]
struct FairRing {
    kept: VecDeque<Arc<Entry>>,
    /// Number of entries of each group; no entry is zero.
    groups: HashMap<Group, usize>,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    number: u64,
    time: Timestamp,
    refused: HandshakeRefused,
}

impl FairRing {
    fn push(&mut self, entry: Entry) {
        *self.groups.entry(entry.group).or_default() += 1;
        self.kept.push_back(Arc::new(entry));
        if self.kept.len() > KEPT {
            let most = self.groups.values().copied().max().unwrap_or_default();
            let is_largest = |entry: &Arc<Entry>| self.groups.get(&entry.group) == Some(&most);
            let oldest = self.kept.iter().position(is_largest).and_then(|oldest| self.kept.remove(oldest));
            if let Some(oldest) = oldest
                && let Some(count) = self.groups.get_mut(&oldest.group)
            {
                *count -= 1;
                if *count == 0 {
                    self.groups.remove(&oldest.group);
                }
            }
        }
    }
}

/// Refused handshake as listed on the admin socket.
#[derive(Debug, Serialize)]
pub struct RefusedHandshake {
    time: Timestamp,
    #[serde(flatten)]
    refused: HandshakeRefused,
    /// Presented certificate, PEM.
    certificate: Option<String>,
}

impl RefusedHandshakes {
    /// Add a handshake. Beyond 100 of its kind, it displaces the oldest one of the source and reason with the most.
    pub fn keep(&self, time: Timestamp, refused: HandshakeRefused) {
        let group = (SourcePrefix::from(refused.remote.ip()), refused.reason.name());
        let has_certificate = refused.certificate.is_some();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let entry = Entry { group, number: kept.count, time, refused };
        let ring = if has_certificate { &mut kept.with_certificate } else { &mut kept.without_certificate };
        ring.push(entry);
    }

    /// All handshakes kept, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<RefusedHandshake> {
        let mut all: Vec<Arc<Entry>> = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.with_certificate.kept.iter().chain(&kept.without_certificate.kept).cloned().collect()
        };
        // Handshakes of several workers are not kept in the order of their times.
        all.sort_unstable_by_key(|entry| std::cmp::Reverse((entry.time.0, entry.number)));
        let listed = |entry: Arc<Entry>| RefusedHandshake {
            time: entry.time,
            certificate: entry.refused.certificate.as_ref().map(|der| pem("CERTIFICATE", der)),
            refused: entry.refused.clone(),
        };
        all.into_iter().map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::error::Code;

    const MISSING: Code = Code::refused("certificate.missing");
    const REVOKED: Code = Code::refused("revocation.revoked");

    fn refused(from: [u8; 4], reason: Code, has_certificate: bool) -> HandshakeRefused {
        HandshakeRefused {
            remote: (from, 1).into(),
            reason,
            detail: String::new(),
            server_name: None,
            subject: None,
            issuer: None,
            serial_number: None,
            fingerprint: None,
            duration_us: 0,
            certificate: has_certificate.then(|| vec![0; 8].into()),
        }
    }

    fn keep(kept: &RefusedHandshakes, from: [u8; 4], reason: Code, has_certificate: bool) {
        kept.keep(Timestamp(OffsetDateTime::UNIX_EPOCH), refused(from, reason, has_certificate));
    }

    /// Number of handshakes kept from `from` for `reason`.
    fn count(kept: &RefusedHandshakes, from: [u8; 4], reason: Code) -> usize {
        let is_it = |listed: &&RefusedHandshake| {
            listed.refused.remote.ip() == std::net::IpAddr::from(from) && listed.refused.reason == reason
        };
        kept.newest_first().iter().filter(is_it).count()
    }

    #[test]
    fn refusals_without_a_certificate_never_displace_one_with() {
        let kept = RefusedHandshakes::default();
        keep(&kept, [10, 0, 0, 1], REVOKED, true);
        for source in 0..1_000_u16 {
            let [high, low] = source.to_be_bytes();
            keep(&kept, [10, 1, high, low], MISSING, false);
        }
        assert_eq!((count(&kept, [10, 0, 0, 1], REVOKED), kept.newest_first().len()), (1, KEPT + 1));
    }

    #[test]
    fn a_flood_from_one_source_displaces_its_own_refusals_only() {
        for has_certificate in [true, false] {
            let kept = RefusedHandshakes::default();
            let clients = [([10, 0, 0, 1], REVOKED), ([10, 0, 0, 2], REVOKED), ([10, 0, 0, 9], MISSING)];
            for (from, reason) in clients {
                keep(&kept, from, reason, has_certificate);
            }
            for _ in 0..1_000 {
                keep(&kept, [10, 0, 0, 9], REVOKED, has_certificate);
            }
            for (from, reason) in clients {
                assert_eq!(
                    count(&kept, from, reason),
                    1 + usize::from(from[3] == 9 && reason == REVOKED) * 96
                );
            }
            assert_eq!((count(&kept, [10, 0, 0, 9], REVOKED), kept.newest_first().len()), (97, KEPT));
        }
    }

    #[test]
    fn sources_of_equal_share_make_room_in_their_order() {
        let kept = RefusedHandshakes::default();
        for source in 0..150_u8 {
            keep(&kept, [10, 0, 0, source], REVOKED, true);
        }
        let newest: Vec<u8> = kept
            .newest_first()
            .iter()
            .map(|listed| match listed.refused.remote.ip() {
                std::net::IpAddr::V4(address) => address.octets()[3],
                std::net::IpAddr::V6(_) => panic!("an IPv4 address"),
            })
            .collect();
        assert_eq!(newest, (50..150).rev().collect::<Vec<_>>());
    }
}
