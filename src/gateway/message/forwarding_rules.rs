//! Rules of the configuration for the header fields of forwarded messages.

use crate::gateway::message::reserved_headers::ReservedHeaders;
use crate::gateway::message::via::Via;

/// Fields that are removed from messages in both directions, and the one that is appended. A request keeps the rules
/// with which it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardingRules {
    /// Fields that are removed.
    pub reserved: ReservedHeaders,
    /// `Via` of forwarded messages; `None` for no such field.
    pub via: Option<Via>,
}
