//! Configuration of the gateway: from YAML to a valid [`Config`], or to all problems with their lines.
//!
//! Unknown keys are problems, and so are settings without effect: a route that no request reaches, an upstream or
//! group that no route uses. Relative paths are relative to the file. The contents of certificates, keys and bundles
//! are checked when a state is loaded, not here.

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
mod trust;
mod upstream;

pub use assertion::AssertionSettings;
pub use file::{Config, workers};
pub use http2::Http2Windows;
pub use identity::IdentityFiles;
pub use limits::Limits;
pub use shadow::ShadowPolicy;
pub use trust::{Resumption, Revocation, TrustSettings, UnfitAnchors};
pub use upstream::UpstreamSettings;

#[cfg(test)]
mod manual_tests;
#[cfg(test)]
mod tests;
