//! A look at a live endpoint, as a caller sees it: one connection, everything that it shows, no judgement
//! until it is over.
//!
//! A caller that refuses a bad certificate at once learns nothing more. This one takes what the server
//! presents, proves its own identity if it has one, and listens for what the server says to that. Nothing
//! is sent but the handshake and, where the server speaks HTTP/1.1, one request for the caller's identity.

mod endpoint;
mod error;
mod explain;
mod handshake;
mod look;
mod outcome;
mod tls_client;

pub use endpoint::Endpoint;
pub use error::ProbeError;
pub use explain::{Cause, Claim, Judge, Side};
pub use look::{Observation, look};
pub use outcome::End;
pub use tls_client::{Caller, Witness};
