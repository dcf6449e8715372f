//! Context of every operation: clock, randomness, actor, and credentials for keys.

use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{Actor, Provenance};
use crate::clock::{Clock, Entropy, EntropyError};
use crate::keys::Unlock;

/// What everything here is given: the time, randomness, who acts, and what opens keys.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for serial numbers and UUIDs.
    pub entropy: Arc<dyn Entropy>,
    /// Who acts, for the audit chain.
    pub actor: Actor,
    /// What opens the root's key, where more than its file protects it.
    pub unlock: Arc<dyn Unlock>,
}

impl Context {
    /// The present, in the whole seconds that certificates, records and audit entries have.
    pub(super) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_nanosecond(0).unwrap_or(now)
    }

    pub(super) fn provenance(&self, reason: Option<&str>) -> Provenance {
        Provenance { at: self.now(), actor: self.actor.clone(), reason: reason.map(str::to_owned) }
    }
}

/// A new random UUID (version 4, RFC 9562).
///
/// # Errors
/// [`EntropyError`] when the generator fails.
pub fn random_uuid(entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
