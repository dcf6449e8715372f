//! Verification of a peer's certificate: chain, revocation, host name of a server, identity, issuer roles, in this
//! order.
//!
//! Verified chains of clients are cached; validity and revocation are checked on every use. The proof of possession of the
//! private key is TLS's: every full handshake makes a new one, and nothing here stores it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::chain_cache::{ChainCache, ChainKey};
use super::chain_verifier::{ChainVerifier, ExpectedPeer};
use super::crl::CrlsInForce;
use super::error::{Lapse, PeerError};
use super::identity_form::{IdentityForm, IssuerRoles};
use super::identity_headers::IdentityHeaders;
use super::peer::{Peer, VerifiedServer};
use crate::identity::{Host, Identity, Role, TrustDomain};
use crate::revocation::Crl;
use crate::x509::trust::{Purpose, TrustBundle, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier};

/// Rules that decide which peers are accepted. Immutable: a reload builds another one.
#[derive(Debug)]
pub struct PeerVerifier {
    chains: ChainVerifier,
    trust_domain: TrustDomain,
    issuers: IssuerRoles,
    /// True if the configured bundle has a single trust anchor. Anchors that are excluded, or that a restriction removed, count.
    only_root: bool,
    cache: ChainCache,
}

impl PeerVerifier {
    /// Accept peers that chain to `trust`, are not revoked, belong to `trust_domain`, and whose issuers may vouch
    /// for their role. Without `revocation`, revoked certificates are accepted.
    #[must_use]
    pub fn new(
        trust: TrustBundle,
        revocation: Option<CrlsInForce>,
        trust_domain: TrustDomain,
        issuers: IssuerRoles,
    ) -> Self {
        let excluded = trust.excluded().iter().filter(|error| error.is_of_anchor()).count();
        let only_root = trust.anchors().len() + excluded == 1;
        let chains = ChainVerifier { trust, revocation };
        Self { chains, trust_domain, issuers, only_root, cache: ChainCache::default() }
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
        // A cached chain that is refused now may have been one of several.
        if let Some(peer) = self.cache.get(key, at).filter(|peer| peer.form == form)
            && self.chains.check_revocation(&peer.chain, at).is_ok()
        {
            return Ok(peer);
        }
        let (chain, identity) = self.verify(leaf, extra_certs, ExpectedPeer::Client, form, at)?;
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

    /// Verify the certificate of a server that was contacted as `host`. Its identity is the SPIFFE ID.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it violates.
    pub fn verify_server(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        host: &Host,
        at: OffsetDateTime,
    ) -> Result<VerifiedServer, PeerError> {
        let expected = ExpectedPeer::Server(host);
        let (chain, identity) = self.verify(leaf, extra_certs, expected, IdentityForm::Spiffe, at)?;
        Ok(VerifiedServer { identity, chain })
    }

    /// Verify a peer by all rules, without the cache.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        expected: ExpectedPeer<'_>,
        form: IdentityForm,
        at: OffsetDateTime,
    ) -> Result<(VerifiedChain, Identity), PeerError> {
        let chain = self.chains.verify_peer(leaf, extra_certs, expected, at)?;
        let identity = self.identify(&chain, form)?;
        Ok((chain, identity))
    }

    /// Verify the certificate of a key that signs access tokens. Its issuer must be one that may vouch for the services
    /// of the cluster.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it violates.
    pub fn verify_token_signer(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        at: OffsetDateTime,
    ) -> Result<VerifiedChain, PeerError> {
        let chain = self.chains.verify(leaf, extra_certs, Purpose::TokenSigning, at)?;
        self.check_issuer(&chain, Role::GATEWAY)?;
        Ok(chain)
    }

