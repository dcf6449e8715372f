//! Limit of open file descriptors, and the connections that fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gateway::config::Limits;

/// Raise the limit of descriptors as far as needed and possible, and reduce `limits` to those that are
/// available. They cover the connections of clients and those to each of `upstreams` upstreams. One identity
/// gets at most a quarter of either, so that it cannot starve the others.
pub(crate) fn fit_descriptors(limits: &Limits, upstreams: usize) -> Limits {
    let mut limits = limits.clone();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let to_upstreams = limits.connections_per_upstream.saturating_mul(upstreams);
    let wanted = u64::try_from(limits.connections.saturating_add(to_upstreams).saturating_add(256));
    let wanted = wanted.unwrap_or(u64::MAX);
    let available = maximum.unwrap_or(u64::MAX).min(wanted);
    if current.is_some_and(|current| current < available)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(available), maximum })
    {
        tracing::warn!(%error, "the limit of open file descriptors cannot be raised");
    }
    if available == wanted {
        return limits;
    }
    let fitting = usize::try_from((available - (available / 4).min(256)) / 2).unwrap_or(usize::MAX).max(1);
    let each = (fitting / upstreams.max(1)).max(1);
    limits.connections = limits.connections.min(fitting);
    limits.connections_per_upstream = limits.connections_per_upstream.min(each);
    limits.connections_per_identity = limits.connections_per_identity.min((fitting / 4).max(1));
    limits.requests_per_identity = limits.requests_per_identity.min((each / 4).max(1));
    tracing::warn!(
        descriptors = available,
        wanted,
        connections = limits.connections,
        connections_per_upstream = limits.connections_per_upstream,
        connections_per_identity = limits.connections_per_identity,
        requests_per_identity = limits.requests_per_identity,
        "too few file descriptors for the configured limits: limits reduced"
    );
    limits
}
