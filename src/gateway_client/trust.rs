//! The judgement of the certificate that a gateway presents.

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::list::Gateway;
use crate::identity::{Identity, Role, TrustDomain};
use crate::probe::{Cause, Judge, Side};
use crate::revocation::RevocationSet;
use crate::x509::Certificate;
use crate::x509::trust::TrustBundle;

/// Whom to believe.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The roots.
    pub bundle: TrustBundle,
    /// Who has been revoked. `None` believes a gateway whose certificate may have been: enough to ask it
    /// for what can only add to our caution.
    pub crls: Option<RevocationSet>,
    /// The cluster.
    pub trust_domain: TrustDomain,
    /// When.
    pub at: OffsetDateTime,
}

impl Trust {
    pub(super) fn judge(&self) -> Judge<'_> {
        Judge { bundle: &self.bundle, crls: self.crls.as_ref(), at: self.at }
    }

    /// Why what a server presents is not the certificate of `gateway`: it has to hold for the host, and to
    /// be that of a control service of this cluster. Any other certificate of the cluster, a node's
    /// above all, would do for whoever holds its key to say that a list is enforced.
    pub(super) fn refusal(
        &self,
        gateway: &Gateway,
        chain: &[CertificateDer<'_>],
    ) -> Result<Certificate, Cause> {
        let refused = |code, message| Cause { side: Side::Server, code, message };
        let chain: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
        let chain = chain
            .map_err(|error| refused(error.code(), format!("its certificate cannot be read: {error}")))?;
        if let Some(cause) = self.judge().server(gateway.host(), &chain) {
            return Err(cause);
        }
        let Some(leaf) = chain.into_iter().next() else {
            return Err(refused("gateways.no_certificate", "it presents no certificate".to_owned()));
        };
        let identity = Identity::of_certificate(&leaf, &self.trust_domain)
            .map_err(|refusal| refused(refusal.code(), format!("its certificate is refused: {refusal}")))?;
        if identity.role != Role::ControlService {
            let message = format!("it is the {identity}, and no control-service");
            return Err(refused("gateways.wrong_role", message));
        }
        match &gateway.name {
            Some(name) if *name != identity.name => {
                let message =
                    format!("it is {}/{}, and not the {name} that is expected", identity.role, identity.name);
                Err(refused("gateways.wrong_name", message))
            }
            _ => Ok(leaf),
        }
    }
}
