//! How a gateway is asked and told while it runs: a Unix socket that its owner and root alone can use.
//!
//! One line of JSON is a request, one line of JSON the answer: the envelope that every command prints
//! under `--json`.

pub mod client;
mod metrics_exposition;
pub mod metrics_listener;
mod metrics_scrape;
mod request;
mod server;
mod socket;
pub mod text;

pub use request::{DEFAULT_SOCKET, Request};
pub use server::run;
pub use socket::{AdminSocket, SocketError};
