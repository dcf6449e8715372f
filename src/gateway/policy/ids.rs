//! Numbers of rules and upstreams, and reserved paths.

use std::fmt;

/// Where the gateway answers by itself; no route can be for this path or one below it, and nothing there
/// is ever sent upstream.
pub const RESERVED: &str = "/.well-known/cluster";

/// Whether `path` is [`RESERVED`] or below it.
pub(in crate::gateway) fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Which rule: its place in the file, for logs, metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Its position among the routes, from 0.
    pub index: usize,
    /// The line at which it begins, from 1.
    pub line: usize,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routes[{}] (line {})", self.index, self.line)
    }
}

/// Which upstream: its position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);
