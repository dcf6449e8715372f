//! `kms.json`: the key management services in use, with their secrets, in one private file (0600). It is
//! written whole. Without it no envelope opens; a copy of it opens envelopes on another machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::credential::{Credential, MissingSecret};
use super::error::KmsError;
use super::key_wrap::KeyWrap;
use super::login_end::LoginEnd;
use super::pkcs11::PinProvider;
use super::registry::{KmsService, WrappedKey};
use super::signing_service::SigningService;
use super::trust_anchors::KmsTrustAnchors;
use super::vault::VaultService;
use crate::files::{self, Access, Placement};
use crate::keys::data_key::DataKey;
use crate::keys::envelope::Envelope;
use crate::keys::error::KeyError;
use crate::keys::private_key::PrivateKey;
use crate::secret::Secret;
use crate::x509::Sha256;

/// Current format of the file.
const VERSION: u32 = 1;

/// Key management services of a cluster, with their secrets: the contents of `kms.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    cluster_ca_kms: u32,
    /// CA for the server certificates of all services, in PEM; without it, the system's trust store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// True if the CAs of the system are trusted besides that one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub and_system_cas: bool,
    /// The service of the cluster. It wraps every key without a service of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<KmsService>,
    /// Earlier services of the cluster, until every key has moved to the new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<KmsService>,
    /// Service or token that holds the root key and signs with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SigningService>,
    /// Services of single keys, by key id (SHA-256 of the SubjectPublicKeyInfo, in hex).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", rename = "own")]
    pub per_key: BTreeMap<String, KmsService>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            cluster_ca_kms: VERSION,
            ca_certificate: None,
            and_system_cas: false,
            cluster: None,
            previous: Vec::new(),
            signer: None,
            per_key: BTreeMap::new(),
        }
    }
}

impl Configuration {
    /// Read the configuration; a missing file is an empty configuration.
    ///
    /// # Errors
    /// [`KmsError::File`], notably for a file that other users can read, and [`KmsError::Configuration`].
    pub fn load(path: &Path) -> Result<Self, KmsError> {
        match files::read_private(path) {
            Err(error) if error.is_missing() => Ok(Self::default()),
            contents => Self::parse(&contents?),
        }
    }

    /// Parse the contents of `kms.json`.
    ///
    /// # Errors
    /// [`KmsError::Configuration`].
    pub fn parse(contents: &Secret) -> Result<Self, KmsError> {
        let found: Self = serde_json::from_slice(contents.expose()).map_err(|error| {
            // Only the position: serde's message may quote a secret.
            let why = format!("line {}, column {}", error.line(), error.column());
            KmsError::Configuration { why }
        })?;
        if found.cluster_ca_kms == VERSION {
            return Ok(found);
        }
        let why = format!("its format is {}; this program supports format {VERSION}", found.cluster_ca_kms);
        Err(KmsError::Configuration { why })
    }

    /// Write the configuration to a private file (0600), replacing it atomically.
    ///
    /// # Errors
    /// [`KmsError::File`].
    pub fn store(&self, path: &Path) -> Result<(), KmsError> {
        Ok(files::write(path, Access::Private, Placement::Replace, self.to_text()?.expose())?)
    }

    /// Serialize the configuration as it is stored.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] if it cannot be serialized.
    pub fn to_text(&self) -> Result<Secret, KmsError> {
        let unwritable = |error: serde_json::Error| KmsError::Configuration { why: error.to_string() };
        // One allocation: growing would leave copies of the secrets behind.
        let mut text = Vec::with_capacity(64 << 10);
        serde_json::to_writer_pretty(&mut text, self).map_err(unwritable)?;
        text.push(b'\n');
        Ok(Secret::new(text))
    }

    /// Every service that may have wrapped the key, the most likely first.
    fn services_for(&self, key_id: &Sha256) -> impl Iterator<Item = &KmsService> {
        let per_key = self.per_key.get(&key_id.to_string());
        per_key.into_iter().chain(&self.cluster).chain(&self.previous)
    }

    /// The most likely service that has wrapped an envelope's data key.
    fn service_of(&self, envelope: &Envelope) -> Option<&KmsService> {
        self.services_for(envelope.key_id()).find(|service| service.has_wrapped(envelope.wrapped()))
    }

