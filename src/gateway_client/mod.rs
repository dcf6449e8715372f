//! The CA's calls to the gateways: a revocation list pushed until each enforces it, and the question how
//! each is.
//!
//! [`Gateways`] is the list of them; a [`Calling`] is who calls and whom to believe. Every gateway is
//! called at once, over mutual TLS, within one deadline. Whoever answers is believed only as the gateway
//! that was meant: its certificate is judged before ours is shown. What is done about a [`Fault`], and
//! where a list comes from, is decided by the caller: nothing here knows the CA's home.

mod context;
mod error;
mod fan_out;
mod list;
mod messages;
mod push;
mod session;
mod status;
mod text;
mod trust;

pub use context::Calling;
pub use error::{Fault, Stage};
pub use list::{Gateway, Gateways, GatewaysError};
pub use messages::{CrlInForce, Reported};
pub use push::{Enforced, RevocationList, push};
pub use status::{Answered, status};
pub use text::Text;
pub use trust::Trust;
