//! Configuration of the gateway: YAML in, and a valid [`Config`] or every problem with its line out.
//!
//! An unknown key is a problem, and so is a setting without effect: a route that no request reaches, an upstream or
//! group that no route uses. Relative paths are relative to the file. The contents of certificates, keys and bundles
//! are checked when a state is loaded, not here.

mod access_log;
mod assertion;
mod error;
mod file;
mod identity;
mod issuers;
mod key;
mod limits;
mod listen;
mod reader;
mod routes;
pub mod schema;
mod shadow;
mod trust;
mod upstream;
mod values;

pub use access_log::AccessLog;
pub use assertion::Assertion;
pub use file::{Config, workers};
pub use identity::IdentityFiles;
pub use limits::Limits;
pub use shadow::Shadow;
pub use trust::{Resumption, Revocation, Trust};
pub use upstream::Upstream;

#[cfg(test)]
mod tests;
