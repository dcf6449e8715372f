//! Everything that a reload replaces: trust anchors, CRLs, the server certificate, operators.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig as TlsConfig;
use time::OffsetDateTime;

use super::config::ServerConfig;
use super::error::ServerError;
use super::home::OpenedHome;
use crate::ca::{Cluster, ServiceCertificate, TlsPair};
use crate::identity::{AccountRole, Identity};
use crate::keys::PrivateKey;
use crate::keys::Protection;
use crate::mtls::crl::{CrlFiles, CrlsInForce, LastSeenCrls};
use crate::mtls::keys::LoadedKey;
use crate::mtls::tls::{ClientVerifier, ResumptionStore, ServerNames, VerifiedResumption, server_config};
use crate::mtls::{ClientCertificate, IdentityForm, IssuerRoles, Listener, PeerVerifier, ServerCertificate};
use crate::x509::Sha256;

/// Longest time since the full handshake of a resumed session.
const RESUMPTION_AGE: std::time::Duration = std::time::Duration::from_secs(8 * 3_600);

/// State in force.
#[derive(Debug)]
pub(super) struct ServerState {
    /// Requirements for clients: a certificate is optional, and verified if it is presented.
    pub(super) listener: Listener,
    /// DNS names of the server certificate.
    pub(super) names: Arc<ServerNames>,
    /// Configuration for rustls.
    pub(super) tls: Arc<TlsConfig>,
    /// Verifier of clients.
    pub(super) verifier: Arc<PeerVerifier>,
    /// Expiry of the server certificate.
    pub(super) not_after: OffsetDateTime,
    config: ServerConfig,
    service: ServiceCertificate,
    last_seen: LastSeenCrls,
}

impl ServerState {
    /// Load the files of the home for `config`. No CRL is older than those in `previous`.
    ///
    /// # Errors
    /// [`ServerError`] with the first file that fails; then `previous` should stay in force.
    pub(super) fn load(
        home: &OpenedHome,
        config: ServerConfig,
        service: ServiceCertificate,
        sessions: &Arc<ResumptionStore>,
        previous: Option<&Self>,
    ) -> Result<Self, ServerError> {
        let clock = &home.context().clock;
        let at = clock.now();
        let (trust, trust_domain, pair) = home.query_now(|cluster: &Cluster, _| {
            let trust = cluster.trust_bundle(at)?;
            Ok::<_, ServerError>((trust, cluster.trust_domain().clone(), cluster.tls_pair()?))
        })?;
        let crl = [home.home().crl()];
        let before = previous.map(|previous| previous.last_seen.clone()).unwrap_or_default();
        let (set, last_seen) = CrlFiles::read(&crl, &trust, at)?.newest_with(Vec::new(), &trust, &before)?;
        let crls = CrlsInForce::without_grace(set);
        let verifier = PeerVerifier::new(trust, Some(crls), trust_domain, IssuerRoles::default());
        let verifier = Arc::new(verifier);
        let listener = Listener {
            address: config.listen,
            client_certificate: ClientCertificate::Optional,
            identity_form: IdentityForm::Spiffe,
        };
        let own = match &pair {
            // It was checked when it was set, and its CA is not this one.
            Some(TlsPair { certificate, key, .. }) => server_certificate(home, certificate, key)?,
            None => {
                let own = server_certificate(home, &service.certificate, &service.key)?;
                own.check(&verifier, &[listener], at)?;
                own
            }
        };
        let certified = own.key.as_ref().map(|key| Arc::clone(&key.certified));
        let certified = certified.ok_or(crate::mtls::tls::TlsError::KeyUnreadable)?;
        let names = Arc::new(ServerNames::new(certified, &own.leaf));
        let tls = server_config(
            Arc::clone(&names),
            ClientVerifier::new(Arc::clone(&verifier), listener),
            Arc::clone(clock),
            Some(VerifiedResumption {
                sessions: Arc::clone(sessions),
                verifier: Arc::clone(&verifier),
                listener,
                clock: Arc::clone(clock),
                max_age: RESUMPTION_AGE,
            }),
        )?;
        let not_after = own.leaf.not_after;
        Ok(Self { listener, names, tls: Arc::new(tls), verifier, not_after, config, service, last_seen })
    }

    /// Configuration in force.
    pub(super) const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Server certificate and key.
    pub(super) const fn service(&self) -> &ServiceCertificate {
        &self.service
    }

    /// Role of the holder of a certificate; `None` if it may not call the API.
    pub(super) fn role_of(&self, identity: &Identity) -> Option<AccountRole> {
        let is_same = |one: &&super::config::Operator| {
            one.certificate_role == identity.role && one.name == identity.name
        };
        self.config.operators.iter().find(is_same).map(|operator| operator.role)
    }

    /// Files whose change leads to a reload.
    pub(super) fn files(home: &OpenedHome, service: &ServiceCertificate) -> [Box<Path>; 4] {
        let home = home.home();
        let service = service.certificate.clone();
        [home.crl(), home.certificate(), home.server_certificate(), service].map(Into::into)
    }
}

fn server_certificate(
    home: &OpenedHome,
    certificate: &Path,
    key: &Path,
) -> Result<ServerCertificate, ServerError> {
    let key = PrivateKey::unlock(key, home.context().unlock.as_ref())?;
    let fingerprint = Sha256::of(&key.public_key_info());
    let key = LoadedKey::Opened { key: Box::new(key), fingerprint, protection: Protection::None };
    Ok(ServerCertificate::load(certificate, key, None)?)
}
