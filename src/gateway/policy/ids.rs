//! Identifiers of rules and upstreams, and the reserved path.

use std::fmt;

/// Path of the gateway's own endpoints. No route can match it or a path below it, and no request for them is
/// sent upstream.
pub const RESERVED: &str = "/.well-known/cluster";

/// Return true if `path` is [`RESERVED`] or below it.
pub(in crate::gateway) fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Place of a rule in the file, for logs, metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Position among the routes, from 0.
    pub index: usize,
    /// Line at which the rule begins, from 1.
    pub line: usize,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routes[{}] (line {})", self.index, self.line)
    }
}

/// Position of an upstream in the configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);
