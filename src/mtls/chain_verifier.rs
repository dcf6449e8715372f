//! Verification of certificate chains: path to a trust anchor, revocation, host name of a server, in this order.

use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;

use super::crl::CrlsInForce;
use super::error::PeerError;
use crate::identity::Host;
use crate::revocation::RevocationStatus;
use crate::x509::trust::{self, ChainError, Purpose, TrustBundle, VerifiedChain};

/// Trust anchors and CRLs that chains are verified against. Nothing is cached.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    /// Trust anchors.
    pub trust: TrustBundle,
    /// CRLs in force; `None` disables the revocation check.
    pub revocation: Option<CrlsInForce>,
}

/// Side of the connection that a certificate has to be valid for.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedPeer<'a> {
    /// Client, by any address.
    Client,
    /// Server that is contacted by this name or address.
    Server(&'a Host),
}

impl ChainVerifier {
    /// Verify the chain of a peer. A server's leaf must be valid for its host too.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it violates.
    pub fn verify_peer(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        expected: ExpectedPeer<'_>,
        at: OffsetDateTime,
    ) -> Result<VerifiedChain, PeerError> {
        match expected {
            ExpectedPeer::Client => self.verify(leaf, extra_certs, Purpose::Client, at),
            ExpectedPeer::Server(host) => {
                let chain = self.verify(leaf, extra_certs, Purpose::Server, at)?;
                check_host(leaf, host)?;
                Ok(chain)
            }
        }
    }

    /// Verify a chain for `purpose`, without a host name. If a certificate of one path is revoked, another one is tried.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it violates.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        purpose: Purpose,
        at: OffsetDateTime,
    ) -> Result<VerifiedChain, PeerError> {
        let accept = |chain: &VerifiedChain| self.check_revocation(chain, at);
        self.trust.verify_accepted(leaf, extra_certs, purpose, at, accept)
    }

    /// Check that no certificate of `chain` is revoked, each by a CRL in force that covers it.
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
}

fn check_host(leaf: &CertificateDer<'_>, host: &Host) -> Result<(), PeerError> {
    let name = match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Dns(name) => ServerName::try_from(name.as_str()).map_err(|_| ChainError::WrongName),
    };
    name.and_then(|name| trust::verify_host(leaf, &name))
        .map_err(|error| PeerError::Host { error, host: host.clone() })
}
