//! Pushed CRLs: verified, stored, and put in force.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::error::{Coded, with_causes};
use crate::gateway::control::change::StateChange;
use crate::gateway::control::error::PushError;
use crate::gateway::control::reload::Control;
use crate::gateway::state::State;
use crate::mtls::crl::{CrlLoadError, CrlsInForce};
use crate::revocation::{Crl, CrlError};
use crate::x509::Sha256;
use crate::x509::pem::{ObjectKind, PemBlock, blocks_of};

impl Control {
    /// Verify, store and put in force the CRLs in `body`, each newer than or equal to the one in force. Writes
    /// files: call it from a blocking thread.
    ///
    /// # Errors
    /// [`PushError`]; the state in force is unchanged.
    pub fn push(&self, body: &[u8], noticed: Instant) -> Result<Option<StateChange>, PushError> {
        let result = self.apply_crls(body, noticed);
        match &result {
            Ok(Some(change)) => tracing::info!(
                generation = change.state.generation,
                connections_closed = change.cut.len(),
                "pushed CRL is in force"
            ),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(code = error.code(), "pushed CRL refused: {}", with_causes(error));
            }
        }
        self.changes.record_push(result.is_ok());
        result
    }

    /// Put the CRLs in `body` in force; `None` if they already are.
    fn apply_crls(&self, body: &[u8], noticed: Instant) -> Result<Option<StateChange>, PushError> {
        let state = self.shared.state.load_full();
        state.verifier.revocation().ok_or(PushError::RevocationDisabled)?;
        state.revocation.store.as_ref().ok_or(PushError::NoStateDirectory)?;
        let blocks = blocks_of(ObjectKind::Crl, body).map_err(|source| PushError::Unreadable { source })?;
        loop {
            // Verified before the lock is taken, so that a slow push does not delay other changes.
            let state = self.shared.state.load_full();
            let offered = self.verify_offered(&state, &blocks)?;
            if offered.is_empty() {
                return Ok(None);
            }
            let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let current = self.shared.state.load_full();
            if current.verifier.trust().has_same_authorities(state.verifier.trust()) {
                let next = self.with_offered(&current, &offered, offered.len() == blocks.len())?;
                return Ok(next.map(|next| self.put_in_force(next, noticed)));
            }
        }
    }

    /// CRLs in `blocks` that are not in force, each verified. At most one per authority is accepted.
    fn verify_offered<'a>(
        &self,
        state: &State,
        blocks: &'a [PemBlock],
    ) -> Result<Vec<Offered<'a>>, PushError> {
        let trust = state.verifier.trust();
        let authorities = trust.anchors().len() + trust.intermediates().len();
        if blocks.len() > authorities {
            return Err(PushError::TooMany { most: authorities });
        }
        let at = self.shared.clock.now();
        let mut offered = Vec::with_capacity(blocks.len());
        for block in blocks {
            let sha256 = Sha256::of(block.der());
            if state.verifier.crls().all(|known| known.sha256 != sha256) {
                offered.push(Offered { crl: Arc::new(Crl::verify(block.der(), trust, at)?), block });
            }
        }
        Ok(offered)
    }

    /// `state` with the `offered` CRLs that are newer, after storing them; `None` if none is newer. `all_offered`
    /// is set if the body has no CRL that is already in force.
    fn with_offered(
        &self,
        state: &State,
        offered: &[Offered<'_>],
        all_offered: bool,
    ) -> Result<Option<State>, PushError> {
        let crls = state.verifier.revocation().ok_or(PushError::RevocationDisabled)?;
        let store = state.revocation.store.as_ref().ok_or(PushError::NoStateDirectory)?;
        let at = self.shared.clock.now();
        let verified: Vec<_> = offered.iter().map(|offered| Arc::clone(&offered.crl)).collect();
        // Another process with the same directory may have had a newer CRL of a revoked authority in force.
        let newest = &state.revocation.newest;
        let current = crls.set.clone().with_standby_that(|crl| newest.is_candidate(crl, Some(store)));
        let next = CrlsInForce { set: current.with(&verified, state.verifier.trust())?, grace: crls.grace };
        let mut newer = Vec::new();
        for Offered { crl, block } in offered {
            let is_next = next.set.crl(&crl.issuer).is_some_and(|next| next.sha256 == crl.sha256);
            let is_current = crls.set.crl(&crl.issuer).is_some_and(|known| known.sha256 == crl.sha256);
            if is_next && !is_current {
                newest.check(crl)?;
                if crls.is_stale(crl.next_update, at) {
                    let (issuer, next_update) = (crl.issuer.clone(), crl.next_update);
                    return Err(PushError::Stale { issuer, next_update });
                }
                newer.push((&**crl, block.der()));
            }
        }
        // A CRL of a revoked authority has no effect. It does not fail a push of others, but alone it is refused.
        if let Some(Offered { crl, .. }) = offered.first()
            && all_offered
            && offered.iter().all(|offered| next.set.is_issuer_revoked(&offered.crl.issuer))
        {
            return Err(CrlError::IssuerRevoked { issuer: crl.issuer.clone() }.into());
        }
        if newer.is_empty() {
            return Ok(None);
        }
        let next = self.changes.loader.with_revocation(state, next)?;
        // Stored before it is in force, so that a confirmed push survives a crash.
        store.keep(&newer).map_err(|error| match error {
            CrlLoadError::File(source) => PushError::NotKept { source },
            // Another gateway uses the same directory, and has stored a newer CRL.
            CrlLoadError::Superseded { source, .. } => PushError::Crl(source),
            error => PushError::State(error.into()),
        })?;
        Ok(Some(next))
    }
}

/// Verified CRL of a push that is not in force.
struct Offered<'a> {
    crl: Arc<Crl>,
    block: &'a PemBlock,
}
