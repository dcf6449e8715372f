//! How every gateway is.

use std::io;

use http::Method;

use super::context::Calling;
use super::error::Fault;
use super::fan_out::ask_all;
use super::list::Gateway;
use super::messages::{CrlInForce, Reported, only_of, read};
use super::session::Conversation;
use crate::x509::{Certificate, KeyIdentifier};

const STATUS: &str = "/.well-known/cluster/status";

/// What a gateway said of itself, and the certificate that it proved to have.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What it says.
    pub reported: Reported,
    /// The certificate that it serves.
    pub served: Certificate,
}

impl Answered {
    /// The list of `issuer` that it enforces.
    ///
    /// # Errors
    /// [`Fault::NoCrl`], or [`Fault::Unreadable`] when it names several.
    pub fn crl(&self, issuer: &KeyIdentifier) -> Result<&CrlInForce, Fault> {
        only_of(&self.reported.crl, issuer)
    }
}

/// Asks every gateway how it is; `ended` is told each time one of them has answered. The answers are in
/// the order of the gateways.
///
/// # Errors
/// When the system does not let anybody wait for the network.
pub fn status(
    gateways: &[Gateway],
    calling: &Calling,
    ended: impl FnMut(),
) -> io::Result<Vec<Result<Answered, Fault>>> {
    ask_all(gateways, calling, ask, ended)
}

async fn ask(mut gateway: Conversation) -> Result<Answered, Fault> {
    Ok(Answered { reported: report(&mut gateway).await?, served: gateway.served })
}

/// How a gateway says that it is.
pub(super) async fn report(gateway: &mut Conversation) -> Result<Reported, Fault> {
    read(&gateway.ask(Method::GET, STATUS, None).await?.success()?)
}
