//! Configuration of the gateway: from YAML to a valid [`Config`], or to all problems with their lines.
//!
//! Unknown keys are problems, and so are settings without effect: a route that no request reaches, an upstream or
//! group that no route uses. Relative paths are relative to the file. The contents of certificates, keys and bundles
//! are checked when a state is loaded, not here.
//!
//! | file | contents |
//! |---|---|
//! | `assertion` | Settings of assertions: signed statements about the client, sent to upstreams |
//! | `error` | Errors of values in the configuration |
//! | `file` | The whole configuration, and the file that it is read from |
//! | `http2` | Flow control of HTTP/2 in the configuration |
//! | `identity` | Certificate and key of the gateway |
//! | `issuers` | Roles that each issuer may vouch for, from `trust.issuers` |
//! | `key` | Private keys in the configuration |
//! | `limits` | Limits and timeouts of the gateway, of each identity, address and upstream, and of each request |
//! | `listen` | Listeners in the configuration |
//! | `routes` | Policy from the `groups` and `routes` of the configuration |
//! | `schema` | Keys of `cluster-gateway.yaml` |
//! | `shadow` | Shadow policy: `routes` and `groups` in a file of their own, evaluated beside those in force |
//! | `startup` | Options of the process that take effect only at the start |
//! | `tokens` | Settings of access tokens |
//! | `trust` | Settings of certificate verification |
//! | `upstream` | Settings of upstreams |

mod assertion;
mod error;
mod file;
mod http2;
mod identity;
mod issuers;
mod key;
mod limits;
mod listen;
mod routes;
pub mod schema;
mod shadow;
mod startup;
mod tokens;
mod trust;
mod upstream;

pub use assertion::AssertionSettings;
pub use file::{Config, workers};
pub use http2::Http2Windows;
pub use identity::IdentityFiles;
pub use limits::Limits;
pub use shadow::ShadowPolicy;
pub use startup::StartupOptions;
pub use tokens::{TokenClients, TokenSettings};
pub use trust::{Resumption, Revocation, TrustSettings, UnfitAnchors};
pub use upstream::{UpstreamLimits, UpstreamSettings};

#[cfg(test)]
mod manual_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
