//! Client of the CA's server: login, and the tokens that it keeps in a file.
//!
//! | file | contents |
//! |---|---|
//! | `session` | [`ApiSession`]: a server and the tokens for it |
//! | `token_file` | [`TokenFile`]: tokens on disk, readable only by their owner |
//! | `https` | requests, with deadlines and size limits |
//! | `error` | [`ApiClientError`] |

mod error;
mod https;
mod session;
mod token_file;

pub use error::ApiClientError;
pub use https::{ApiServer, ServerUrl};
pub use session::{ApiSession, LoginAnswer, encoded};
pub use token_file::TokenFile;
