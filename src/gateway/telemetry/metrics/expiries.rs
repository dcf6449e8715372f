//! Next expiry among the newest certificates of all clients, which reveals clients that stopped renewing.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use crate::identity::{Identity, Role};

/// Maximum number of clients remembered.
const MAX_CLIENTS: usize = 65_536;

/// Expiry of the newest certificate of each client.
#[derive(Debug, Default)]
pub(crate) struct Expiries(HashMap<Identity, OffsetDateTime>);

impl Expiries {
    /// Record a certificate of `identity` that expires at `expires`.
    pub(crate) fn record(&mut self, identity: &Identity, expires: OffsetDateTime) {
        if let Some(known) = self.0.get_mut(identity) {
            *known = expires.max(*known);
        } else if self.0.len() < MAX_CLIENTS {
            self.0.insert(identity.clone(), expires);
        }
    }

    /// Next expiry of each role. Expired certificates are forgotten, since their clients are refused.
    pub(crate) fn soonest(&mut self, now: OffsetDateTime) -> BTreeMap<Role, OffsetDateTime> {
        self.0.retain(|_, expires| *expires >= now);
        let mut soonest = BTreeMap::new();
        for (identity, expires) in &self.0 {
            let known = soonest.entry(identity.role).or_insert(*expires);
            *known = (*known).min(*expires);
        }
        soonest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn only_the_newest_certificate_of_a_client_counts() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let in_days = |days| now + Duration::days(days);
        let mut expiries = Expiries::default();
        let [alice, bob, node] =
            ["api-user/alice", "api-user/bob", "node-agent/3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11"]
                .map(|path| format!("spiffe://prod/{path}").parse::<Identity>().unwrap());
        for (identity, days) in [(&alice, 3), (&bob, 9), (&node, 20), (&alice, 30), (&alice, 3)] {
            expiries.record(identity, in_days(days));
        }
        let soonest = expiries.soonest(now);
        assert_eq!((soonest[&Role::ApiUser], soonest[&Role::NodeAgent]), (in_days(9), in_days(20)));
        assert_eq!(expiries.soonest(in_days(10))[&Role::ApiUser], in_days(30), "bob's has expired");
    }
}
