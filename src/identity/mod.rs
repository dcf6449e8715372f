//! Identities of certificates (cluster, role and name), and the table of roles.
//!
//! Every type is validated when it is parsed. The rules are stricter than the standards: a name that could
//! be read in two ways (case, Unicode look-alikes, separators, addresses written like host names) is refused.
//!
//! | file | contents |
//! |---|---|
//! | `account` | Names and roles of accounts: people and programs that log in with a password |
//! | `certificate` | Identity of a certificate, and conformance of the certificate to its role |
//! | `cluster` | Cluster names and trust domains |
//! | `error` | Errors of parsing names |
//! | `flocker` | Identities in the form of Flocker |
//! | `host` | Hosts as subject alternative names and as names of control services |
//! | `label` | Labels of machines |
//! | `name` | Names of identities within their role |
//! | `role` | Table of roles: a row holds everything that is fixed for one role |
//! | `spiffe_id` | Identities and their SPIFFE IDs |
//! | `text` | Text in messages |
//! | `text_rules` | Checks shared by all kinds of names |
//! | `user_reference` | References to users of the server |

mod account;
mod certificate;
mod cluster;
mod error;
mod flocker;
mod host;
mod label;
mod name;
mod role;
mod spiffe_id;
mod text;
mod text_rules;
mod user_reference;

pub use account::{AccountIdentity, AccountRole, OrganizationName};
pub use certificate::{IdentityRefusal, RoleViolation, role_violations};
pub use cluster::{ClusterName, TrustDomain};
pub use error::IdentityError;
pub use host::Host;
pub use label::MachineLabel;
pub use name::{Name, role_and_name};
pub use role::{
    CONTROL_SERVICE_DNS_NAME, CommonNameForm, HostUse, NameSyntax, PerRole, Recipient, Role, ServerAuth,
};
pub use spiffe_id::Identity;
pub use user_reference::UserReference;