    /// Unwrap the data key of an envelope with the first service that succeeds.
    ///
    /// # Errors
    /// [`KmsError::NotConfigured`], or the error of the first service that has wrapped it.
    pub fn data_key(&self, envelope: &Envelope) -> Result<DataKey, KmsError> {
        let mut first_error = None;
        for service in self.services_for(envelope.key_id()) {
            if !service.has_wrapped(envelope.wrapped()) {
                continue;
            }
            match self.connect(service).and_then(|kms| envelope.data_key(kms.as_ref())) {
                Ok(data_key) => return Ok(data_key),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| envelope.wrapped().not_configured()))
    }

    /// Renew the login to the service that has wrapped an envelope, and return the time until the next
    /// renewal. `None` if there is nothing to renew.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn renew_login(&self, envelope: &Envelope) -> Result<Option<Duration>, KmsError> {
        match self.service_of(envelope) {
            Some(service) => self.connect(service)?.renew_login(),
            None => Ok(None),
        }
    }

    /// A configuration that opens one envelope and no other, for the machine that uses the key.
    ///
    /// # Errors
    /// [`KmsError::NotConfigured`] if no service here has wrapped it.
    pub fn for_envelope(&self, envelope: &Envelope) -> Result<Self, KmsError> {
        let service = self.service_of(envelope).ok_or_else(|| envelope.wrapped().not_configured())?;
        Ok(Self {
            ca_certificate: self.ca_certificate.clone(),
            and_system_cas: self.and_system_cas,
            cluster: Some(service.clone()),
            ..Self::default()
        })
    }

    /// Client of `service`, with the trust anchors configured for it. Nothing is sent yet.
    ///
    /// # Errors
    /// [`KmsError::CaCertificate`], [`KmsError::CredentialMissing`].
    pub fn connect(&self, service: &KmsService) -> Result<Box<dyn KeyWrap<WrappedKey>>, KmsError> {
        service.connect(&self.trust_anchors(service.ca_certificate())?)
    }

    /// Connect to each service whose server certificate `ca_certificate` is for, without a login.
    ///
    /// # Errors
    /// [`KmsError::CertificateUntrusted`], or the first other failure of a connection.
    pub fn reach_services(&self) -> Result<(), KmsError> {
        let signer = self.vault_signer().cloned().map(KmsService::from);
        let services = self.cluster.iter().chain(&self.previous).chain(self.per_key.values()).chain(&signer);
        let anchors = self.trust_anchors(None)?;
        let mut reached: Vec<&str> = Vec::new();
        for service in services.filter(|service| service.ca_certificate().is_none()) {
            if !reached.contains(&service.address()) {
                service.reach(&anchors)?;
                reached.push(service.address());
            }
        }
        Ok(())
    }

    /// The login to each service whose secrets are stored, with its end. A login that can be renewed is renewed.
    #[must_use]
    pub fn logins(&self) -> Vec<ServiceLogin> {
        let signer = self.vault_signer().cloned().map(KmsService::from);
        let services = self.cluster.iter().chain(&self.previous).chain(self.per_key.values()).chain(&signer);
        let mut found: Vec<ServiceLogin> = Vec::new();
        for service in services.filter(|service| service.has_secrets()) {
            // One deadline for each service that does not answer, however many logins it has.
            let is_known = |login: &ServiceLogin| {
                let is_away = login.end.as_ref().is_err_and(KmsError::is_temporary);
                login.service == *service || is_away && login.service.address() == service.address()
            };
            if found.iter().any(is_known) {
                continue;
            }
            let end = self.connect(service).and_then(|kms| kms.login_end());
            found.push(ServiceLogin { service: service.clone(), end });
        }
        found
    }

    /// The Vault that signs as the root.
    #[must_use]
    pub fn vault_signer(&self) -> Option<&VaultService> {
        match &self.signer {
            Some(SigningService::Vault { vault, .. }) => Some(vault),
            _ => None,
        }
    }

    /// The non-exportable root key; `None` if no service or token holds it.
    ///
    /// # Errors
    /// [`KeyError::Kms`] if the service or token cannot be used.
    pub fn root_key(&self, pins: &dyn PinProvider) -> Result<Option<PrivateKey>, KeyError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        PrivateKey::remote(signer.connect(|| self.trust_anchors(None), pins)?).map(Some)
    }

    /// Select the newest version of a Vault key as the root key.
    ///
    /// # Errors
    /// [`KmsError`] if the key cannot be used.
    pub fn sign_with(&mut self, vault: VaultService) -> Result<(), KmsError> {
        self.signer = Some(SigningService::newest(vault, &self.trust_anchors(None)?)?);
        Ok(())
    }

    /// Trust anchors for a service: `own`, or those of all services.
    fn trust_anchors(&self, own: Option<&str>) -> Result<KmsTrustAnchors, KmsError> {
        match own {
            Some(_) => KmsTrustAnchors::from_pem(own, false),
            None => KmsTrustAnchors::from_pem(self.ca_certificate.as_deref(), self.and_system_cas),
        }
    }

    /// Every secret that is needed and not stored, with its place, to be filled in.
    pub fn missing_secrets(&mut self) -> impl Iterator<Item = (MissingSecret, &mut Option<Credential>)> {
        let services = self.cluster.iter_mut().chain(&mut self.previous).chain(self.per_key.values_mut());
        let signer = self.signer.as_mut().and_then(SigningService::missing_secret);
        services.filter_map(KmsService::missing_secret).chain(signer)
    }
}

