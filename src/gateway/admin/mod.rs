//! Admin socket and metrics listener.
//!
//! The admin socket is a Unix socket for the gateway's own user and root. A request is one line of JSON, and
//! so is the response: the envelope that every command prints with `--json`.

pub mod client;
mod metrics_exposition;
pub mod metrics_listener;
mod metrics_scrape;
mod request;
mod server;
mod socket;
pub(crate) mod text;

pub use request::{AdminRequest, DEFAULT_SOCKET};
pub use server::run;
pub use socket::{AdminSocket, SocketError};
