//! The CA's calls to the gateways: a revocation list pushed until each enforces it, and the question how
//! each is.
//!
//! [`Gateways`] is the list of them; a [`Calling`] is who calls and whom to believe. Every gateway is
//! called at once, over mutual TLS, within one deadline. Whoever answers is believed only as the gateway
//! that was meant: its certificate is judged before ours is shown. What is done about a [`Fault`], and
//! where a list comes from, is decided by the caller: nothing here knows the CA's home.

mod answer;
mod call;
mod fault;
mod list;
mod push;
mod status;

pub use answer::{CrlInForce, Reported, Text};
pub use call::{Calling, Trust};
pub use fault::{Fault, Stage};
pub use list::{Gateway, Gateways, GatewaysError};
pub use push::{Enforced, RevocationList, push};
pub use status::{Answered, status};
