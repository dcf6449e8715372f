//! Verification of a peer's certificate: chain, revocation, identity, issuer roles, in this order.
//!
//! Verified chains are cached; validity and revocation are checked on every use. The proof of possession of the
//! private key is TLS's: every full handshake makes a new one, and nothing here stores it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::chain_cache::{ChainCache, ChainKey};
use super::crl::CrlsInForce;
use super::error::{Lapse, PeerError};
use super::identity_form::{IdentityForm, IssuerRoles};
use super::identity_headers::IdentityHeaders;
use super::peer::Peer;
use crate::identity::{Identity, TrustDomain};
use crate::revocation::{Crl, RevocationStatus};
use crate::x509::trust::{Purpose, TrustBundle, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier};

/// Rules that decide which peers are accepted. Immutable: a reload builds another one.
#[derive(Debug)]
pub struct PeerVerifier {
    trust: TrustBundle,
    /// `None` only where the configuration says `revocation: disabled`.
    revocation: Option<CrlsInForce>,
    trust_domain: TrustDomain,
    issuers: IssuerRoles,
    /// True if the configured bundle has a single trust anchor. Anchors that a restriction removed count.
    only_root: bool,
    cache: ChainCache,
}

impl PeerVerifier {
    /// Accept peers that chain to `trust`, are not revoked, belong to `trust_domain`, and whose issuers may vouch
    /// for their role.
    #[must_use]
    pub fn new(
        trust: TrustBundle,
        revocation: Option<CrlsInForce>,
        trust_domain: TrustDomain,
        issuers: IssuerRoles,
    ) -> Self {
        let only_root = trust.anchors().len() == 1;
        Self { trust, revocation, trust_domain, issuers, only_root, cache: ChainCache::default() }
    }

    /// Verify the certificate of a client, in its handshake or of the handshake that its session began with. The
    /// identity is read in `form`.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it violates.
    pub fn verify_client(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        form: IdentityForm,
        at: OffsetDateTime,
    ) -> Result<Arc<Peer>, PeerError> {
        let key = ChainKey::of(leaf, extra_certs);
        if let Some(peer) = self.cache.get(key, at).filter(|peer| peer.form == form) {
            return self.check_revocation(&peer.chain, at).map(|()| peer);
        }
        let chain = self.trust.verify(leaf, extra_certs, Purpose::Client, at).map_err(PeerError::Chain)?;
        self.check_revocation(&chain, at)?;
        let identity = self.identify(&chain, form)?;
        let headers = IdentityHeaders::new(&identity, &chain.leaf)
            .and_then(|headers| headers.with_chain(&chain.intermediates))
            .map_err(|_| PeerError::NotHeaderSafe)?;
        let peer = Arc::new(Peer {
            form,
            headers,
            serial_number: chain.leaf.serial_number,
            expires: chain.expires,
            identity,
            chain,
        });
        self.cache.insert(key, Arc::clone(&peer));
        Ok(peer)
    }

    /// Check whether a peer, possibly accepted under an earlier state, may stay connected. An expired CRL does not
    /// end connections; it only keeps new clients from connecting.
    ///
    /// # Errors
    /// [`Lapse`] when it may not.
    pub fn recheck(&self, peer: &Peer, at: OffsetDateTime) -> Result<(), Lapse> {
        let same = |identity| identity == peer.identity;
        if !self.trust.still_trusts(&peer.chain) || !self.identify(&peer.chain, peer.form).is_ok_and(same) {
            return Err(Lapse::TrustChanged);
        }
        if !peer.is_valid_at(at) {
            return Err(Lapse::Expired);
        }
        match self.check_revocation(&peer.chain, at) {
            Ok(()) | Err(PeerError::CrlExpired { .. }) => Ok(()),
            // The issuer had a CRL when the peer was accepted: the authority above it is no longer known.
            Err(PeerError::NoCrl { .. }) => Err(Lapse::TrustChanged),
            Err(_) => Err(Lapse::Revoked),
        }
    }

    /// Check that no certificate of `chain` is revoked, and that a CRL in force says so for each.
    ///
    /// # Errors
    /// [`PeerError::Revoked`], [`PeerError::CrlExpired`] or [`PeerError::NoCrl`].
    pub fn check_revocation(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Result<(), PeerError> {
        let Some(crls) = &self.revocation else { return Ok(()) };
        match crls.set.status_of(chain, at) {
            RevocationStatus::Good => Ok(()),
            RevocationStatus::Expired { next_update, .. } if !crls.is_stale(next_update, at) => Ok(()),
            RevocationStatus::Expired { issuer, next_update } => {
                Err(PeerError::CrlExpired { issuer, next_update })
            }
            RevocationStatus::NoCrl { issuer } => Err(PeerError::NoCrl { issuer }),
            RevocationStatus::Revoked { link } => {
                Err(PeerError::Revoked { serial_number: link.serial_number })
            }
        }
    }

    /// Trust domain of the cluster.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Trust anchors in force.
    #[must_use]
    pub const fn trust(&self) -> &TrustBundle {
        &self.trust
    }

    /// CRLs in force; `None` when revocation is disabled.
    #[must_use]
    pub const fn revocation(&self) -> Option<&CrlsInForce> {
        self.revocation.as_ref()
    }

    /// Copy with other trust anchors and CRLs, and an empty cache.
    #[must_use]
    pub fn with(&self, trust: TrustBundle, revocation: Option<CrlsInForce>) -> Self {
        let next = Self::new(trust, revocation, self.trust_domain.clone(), self.issuers.clone());
        Self { only_root: self.only_root, ..next }
    }

    /// Trust anchors and the intermediate authorities below them.
    pub fn authorities(&self) -> impl Iterator<Item = IssuingAuthority<'_>> {
        self.trust.authorities().map(|(key_identifier, certificate)| IssuingAuthority {
            certificate,
            key_identifier,
            revoked: self.revocation.as_ref().is_some_and(|crls| crls.set.is_issuer_revoked(key_identifier)),
        })
    }

    /// Every CRL in force.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.revocation.iter().flat_map(|crls| crls.set.crls())
    }

    fn identify(&self, chain: &VerifiedChain, form: IdentityForm) -> Result<Identity, PeerError> {
        let identity = form.read(&chain.leaf, &self.trust_domain).map_err(PeerError::Identity)?;
        let role = identity.role;
        self.issuers
            .check(chain, role, self.only_root)
            .map_err(|issuer| PeerError::IssuerRole { issuer, role })?;
        Ok(identity)
    }
}

/// Trust anchor or intermediate authority.
#[derive(Clone, Copy, Debug)]
pub struct IssuingAuthority<'a> {
    /// Certificate of the authority.
    pub certificate: &'a Certificate,
    /// Subject key identifier, by which CRLs and `trust.issuers` refer to it.
    pub key_identifier: &'a KeyIdentifier,
    /// True if every certificate of its key has been revoked by the authorities above it.
    pub revoked: bool,
}
