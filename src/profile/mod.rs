//! What each role's certificates may be: profiles, read from `ca-templates/`, and the plans and
//! judgements that follow from them (RFC 5280, section 4).
//!
//! Power runs in one direction. A request names an identity, hosts, a key type and a validity; the
//! profile fills in the rest or refuses; the [`LeafPlan`] says exactly what is to be signed; and
//! [`LeafPlan::judge`] compares the signed certificate with it, field by field, before it is let
//! out. Nothing that a certification request says gets into a certificate on its own.
//!
//! No profile exists that breaks a rule, and no set of profiles in which one does. Nothing here
//! signs, and nothing knows an issuer beyond its end.

mod judge;
mod plan;
mod policy;
mod review;
mod rules;
mod schema;
mod set;
mod view;

pub use judge::{Asked, Mismatch};
pub use plan::{LeafPlan, LeafRequest, PlannedSubject, RootPlan, RootRequest};
pub use policy::PolicyError;
pub use rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalKey, RenewalRule, ValidityRule};
pub use set::{ProfileError, ProfileSet};

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::identity::Role;
use crate::x509::Sha256;

/// The role of the root in profiles; an identity never has it.
const ROOT: &str = "root";

/// The files of the compiled-in profiles: their names and their texts.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("root.yaml", include_str!("../../ca-templates/root.yaml")),
    ("control-service.yaml", include_str!("../../ca-templates/control-service.yaml")),
    ("node-agent.yaml", include_str!("../../ca-templates/node-agent.yaml")),
    ("api-user.yaml", include_str!("../../ca-templates/api-user.yaml")),
];

/// Where a profile came from, and the digest of its text: kept with every certificate it allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file.
    pub source: Source,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
}

/// Where a profile came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is compiled in.
    BuiltIn,
    /// A file of the operator's.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the root's certificate may be.
#[derive(Clone, Debug, PartialEq)]
pub struct RootProfile {
    origin: Origin,
    common_name: CommonName,
    key: KeyRule,
    validity: ValidityRule,
    path_length: u32,
}

impl RootProfile {
    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key types it allows.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// The validity it allows.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }
}

/// What the certificates of one role may be.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafProfile {
    role: Role,
    origin: Origin,
    common_name: CommonName,
    hosts: Option<HostRule>,
    key: KeyRule,
    validity: ValidityRule,
    purposes: PurposeRule,
    renewal: RenewalRule,
}

impl LeafProfile {
    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The hosts that a request may name; `None` for no host.
    #[must_use]
    pub fn hosts(&self) -> Option<&HostRule> {
        self.hosts.as_ref()
    }

    /// The key types it allows.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// The validity it allows.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }

    /// When and how its certificates are replaced.
    #[must_use]
    pub fn renewal(&self) -> &RenewalRule {
        &self.renewal
    }
}
