//! Context of every operation: clock, randomness, actor, and credentials for keys.

use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{Actor, Provenance};
use crate::clock::{Clock, Entropy, EntropyError};
use crate::keys::Unlock;

/// Dependencies passed to every operation.
#[derive(Clone, Debug)]
pub struct Context {
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for serial numbers and UUIDs.
    pub entropy: Arc<dyn Entropy>,
    /// Identity recorded in the audit chain.
    pub actor: Actor,
    /// Passphrases and credentials that open the root key.
    pub unlock: Arc<dyn Unlock>,
}

impl Context {
    /// Current time in whole seconds, the resolution of certificates, records and audit entries.
    pub(super) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_nanosecond(0).unwrap_or(now)
    }

    pub(super) fn provenance(&self, reason: Option<&str>) -> Provenance {
        Provenance { at: self.now(), actor: self.actor.clone(), reason: reason.map(str::to_owned) }
    }
}

/// Generate a random UUID (version 4, RFC 9562).
///
/// # Errors
/// [`EntropyError`] if the generator fails.
pub fn random_uuid(entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
