//! Admin socket and metrics listener.
//!
//! The admin socket is a Unix socket for the gateway's own user and root. A request is one line of JSON, and
//! so is the response: the envelope that every command prints with `--json`.
//!
//! | file | contents |
//! |---|---|
//! | `client` | Client of the admin socket: one request, one response |
//! | `metrics_exposition` | Text format of Prometheus (exposition format 0.0.4) |
//! | `metrics_listener` | Metrics listener of the gateway |
//! | `metrics_scrape` | Snapshot of all metrics |
//! | `request` | Requests on the admin socket |
//! | `server` | Server of the admin socket |
//! | `socket` | Socket file: created atomically with its mode, and never in place of another kind of file |
//! | `text` | Responses of the admin socket as text |

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