    /// Check whether the key of a certificate that was accepted by [`PeerVerifier::verify_token_signer`] may still sign
    /// tokens.
    ///
    /// # Errors
    /// [`Lapse`] when it may not.
    pub fn recheck_token_signer(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Result<(), Lapse> {
        if !self.chains.trust.still_trusts(chain) || self.check_issuer(chain, Role::GATEWAY).is_err() {
            return Err(Lapse::TrustChanged);
        }
        self.check_lapse(chain, at)
    }

    /// Check whether a peer, possibly accepted under an earlier state, may stay connected. An expired CRL does not
    /// end connections; it only keeps new clients from connecting.
    ///
    /// # Errors
    /// [`Lapse`] when it may not.
    pub fn recheck(&self, peer: &Peer, at: OffsetDateTime) -> Result<(), Lapse> {
        let same = |identity| identity == peer.identity;
        if !self.chains.trust.still_trusts(&peer.chain)
            || !self.identify(&peer.chain, peer.form).is_ok_and(same)
        {
            return Err(Lapse::TrustChanged);
        }
        if !peer.is_valid_at(at) {
            return Err(Lapse::Expired);
        }
        self.check_lapse(&peer.chain, at)
    }

    /// Check the revocation of a chain that has been accepted.
    fn check_lapse(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Result<(), Lapse> {
        match self.chains.check_revocation(chain, at) {
            Ok(()) | Err(PeerError::CrlExpired { .. }) => Ok(()),
            // The issuer had a CRL when the peer was accepted: the authority above it is no longer known.
            Err(PeerError::NoCrl { .. }) => Err(Lapse::TrustChanged),
            Err(_) => Err(Lapse::Revoked),
        }
    }

    /// Trust anchors and CRLs in force, for chains that need no identity.
    #[must_use]
    pub const fn chains(&self) -> &ChainVerifier {
        &self.chains
    }

    /// Trust domain of the cluster.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Trust anchors in force.
    #[must_use]
    pub const fn trust(&self) -> &TrustBundle {
        &self.chains.trust
    }

    /// CRLs in force; `None` when revocation is disabled.
    #[must_use]
    pub const fn revocation(&self) -> Option<&CrlsInForce> {
        self.chains.revocation.as_ref()
    }

    /// Copy with other trust anchors and CRLs, and an empty cache.
    #[must_use]
    pub fn with(&self, trust: TrustBundle, revocation: Option<CrlsInForce>) -> Self {
        let next = Self::new(trust, revocation, self.trust_domain.clone(), self.issuers.clone());
        Self { only_root: self.only_root, ..next }
    }

    /// Trust anchors and the intermediate authorities below them.
    pub fn authorities(&self) -> impl Iterator<Item = IssuingAuthority<'_>> {
        self.trust().authorities().map(|(key_identifier, certificate)| IssuingAuthority {
            certificate,
            key_identifier,
            revoked: self.revocation().is_some_and(|crls| crls.set.is_issuer_revoked(key_identifier)),
        })
    }

    /// Every CRL in force.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.revocation().into_iter().flat_map(|crls| crls.set.crls())
    }

    fn identify(&self, chain: &VerifiedChain, form: IdentityForm) -> Result<Identity, PeerError> {
        let identity = form.read(&chain.leaf, &self.trust_domain).map_err(PeerError::Identity)?;
        self.check_issuer(chain, identity.role)?;
        Ok(identity)
    }

    fn check_issuer(&self, chain: &VerifiedChain, role: Role) -> Result<(), PeerError> {
        self.issuers
            .check(chain, role, self.only_root)
            .map_err(|issuer| PeerError::IssuerRole { issuer, role })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::identity::Role;
    use crate::revocation::RevocationSet;
    use crate::x509::testing::{Root, client, now};
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    use rcgen::{ExtendedKeyUsagePurpose, SanType};
    use time::Duration;

    const SERIAL: u64 = 7;

    fn verifier(root: &Root, revoked: Option<&[u64]>) -> PeerVerifier {
        bound(root, revoked, IssuerRoles::default())
    }

    fn bound(root: &Root, revoked: Option<&[u64]>, issuers: IssuerRoles) -> PeerVerifier {
        let crls = revoked.map(|revoked| {
            let crl = root.crl(1, revoked, now());
            CrlsInForce::without_grace(RevocationSet::from_pem(&crl, &root.bundle(), now()).unwrap())
        });
        PeerVerifier::new(root.bundle(), crls, "prod".parse().unwrap(), issuers)
    }

    fn issue(root: &Root, purposes: &[ExtendedKeyUsagePurpose]) -> CertificateDer<'static> {
        let mut params = client(SERIAL);
        params.extended_key_usages = purposes.to_vec();
        params.subject_alt_names = vec![
            SanType::DnsName("gw.example".try_into().unwrap()),
            SanType::URI("spiffe://prod/control-service/gw".try_into().unwrap()),
        ];
        root.issue(&params)
    }

