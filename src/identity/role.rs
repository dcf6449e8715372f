//! The roles.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fixed DNS name that Flocker-style clients verify, whatever host they dial.
pub const CONTROL_SERVICE_DNS_NAME: &str = "control-service";

/// What the holder of a certificate is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A machine that serves the cluster's REST API.
    ControlService,
    /// The agent on one machine of the cluster.
    NodeAgent,
    /// A person or program that calls the API.
    ApiUser,
}

impl Role {
    /// Every role, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::ControlService, Self::NodeAgent, Self::ApiUser];

    /// The role's word everywhere: SPIFFE path, profiles, policies, command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlService => "control-service",
            Self::NodeAgent => "node-agent",
            Self::ApiUser => "api-user",
        }
    }

    /// The role with this name, if there is one.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What the file names of its certificates begin with: roles never share a name space on disk.
    #[must_use]
    pub const fn file_prefix(self) -> &'static str {
        match self {
            Self::ControlService => "control-",
            Self::NodeAgent => "node-",
            Self::ApiUser => "user-",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
