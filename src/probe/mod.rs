//! Diagnostic TLS client: one connection to a live endpoint, recorded first and judged afterwards.
//!
//! An ordinary client aborts at the first bad certificate and learns nothing more. The probe accepts
//! any chain, presents a client certificate if it has one, and waits for the server's reaction. It sends
//! the handshake and, to servers that negotiate HTTP/1.1, one request for the client's identity.

mod diagnosis;
mod endpoint;
mod error;
mod handshake;
mod observe;
mod outcome;

pub use diagnosis::{AtFault, ClientClaim, RefusalCause, TrustContext};
pub use endpoint::{Endpoint, EndpointError};
pub use error::ProbeError;
pub use observe::{Observation, observe};
pub use outcome::ConnectionOutcome;
