//! File descriptors: the limit of the process, and the connections that fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gateway::config::Limits;

/// Asks for as many descriptors as the system gives, and gives `limits` as far as they fit: the connections of
/// callers, and those to each of so many services behind. Whoever fills up what is there must not take
/// those to the services from the others, so that nobody may have more than a quarter of either.
pub(crate) fn within_descriptors(limits: &Limits, upstreams: usize) -> Limits {
    let mut limits = limits.clone();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let behind = limits.connections_per_upstream.saturating_mul(upstreams);
    let wanted = u64::try_from(limits.connections.saturating_add(behind).saturating_add(256));
    let wanted = wanted.unwrap_or(u64::MAX);
    let reachable = maximum.unwrap_or(u64::MAX).min(wanted);
    if current.is_some_and(|current| current < reachable)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum })
    {
        tracing::warn!(%error, "the limit of open descriptors cannot be raised");
    }
    if reachable == wanted {
        return limits;
    }
    let fitting = usize::try_from((reachable - (reachable / 4).min(256)) / 2).unwrap_or(usize::MAX).max(1);
    let each = (fitting / upstreams.max(1)).max(1);
    limits.connections = limits.connections.min(fitting);
    limits.connections_per_upstream = limits.connections_per_upstream.min(each);
    limits.connections_per_identity = limits.connections_per_identity.min((fitting / 4).max(1));
    limits.requests_per_identity = limits.requests_per_identity.min((each / 4).max(1));
    tracing::warn!(
        descriptors = reachable,
        wanted,
        connections = limits.connections,
        connections_per_upstream = limits.connections_per_upstream,
        connections_per_identity = limits.connections_per_identity,
        requests_per_identity = limits.requests_per_identity,
        "fewer connections fit than the configuration allows"
    );
    limits
}