/// Login to one service.
#[derive(Debug)]
pub struct ServiceLogin {
    /// Configuration that the login is part of.
    pub service: KmsService,
    /// End of the login, or the failure to look it up.
    pub end: Result<LoginEnd, KmsError>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Coded;

    fn read(signer: &Value) -> Result<Configuration, KmsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kms.json");
        let text = json!({ "cluster_ca_kms": 1, "signer": signer }).to_string();
        files::write(&path, Access::Private, Placement::New, text.as_bytes()).unwrap();
        Configuration::load(&path)
    }

    fn vault() -> Value {
        json!({
            "address": "https://vault.example.com:8200",
            "key": "root-key",
            "transit_path": "transit",
            "credentials": { "token": "hvs.secret" },
        })
    }

    fn token_key() -> Value {
        json!({ "uri": "pkcs11:token=prod;object=root?module-path=/usr/lib/token.so", "pin": "4711" })
    }

    #[test]
    fn a_vault_signer_keeps_its_serialized_form() {
        let old = json!({ "vault": vault(), "version": 3 });
        let configuration = read(&old).unwrap();
        let Some(SigningService::Vault { vault, version: 3 }) = &configuration.signer else {
            panic!("{configuration:?}");
        };
        assert_eq!(vault.key.as_str(), "root-key");
        let written: Value = serde_json::from_slice(configuration.to_text().unwrap().expose()).unwrap();
        assert_eq!(written["signer"], old);
    }

    #[test]
    fn a_token_signer_keeps_its_serialized_form_and_hides_its_pin() {
        let configuration = read(&json!({ "pkcs11": token_key() })).unwrap();
        let written: Value = serde_json::from_slice(configuration.to_text().unwrap().expose()).unwrap();
        assert_eq!(written["signer"], json!({ "pkcs11": token_key() }));
        let signer = configuration.signer.unwrap();
        assert!(!format!("{signer} {signer:?}").contains("4711"), "{signer:?}");
        // The PIN may be absent: it is asked for at login.
        let uri = token_key()["uri"].clone();
        assert!(read(&json!({ "pkcs11": { "uri": uri, "pin": null } })).is_ok());
    }

    #[test]
    fn a_malformed_signer_is_refused_without_quoting_its_secrets() {
        let mut bad_uri = token_key();
        bad_uri["uri"] = json!("pkcs11:object=root?module-path=/usr/lib/token.so&pin-value=4711");
        for bad in [
            json!({}),
            json!({ "vault": vault() }),
            json!({ "version": 3 }),
            json!({ "vault": vault(), "version": 3, "pkcs11": token_key() }),
            json!({ "pkcs11": token_key(), "version": 3 }),
            json!({ "pkcs11": bad_uri }),
            json!({ "pkcs11": { "uri": "vault:root-key", "pin": null } }),
            json!({ "pkcs12": token_key() }),
            json!("4711"),
        ] {
            let error = read(&bad).unwrap_err();
            assert_eq!(error.code(), "kms.configuration", "{bad}");
            assert!(!format!("{error} {error:?}").contains("4711"), "{error:?}");
        }
    }
}
