//! What every call to a gateway needs.

use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;

use super::error::Fault;
use super::trust::Trust;
use crate::probe::Caller;

/// Nobody waits longer, whatever was asked for.
const DAY: Duration = Duration::from_secs(86_400);

/// Who calls, whom to believe, and for how long to wait for each gateway.
#[derive(Clone, Debug)]
pub struct Calling(pub(super) Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) caller: Arc<CertifiedKey>,
    pub(super) trust: Trust,
    pub(super) patience: Duration,
}

impl Calling {
    /// Calls with the certificate of `caller`.
    ///
    /// # Errors
    /// [`Fault::Handshake`] when its certificate is one that gateways refuse, as far as can be told from
    /// here, and [`Fault::Caller`] when TLS has no use for its key.
    pub fn new(caller: &Caller, trust: Trust, patience: Duration) -> Result<Self, Fault> {
        if let Some(cause) = trust.judge().caller(caller) {
            return Err(Fault::Handshake(cause));
        }
        Ok(Self(Arc::new(Parts { caller: caller.certified()?, trust, patience: patience.min(DAY) })))
    }
}
