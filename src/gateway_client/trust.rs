//! Verification of the certificate that a gateway presents.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::list::GatewayEntry;
use crate::error::{Code, Coded};
use crate::identity::{Role, TrustDomain};
use crate::mtls::crl::CrlsInForce;
use crate::mtls::{IssuerRoles, PeerError, PeerVerifier};
use crate::probe::{AtFault, RefusalCause, TrustContext};
use crate::revocation::RevocationSet;
use crate::x509::Certificate;
use crate::x509::trust::TrustBundle;

/// Trust anchors, CRLs and cluster that a gateway's certificate is verified against.
#[derive(Clone, Debug)]
pub struct GatewayTrust {
    verifier: Arc<PeerVerifier>,
    at: OffsetDateTime,
}

impl GatewayTrust {
    /// Trust gateways of `trust_domain` below the anchors of `bundle`, at the time `at`.
    ///
    /// Without `crls`, revoked certificates are accepted. That suffices for answers that can only make the CA more
    /// cautious, such as the CRL numbers asked for before a restore.
    #[must_use]
    pub fn new(
        bundle: TrustBundle,
        crls: Option<RevocationSet>,
        trust_domain: TrustDomain,
        at: OffsetDateTime,
    ) -> Self {
        let crls = crls.map(CrlsInForce::without_grace);
        let verifier = PeerVerifier::new(bundle, crls, trust_domain, IssuerRoles::default());
        Self { verifier: Arc::new(verifier), at }
    }

    /// Trust anchors.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        self.verifier.trust()
    }

    /// Time of verification.
    #[must_use]
    pub const fn at(&self) -> OffsetDateTime {
        self.at
    }

    /// The part that applies to the client's certificate as well.
    pub(super) fn context(&self) -> TrustContext<'_> {
        TrustContext { chains: self.verifier.chains(), at: self.at }
    }

    /// Verify `chain` as that of `gateway` and return its leaf. The leaf must be valid for the host and
    /// belong to a control-service of the cluster.
    ///
    /// The role matters: otherwise the key of any node would suffice to report a CRL as enforced.
    pub(super) fn verify(
        &self,
        gateway: &GatewayEntry,
        chain: &[CertificateDer<'_>],
    ) -> Result<Certificate, RefusalCause> {
        let refused = |code, message| RefusalCause { side: AtFault::Server, code, message };
        let parsed: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
        let parsed = parsed
            .map_err(|error| refused(error.coded(), format!("its certificate cannot be read: {error}")))?;
        let (Some(leaf), Some((leaf_der, extra_certs))) = (parsed.first(), chain.split_first()) else {
            return Err(refused(
                Code::unavailable("gateways.no_certificate"),
                "it presents no certificate".to_owned(),
            ));
        };
        let server = self.verifier.verify_server(leaf_der, extra_certs, gateway.host(), self.at);
        let server = server.map_err(|error| match error {
            PeerError::Identity(_) | PeerError::IssuerRole { .. } => {
                refused(error.coded(), format!("its certificate is refused: {error}"))
            }
            error => RefusalCause::of_server_certificate(leaf, &error),
        })?;
        let identity = server.identity;
        if identity.role != Role::GATEWAY {
            let message = format!("its certificate is that of {identity}, which is not a {}", Role::GATEWAY);
            return Err(refused(Code::unavailable("gateways.wrong_role"), message));
        }
        match &gateway.name {
            Some(name) if *name != identity.name => {
                let message = format!(
                    "its certificate is that of {}/{}, but {name} is expected",
                    identity.role, identity.name
                );
                Err(refused(Code::unavailable("gateways.wrong_name"), message))
            }
            _ => Ok(server.chain.leaf),
        }
    }
}
