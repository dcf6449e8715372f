//! Limit of open file descriptors, and the connections that fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gateway::config::Limits;

/// Descriptors for files, listeners and logs.
const RESERVE: usize = 256;

/// Raise the limit of descriptors as far as needed and possible, and reduce `limits` to those that are
/// available. They cover the connections of clients and those to each of `upstreams` upstreams.
pub(crate) fn fit_descriptors(limits: &Limits, upstreams: usize) -> Limits {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections(limits, upstreams).saturating_add(RESERVE)).unwrap_or(u64::MAX);
    let available = maximum.unwrap_or(u64::MAX).min(wanted);
    if current.is_some_and(|current| current < available)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(available), maximum })
    {
        tracing::warn!(%error, "the limit of open file descriptors cannot be raised");
    }
    if available == wanted {
        return limits.clone();
    }
    let limits = scaled(limits, upstreams, usize::try_from(available).unwrap_or(usize::MAX));
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

/// Most connections of clients and to upstreams.
fn connections(limits: &Limits, upstreams: usize) -> usize {
    limits.connections.saturating_add(limits.connections_per_upstream.saturating_mul(upstreams))
}

/// `limits` that fit into `available` descriptors. All of them shrink by the same ratio, so that one identity has the
/// share of the connections that the configuration gives it.
fn scaled(limits: &Limits, upstreams: usize, available: usize) -> Limits {
    let wanted = connections(limits, upstreams).max(1);
    let fitting = available.saturating_sub(RESERVE.min(available / 4)).min(wanted);
    let scale = |limit: usize| {
        let product =
            u128::try_from(limit).and_then(|limit| Ok(limit.saturating_mul(u128::try_from(fitting)?)));
        let scaled = product.and_then(|product| usize::try_from(product / u128::try_from(wanted)?));
        scaled.unwrap_or(limit).clamp(1, limit.max(1))
    };
    Limits {
        connections: scale(limits.connections),
        connections_per_upstream: scale(limits.connections_per_upstream),
        connections_per_identity: scale(limits.connections_per_identity),
        requests_per_identity: scale(limits.requests_per_identity),
        ..limits.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_missing_descriptors_cost_as_few_connections() {
        let limits = Limits::default();
        let wanted = connections(&limits, 1) + RESERVE;
        let reduced = scaled(&limits, 1, wanted - wanted * 13 / 1_000);
        for (reduced, configured) in [
            (reduced.connections, limits.connections),
            (reduced.connections_per_upstream, limits.connections_per_upstream),
            (reduced.connections_per_identity, limits.connections_per_identity),
            (reduced.requests_per_identity, limits.requests_per_identity),
        ] {
            assert!(reduced < configured && reduced >= configured * 98 / 100, "{reduced} of {configured}");
        }
    }

    #[test]
    fn the_reduced_connections_and_a_reserve_fit_into_every_limit() {
        for (connections_limit, per_upstream, upstreams) in
            [(10_000, 5_000, 1), (10_000, 5_000, 12), (100, 100_000, 3), (1_000_000, 1, 1)]
        {
            let limits = Limits {
                connections: connections_limit,
                connections_per_upstream: per_upstream,
                connections_per_identity: connections_limit / 10,
                ..Limits::default()
            };
            for available in [64, 256, 1_024, 4_096, 8_000] {
                let reduced = scaled(&limits, upstreams, available);
                // Each limit stays at least 1.
                let (used, reserve) = (connections(&reduced, upstreams), RESERVE.min(available / 4));
                assert!(used + reserve <= available + upstreams + 1, "{used} of {available}: {reduced:?}");
                assert!(reduced.connections_per_identity <= reduced.connections, "{reduced:?}");
            }
        }
        assert_eq!(scaled(&Limits::default(), 1, usize::MAX), Limits::default());
    }
}
