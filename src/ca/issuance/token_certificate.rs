//! Certificate of the key that signs access tokens and the statement about them.
//!
//! It is no certificate of an identity: its only purpose is the signing of tokens, and its name is the issuer of the
//! tokens. So it lets in neither a client nor a server, and stands in the audit chain instead of among the issued
//! certificates. A gateway prefers the newer one of two, so that a new key puts an old one out of use.

use rcgen::SubjectPublicKeyInfo;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::certificate_builder::{TokenCertificatePlan, public_key, sign_token_signer};
use crate::audit::{Action, Outcome};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::clock::rfc3339;
use crate::files::{self, Access, Placement};
use crate::tokens::TokenScope;
use crate::x509::{Certificate, SerialNumber, Sha256, Signed, pem};

/// Validity.
const VALIDITY: Duration = Duration::days(90);

/// Time before the end at which it is renewed.
const RENEWED_BEFORE: Duration = Duration::days(30);

/// Tolerance for slow clocks.
const BACKDATED: Duration = Duration::minutes(5);

impl Cluster {
    /// The certificate of the key for tokens, with this public key, as it is in the home. `None` without one that the
    /// root has signed and that is valid now.
    ///
    /// # Errors
    /// [`CaError`] if the file cannot be read.
    pub fn token_certificate(&self, public_key_info: &[u8]) -> Result<Option<Certificate>, CaError> {
        let path = self.home.token_certificate();
        let bytes = match files::read(&path, files::SMALL_FILE) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read?,
        };
        let Some(certificate) = pem::certificates(&bytes).ok().and_then(|all| all.into_iter().next()) else {
            return Ok(None);
        };
        let is_signed = Signed::from_der(&certificate.der)
            .is_ok_and(|signed| signed.verify(&self.root().public_key_info).is_ok());
        let is_current = certificate.not_before <= self.now() && self.now() < certificate.not_after;
        let is_usable = is_signed && is_current && certificate.public_key_info == public_key_info;
        Ok(is_usable.then_some(certificate))
    }
}

impl Authority {
    /// Return a valid certificate of the key for tokens with this public key. Issue one if there is none, or if the
    /// renewal of the present one is due.
    ///
    /// # Errors
    /// [`CaError`], above all if the root is not valid.
    pub fn ensure_token_certificate(&mut self, public_key_info: &[u8]) -> Result<Certificate, CaError> {
        let now = self.cluster.now();
        let present = self.cluster.token_certificate(public_key_info)?;
        if let Some(present) = present.filter(|present| now < present.not_after - RENEWED_BEFORE) {
            return Ok(present);
        }
        self.check_root_is_valid()?;
        let key: SubjectPublicKeyInfo = public_key(public_key_info)?;
        let serial_number = SerialNumber::random(self.cluster.context.entropy.as_ref())?;
        let not_before = (now - BACKDATED).max(self.cluster.root().not_before);
        let not_after = (now + VALIDITY).min(self.cluster.root().not_after);
        self.record_token_certificate(public_key_info, serial_number, not_after)?;
        let scope = TokenScope::of(self.cluster.trust_domain());
        let signer = TokenCertificatePlan {
            organizational_unit: self.cluster.facts().uuid.to_string(),
            issuer: scope.issuer(),
            not_before,
            not_after,
        };
        let certificate = sign_token_signer(&signer, serial_number, &key, self.cluster.root(), &self.signer)?;
        let text = pem::pem(pem::ObjectKind::Certificate.label(), &certificate.der);
        let path = self.cluster.home.token_certificate();
        files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?;
        Ok(certificate)
    }

    /// Record the certificate before it is signed.
    fn record_token_certificate(
        &mut self,
        public_key_info: &[u8],
        serial_number: SerialNumber,
        not_after: OffsetDateTime,
    ) -> Result<(), CaError> {
        let details = json!({
            "key_id": Sha256::of(public_key_info),
            "certificate": serial_number,
            "not_after": rfc3339(not_after),
        });
        let provenance = self.cluster.context.provenance(None);
        let target = self.cluster.home.token_certificate().display().to_string();
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.record(Action::TokenKey, target, Outcome::Success, details)?.commit()?;
        Ok(())
    }
}
