//! Configuration of the server: from YAML to a valid [`ServerConfig`], or to all problems with their lines.
//!
//! Unknown keys are problems. The home and the secrets that open its key are options of the command line, as they are
//! for every command.

mod error;
mod file;
mod limits;
pub mod schema;

pub use file::{Operator, ServerConfig};
pub use limits::ServerLimits;

#[cfg(test)]
mod tests;
