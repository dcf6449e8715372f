//! Who a certificate is for: cluster, role and name, and the one table that ties a role to its
//! SPIFFE path and its subject.
//!
//! Every type here can only be made from text that obeys its rules, so whoever holds one need not
//! look again. The rules are narrower than the standards allow: a name that could be read in two
//! ways (case, Unicode look-alikes, separators, addresses written like host names) is refused.

mod certificate;
mod cluster;
mod error;
mod flocker;
mod host;
mod name;
mod role;
mod spiffe_id;
mod text;
mod text_rules;

pub use certificate::{IdentityRefusal, RuleBroken, role_rules};
pub use cluster::{ClusterName, TrustDomain};
pub use error::IdentityError;
pub use host::Host;
pub use name::{Name, role_and_name};
pub use role::{CONTROL_SERVICE_DNS_NAME, Role};
pub use spiffe_id::Identity;