    fn as_client(verifier: &PeerVerifier, leaf: &CertificateDer<'_>) -> &'static str {
        let result = verifier.verify_client(leaf, &[], IdentityForm::Spiffe, now());
        result.map_or_else(|error| error.code(), |_| "accepted")
    }

    fn as_server_at(
        verifier: &PeerVerifier,
        leaf: &CertificateDer<'_>,
        host: &str,
        at: OffsetDateTime,
    ) -> &'static str {
        let result = verifier.verify_server(leaf, &[], &host.parse().unwrap(), at);
        result.map_or_else(|error| error.code(), |_| "accepted")
    }

    fn as_server(verifier: &PeerVerifier, leaf: &CertificateDer<'_>, host: &str) -> &'static str {
        as_server_at(verifier, leaf, host, now())
    }

    #[test]
    fn a_cached_client_certificate_is_refused_from_a_server() {
        let root = Root::new("root");
        let (verifier, leaf) = (verifier(&root, Some(&[])), issue(&root, &[ClientAuth]));
        for _ in 0..2 {
            assert_eq!(as_client(&verifier, &leaf), "accepted");
            assert_eq!(as_server(&verifier, &leaf, "gw.example"), "chain.wrong_purpose");
        }
    }

    #[test]
    fn an_accepted_server_certificate_is_refused_from_a_client() {
        let root = Root::new("root");
        let (verifier, leaf) = (verifier(&root, Some(&[])), issue(&root, &[ServerAuth]));
        for _ in 0..2 {
            assert_eq!(as_server(&verifier, &leaf, "gw.example"), "accepted");
            assert_eq!(as_client(&verifier, &leaf), "chain.wrong_purpose");
        }
    }

    #[test]
    fn a_certificate_for_both_purposes_is_bound_to_its_host_although_cached() {
        let root = Root::new("root");
        let (verifier, leaf) = (verifier(&root, Some(&[])), issue(&root, &[ClientAuth, ServerAuth]));
        assert_eq!(as_client(&verifier, &leaf), "accepted");
        for host in ["other.example", "127.0.0.1"] {
            assert_eq!(as_server(&verifier, &leaf, "gw.example"), "accepted");
            assert_eq!(as_server(&verifier, &leaf, host), "chain.wrong_name");
        }
    }

    #[test]
    fn a_server_is_held_to_revocation_and_to_the_time() {
        let root = Root::new("root");
        let leaf = issue(&root, &[ServerAuth]);
        let revoked = verifier(&root, Some(&[SERIAL]));
        assert_eq!(as_server(&revoked, &leaf, "gw.example"), "revocation.revoked");
        // The status of the certificate comes before its name.
        assert_eq!(as_server(&revoked, &leaf, "other.example"), "revocation.revoked");
        assert_eq!(as_server(&verifier(&root, None), &leaf, "gw.example"), "accepted");
        let current = verifier(&root, Some(&[]));
        for (later, code) in [
            (Duration::days(10) - Duration::SECOND, "accepted"),
            (Duration::days(10), "revocation.crl_expired"),
            (Duration::days(40), "chain.expired"),
        ] {
            assert_eq!(as_server_at(&current, &leaf, "gw.example", now() + later), code, "{later}");
        }
    }

    #[test]
    fn a_server_is_held_to_identity_and_issuer_roles() {
        let root = Root::new("root");
        let leaf = issue(&root, &[ServerAuth]);
        let verified = verifier(&root, None).verify_server(&leaf, &[], &"gw.example".parse().unwrap(), now());
        assert_eq!(verified.unwrap().identity.to_string(), "spiffe://prod/control-service/gw");
        let issuer = root.certificate().subject_key_identifier.unwrap();
        let only = |role| IssuerRoles::new(vec![(issuer.clone(), vec![role])]);
        let bound = |role| as_server(&bound(&root, None, only(role)), &leaf, "gw.example");
        assert_eq!(bound(Role::ControlService), "accepted");
        assert_eq!(bound(Role::ApiUser), "identity.issuer_role");
        let other = PeerVerifier::new(root.bundle(), None, "test".parse().unwrap(), IssuerRoles::default());
        assert_ne!(as_server(&other, &leaf, "gw.example"), "accepted");
    }
}
