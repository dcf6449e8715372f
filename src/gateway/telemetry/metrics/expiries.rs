//! Which callers have stopped renewing: the soonest end among the newest certificates that were seen.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use crate::identity::{Identity, Role};

/// How many callers are remembered.
const AT_MOST: usize = 65_536;

/// When the newest certificate of each caller ends.
#[derive(Debug, Default)]
pub(crate) struct Expiries(HashMap<Identity, OffsetDateTime>);

impl Expiries {
    /// A certificate of `identity` that ends at `expires` was seen.
    pub(crate) fn note(&mut self, identity: &Identity, expires: OffsetDateTime) {
        if let Some(known) = self.0.get_mut(identity) {
            *known = expires.max(*known);
        } else if self.0.len() < AT_MOST {
            self.0.insert(identity.clone(), expires);
        }
    }

    /// The soonest end in each role. What has ended already is forgotten: it is refused from then on.
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
    fn whoever_renews_no_longer_counts_with_the_old_certificate() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let in_days = |days| now + Duration::days(days);
        let mut expiries = Expiries::default();
        let [alice, bob, node] =
            ["api-user/alice", "api-user/bob", "node-agent/3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11"]
                .map(|path| format!("spiffe://prod/{path}").parse::<Identity>().unwrap());
        for (identity, days) in [(&alice, 3), (&bob, 9), (&node, 20), (&alice, 30), (&alice, 3)] {
            expiries.note(identity, in_days(days));
        }
        let soonest = expiries.soonest(now);
        assert_eq!((soonest[&Role::ApiUser], soonest[&Role::NodeAgent]), (in_days(9), in_days(20)));
        assert_eq!(expiries.soonest(in_days(10))[&Role::ApiUser], in_days(30), "bob's has ended");
    }
}
