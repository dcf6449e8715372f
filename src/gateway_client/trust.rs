//! Verification of the certificate that a gateway presents.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::list::GatewayEntry;
use crate::error::{Code, Coded};
use crate::identity::{Identity, Role, TrustDomain};
use crate::probe::{AtFault, RefusalCause, TrustContext};
use crate::revocation::RevocationSet;
use crate::x509::Certificate;
use crate::x509::trust::TrustBundle;

/// Trust anchors, CRLs and cluster that a gateway's certificate is verified against.
#[derive(Clone, Debug)]
pub struct GatewayTrust {
    /// Trust anchors.
    pub bundle: TrustBundle,
    /// CRLs in force. `None` accepts revoked certificates. That suffices for answers that can only make
    /// the CA more cautious, such as the CRL numbers asked for before a restore.
    pub crls: Option<RevocationSet>,
    /// Trust domain of the cluster.
    pub trust_domain: TrustDomain,
    /// Time of verification.
    pub at: OffsetDateTime,
}

impl GatewayTrust {
    /// The part that applies to the client's certificate as well.
    pub(super) fn context(&self) -> TrustContext<'_> {
        TrustContext { bundle: &self.bundle, crls: self.crls.as_ref(), at: self.at }
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
        let chain: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
        let chain = chain
            .map_err(|error| refused(error.coded(), format!("its certificate cannot be read: {error}")))?;
        if let Some(cause) = self.context().check_server(gateway.host(), &chain) {
            return Err(cause);
        }
        let Some(leaf) = chain.into_iter().next() else {
            return Err(refused(
                Code::unavailable("gateways.no_certificate"),
                "it presents no certificate".to_owned(),
            ));
        };
        let identity = Identity::of_certificate(&leaf, &self.trust_domain)
            .map_err(|refusal| refused(refusal.coded(), format!("its certificate is refused: {refusal}")))?;
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
            _ => Ok(leaf),
        }
    }
}
