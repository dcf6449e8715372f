//! Access tokens of users: the statement that judges them, and the users that they name.
//!
//! A statement is verified once, when it is loaded. A token is verified once too: its user is cached by the hash of
//! the token, until another statement is in force.
//!
//! | file | contents |
//! |---|---|
//! | `in_force` | [`TokensInForce`]: a verified statement, and the users whose tokens it has judged |
//! | `holder` | [`TokenHolder`]: the user of a token, with what is said of it to upstreams and in the log |
//! | `cache` | users by the hash of their token |
//! | `store` | [`StatementStore`]: pushed statement and newest version, in the state directory |
//! | `newest` | newest version in this process |
//! | `error` | [`TokenLoadError`] |

mod cache;
mod error;
mod holder;
mod in_force;
mod newest;
mod store;

pub use error::TokenLoadError;
pub use holder::{TokenHolder, X_CLUSTER_ORG, X_CLUSTER_USER, X_CLUSTER_USER_ROLE};
pub use in_force::{StatementFacts, TokensInForce};
pub use newest::NewestStatements;
pub use store::StatementStore;
