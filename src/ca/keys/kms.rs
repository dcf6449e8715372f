//! Key management services for the private keys of a home: configure, replace, rewrap after a key
//! rotation, and remove.
//!
//! A service is tested before any key depends on it. While keys move from one service to another, the
//! configuration contains both, so that every key can be opened after a crash.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::protection::{KeyProtection, ProtectionChange};
use crate::audit::Action;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::error::Coded;
use crate::files;
use crate::keys::kms::vault::VaultService;
use crate::keys::kms::{self, Configuration, KeyWrap, KmsService, SigningService, WrappedKey};
use crate::keys::{Envelope, KeyFile, NewProtection, Protection};
use crate::secret::Secret;

/// Storage of a service's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStorage {
    /// In the configuration, a private file.
    Stored,
    /// Not stored. The user supplies them to each command.
    NotStored,
}

/// Treatment of keys with a service of their own in a rewrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnServiceKeys {
    /// They are left as they are.
    Left,
    /// They are rewrapped by their own service.
    Rewrapped,
    /// They move to the service of the cluster.
    Converted,
}

/// Trust in the server certificates of services.
#[derive(Clone, Debug)]
pub struct ServiceCa {
    /// CA or self-signed certificates, in PEM; `None` for the CAs of the system alone.
    pub pem: Option<String>,
    /// True if the CAs of the system are trusted besides them.
    pub and_system: bool,
    /// True if each service in use must be reached with them first.
    pub is_tested: bool,
}

/// Result of rewrapping one key.
#[derive(Debug, Serialize)]
pub struct Rewrapped {
    /// Path of the key.
    #[serde(serialize_with = "crate::files::as_text")]
    pub key: PathBuf,
    /// Result for this key.
    #[serde(flatten)]
    pub outcome: RewrapOutcome,
}

/// Outcome of rewrapping a key.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RewrapOutcome {
    /// The key is already wrapped as requested.
    AlreadyCurrent,
    /// Rewrapping failed, and the key is unchanged.
    Failed {
        /// Stable error code.
        code: &'static str,
        /// Error message.
        message: String,
    },
    /// The key is rewrapped.
    Rewrapped {
        /// New protection.
        #[serde(flatten)]
        after: Protection,
    },
}

impl Cluster {
    /// Private keys in the home and in `issued/` that a key management service wraps.
    ///
    /// # Errors
    /// [`CaError::File`] if a directory or a key file cannot be read.
    pub fn wrapped_keys(&self) -> Result<Vec<(PathBuf, Envelope)>, CaError> {
        let mut found = Vec::new();
        for directory in [self.home.directory(), &self.home.issued()] {
            for path in files::list(directory)? {
                if path.extension().is_none_or(|extension| extension != "key") || !path.is_file() {
                    continue;
                }
                let contents = files::read(&path, files::SMALL_FILE)?;
                if Envelope::is_like(&contents) {
                    found.push((path, Envelope::parse(&contents)?));
                }
            }
        }
        Ok(found)
    }
}

impl KeyProtection {
    /// Make `service` the cluster's key management service. Wrap the root key and all keys of the
    /// previous service with it. With `convert`, includes keys that have a service of their own.
    ///
    /// # Errors
    /// [`CaError::Kms`] if the service cannot be used; nothing is changed then. After a later failure, both
    /// services remain configured, and every key opens with one of them.
    pub fn set_kms(
        &mut self,
        service: &KmsService,
        secrets: SecretStorage,
        convert: bool,
    ) -> Result<Vec<Rewrapped>, CaError> {
        let path = self.cluster.home.kms();
        let mut configuration = self.configuration()?;
        let wrap = configuration.connect(service)?;
        kms::test_round_trip(wrap.as_ref(), service.address())?;

        let kept = kept(service, secrets);
        let before = configuration.cluster.replace(kept.clone()).filter(|before| *before != kept);
        configuration.previous.extend(before);
        configuration.store(&path)?;
        self.record(Action::KmsSet, "cluster".to_owned(), described(service))?;

        let root = self.cluster.home.key();
        let mut moved = Vec::new();
        if files::occupied(&root) || configuration.signer.is_none() {
            moved.push(self.wrap_with(&root, wrap.as_ref(), service, Action::KmsSet)?);
        }
        let mut converted = Vec::new();
        for (key, envelope) in self.cluster.wrapped_keys()? {
            let key_id = envelope.key_id().to_string();
            let own = configuration.per_key.contains_key(&key_id);
            if convert || !own {
                if key != root {
                    moved.push(self.wrap_with(&key, wrap.as_ref(), service, Action::KmsSet)?);
                }
                converted.push(key_id);
            }
        }
        // All keys are wrapped by the new service. A key stored elsewhere still needs its own.
        configuration.previous.clear();
        configuration.per_key.retain(|key_id, _| !converted.contains(key_id));
        configuration.store(&path)?;
        Ok(moved)
    }

    /// Configure a service for the key in `path` only and wrap the key with it.
    ///
    /// # Errors
    /// See [`KeyProtection::set_kms`].
    pub fn set_kms_of(
        &mut self,
        path: &Path,
        service: &KmsService,
        secrets: SecretStorage,
    ) -> Result<Rewrapped, CaError> {
        let file = self.cluster.home.kms();
        let mut configuration = self.configuration()?;
        let wrap = configuration.connect(service)?;
        kms::test_round_trip(wrap.as_ref(), service.address())?;

        let key = KeyFile::read(path)?;
        let key_id = match &key {
            KeyFile::Envelope(envelope) => envelope.key_id().to_string(),
            other => other.open(path, self.cluster.context.unlock.as_ref())?.key_id().to_string(),
        };
        // An interrupted run may have left other keys between two services.
        let previous = configuration.previous.clone();
        let before = configuration.per_key.insert(key_id, kept(service, secrets));
        configuration.previous.extend(before);
        configuration.store(&file)?;
        let moved = self.wrap_with(path, wrap.as_ref(), service, Action::KmsSet)?;
        configuration.previous = previous;
        configuration.store(&file)?;
        Ok(moved)
    }

    /// Unwrap one key, and forget a service of its own.
    pub(super) fn unwrap_key(
        &mut self,
        path: &Path,
        envelope: &Envelope,
    ) -> Result<ProtectionChange, CaError> {
        let change = self.change_protection(path, NewProtection::None, Action::KmsUnset)?;
        let file = self.cluster.home.kms();
        let mut configuration = Configuration::load(&file)?;
        if configuration.per_key.remove(&envelope.key_id().to_string()).is_some() {
            configuration.store(&file)?;
        }
        Ok(change)
    }

    /// The Vault that signs as the root, with its login.
    ///
    /// # Errors
    /// [`CaError::NoVaultSigner`], or an error of the configuration.
    pub fn vault_signer(&self) -> Result<VaultService, CaError> {
        let stored = Configuration::load(&self.cluster.home.kms())?;
        stored.vault_signer().cloned().ok_or(CaError::NoVaultSigner)
    }

    /// Replace the login to the Vault that signs as the root, after a test signature.
    ///
    /// # Errors
    /// [`CaError::NoVaultSigner`], or the error of the signature. Nothing is changed then.
    pub fn set_vault_signer(&mut self, login: VaultService) -> Result<String, CaError> {
        let path = self.cluster.home.kms();
        let mut configuration = self.configuration()?;
        let Some(SigningService::Vault { vault, .. }) = &mut configuration.signer else {
            return Err(CaError::NoVaultSigner);
        };
        *vault = login;
        let (home, unlock) = (&self.cluster.home, self.cluster.context.unlock.as_ref());
        let root = configuration.root_key(unlock)?.ok_or(CaError::NoVaultSigner)?;
        if root.public_key_info() != self.cluster.root.public_key_info {
            return Err(CaError::KeyMismatch { key: home.kms(), certificate: home.certificate() });
        }
        root.test_signature()?;
        let signer = configuration.signer.as_ref().map(ToString::to_string).unwrap_or_default();
        self.record(Action::KmsSet, "signer".to_owned(), json!({ "signer": &signer }))?;
        configuration.store(&path)?;
        Ok(signer)
    }

    /// Rewrap the keys of the cluster's service after its key was rotated, and those of `own_keys`. `new_key` moves
    /// the keys to another key of the same service. A failure for one key does not stop the others.
    ///
    /// # Errors
    /// [`CaError::Kms`] if no service is configured or the new key cannot be used.
    pub fn rewrap_keys(
        &mut self,
        new_key: Option<&str>,
        own_keys: OwnServiceKeys,
    ) -> Result<Vec<Rewrapped>, CaError> {
        let configured = self.cluster.context.unlock.kms()?;
        let cluster = configured.cluster.as_ref();
        let all = own_keys == OwnServiceKeys::Rewrapped;
        if cluster.is_none() && (!all || configured.per_key.is_empty()) {
            return Err(CaError::NoKms);
        }
        if let (OwnServiceKeys::Converted, Some(service)) = (own_keys, cluster) {
            return self.convert_to_cluster_key(service, new_key, &configured);
        }
        let mut rewrapped = match (new_key, cluster) {
            (Some(new_key), Some(service)) => self.move_to_key(service, new_key)?,
            _ => Vec::new(),
        };
        // Services that were unavailable for an earlier key, so that each timeout occurs only once.
        let mut unavailable_services: Vec<(&KmsService, &'static str)> = Vec::new();
        for (key, envelope) in self.cluster.wrapped_keys()? {
            let own = configured.per_key.get(&envelope.key_id().to_string());
            if own.is_some() && !all || own.is_none() && new_key.is_some() {
                continue;
            }
            let service = own.or(cluster);
            let unavailable =
                unavailable_services.iter().find(|(unavailable, _)| Some(*unavailable) == service);
            let outcome = if let Some((_, code)) = unavailable {
                let message = "not attempted: its service was unavailable for an earlier key".to_owned();
                RewrapOutcome::Failed { code, message }
            } else {
                self.rewrap_by(service, &configured, &key, &envelope).unwrap_or_else(|error| {
                    unavailable_services.extend(
                        service
                            .filter(|_| error.is_temporary())
                            .map(|unavailable| (unavailable, error.code())),
                    );
                    RewrapOutcome::Failed { code: error.code(), message: error.to_string() }
                })
            };
            rewrapped.push(Rewrapped { key, outcome });
        }
        self.finish_move(&rewrapped)?;
        Ok(rewrapped)
    }

    /// Move all keys wrapped by `service`, the cluster's, to another key of the same service.
    fn move_to_key(&mut self, service: &KmsService, new_key: &str) -> Result<Vec<Rewrapped>, CaError> {
        let stored = Configuration::load(&self.cluster.home.kms())?;
        let secrets = if stored.cluster.as_ref() == Some(service) {
            SecretStorage::Stored
        } else {
            SecretStorage::NotStored
        };
        self.set_kms(&service.with_key(new_key)?, secrets, false)
    }

    /// Rewrap the keys of the cluster's service, and move the keys with a service of their own to it.
    fn convert_to_cluster_key(
        &mut self,
        service: &KmsService,
        new_key: Option<&str>,
        configured: &Configuration,
    ) -> Result<Vec<Rewrapped>, CaError> {
        let mut rewrapped = self.rewrap_keys(new_key, OwnServiceKeys::Left)?;
        let path = self.cluster.home.kms();
        let service = new_key.map_or_else(|| Ok(service.clone()), |key| service.with_key(key))?;
        let wrap = configured.connect(&service)?;
        for (key, envelope) in self.cluster.wrapped_keys()? {
            let key_id = envelope.key_id().to_string();
            if !configured.per_key.contains_key(&key_id) {
                continue;
            }
            let moved = self.wrap_with(&key, wrap.as_ref(), &service, Action::KmsRewrap);
            let outcome = match moved {
                Ok(Rewrapped { outcome, .. }) => {
                    let mut stored = Configuration::load(&path)?;
                    stored.per_key.remove(&key_id);
                    stored.store(&path)?;
                    outcome
                }
                Err(error) => RewrapOutcome::Failed { code: error.code(), message: error.to_string() },
            };
            rewrapped.push(Rewrapped { key, outcome });
        }
        Ok(rewrapped)
    }

    fn rewrap_by(
        &mut self,
        service: Option<&KmsService>,
        configured: &Configuration,
        key: &Path,
        envelope: &Envelope,
    ) -> Result<RewrapOutcome, CaError> {
        let service = service.ok_or_else(|| envelope.wrapped().not_configured())?;
        let wrap = configured.connect(service)?;
        match self.rewrap(key, envelope, wrap.as_ref()) {
            // An interrupted move left the key with a former service, whose key may have the same name.
            Err(error) if !configured.previous.is_empty() => {
                let Ok(data_key) = configured.data_key(envelope) else { return Err(error) };
                let old = KeyFile::Envelope(Box::new(envelope.clone()));
                let new = KeyFile::Envelope(Box::new(envelope.wrapped_by(&data_key, wrap.as_ref())?));
                let ProtectionChange { after, .. } = self.replace(key, &old, new, Action::KmsRewrap)?;
                Ok(RewrapOutcome::Rewrapped { after })
            }
            outcome => outcome,
        }
    }

    /// Forget the former services once every key has moved from them: what an interrupted `kms set` left to do.
    fn finish_move(&self, rewrapped: &[Rewrapped]) -> Result<(), CaError> {
        let path = self.cluster.home.kms();
        let mut stored = Configuration::load(&path)?;
        let has_failed = rewrapped.iter().any(|key| matches!(key.outcome, RewrapOutcome::Failed { .. }));
        if stored.previous.is_empty() || has_failed {
            return Ok(());
        }
        stored.previous.clear();
        Ok(stored.store(&path)?)
    }

    /// Remove all key management services. `instead` protects the keys that they wrap. Without it, there
    /// must be no such keys.
    ///
    /// # Errors
    /// [`CaError::KeysWrapped`], [`CaError::NoKms`], or an error of opening a key. Keys before that one
    /// have their new protection already, and the services remain configured.
    pub fn unset_kms(
        &mut self,
        instead: Option<ReplacementProtection<'_>>,
    ) -> Result<Vec<ProtectionChange>, CaError> {
        let path = self.cluster.home.kms();
        let mut configuration = Configuration::load(&path)?;
        if configuration.cluster.is_none() && configuration.per_key.is_empty() {
            return Err(CaError::NoKms);
        }
        let keys: Vec<PathBuf> = self.cluster.wrapped_keys()?.into_iter().map(|(key, _)| key).collect();
        let protection = match instead {
            Some(ReplacementProtection::Nothing) => NewProtection::None,
            Some(ReplacementProtection::Passphrase(passphrase)) => NewProtection::Passphrase(passphrase),
            None if keys.is_empty() => NewProtection::None,
            None => return Err(CaError::KeysWrapped { keys }),
        };
        let mut unwrapped = Vec::with_capacity(keys.len());
        for key in keys {
            unwrapped.push(self.change_protection(&key, protection, Action::KmsUnset)?);
        }
        self.record(Action::KmsUnset, "cluster".to_owned(), json!({}))?;
        configuration.cluster = None;
        configuration.previous.clear();
        configuration.per_key.clear();
        configuration.store(&path)?;
        Ok(unwrapped)
    }

    /// Set the CA for the server certificates of services, after a connection to each service in use.
    ///
    /// # Errors
    /// [`CaError::Kms`] if the PEM contains anything but CA and self-signed certificates, or a service in use cannot be
    /// reached with them. Nothing is changed then.
    pub fn set_service_ca(&mut self, ca: ServiceCa) -> Result<(), CaError> {
        let path = self.cluster.home.kms();
        let mut configuration = Configuration::load(&path)?;
        let fingerprints = ca.pem.as_deref().map(kms::trusted_fingerprints).transpose()?;
        configuration.ca_certificate = ca.pem;
        configuration.and_system_cas = ca.and_system;
        if ca.is_tested {
            configuration.reach_services()?;
        }
        let details = json!({ "service_ca": fingerprints, "and_system_cas": ca.and_system });
        self.record(Action::KmsSet, "ca-cert".to_owned(), details)?;
        Ok(configuration.store(&path)?)
    }

    /// Read the configuration. A CA from [`KeyProtection::default_service_ca`] is part of it if it has none.
    fn configuration(&self) -> Result<Configuration, CaError> {
        let mut configuration = Configuration::load(&self.cluster.home.kms())?;
        if configuration.ca_certificate.is_none() {
            configuration.ca_certificate.clone_from(&self.default_service_ca);
        }
        Ok(configuration)
    }

    /// Use `pem` as the CA for the server certificates of services if none is set. It is stored together with the
    /// service that is set next.
    ///
    /// # Errors
    /// [`CaError::Kms`] if `pem` contains anything but CA and self-signed certificates.
    pub fn default_service_ca(&mut self, pem: String) -> Result<(), CaError> {
        kms::trusted_fingerprints(&pem)?;
        self.default_service_ca = Some(pem);
        Ok(())
    }

    /// Wrap the key in `path` with `service`, from any protection.
    fn wrap_with(
        &mut self,
        path: &Path,
        wrap: &dyn KeyWrap<WrappedKey>,
        service: &KmsService,
        action: Action,
    ) -> Result<Rewrapped, CaError> {
        let old = KeyFile::read(path)?;
        let KeyFile::Envelope(envelope) = &old else {
            let ProtectionChange { key, after, .. } =
                self.change_protection(path, NewProtection::Kms(wrap), action)?;
            return Ok(Rewrapped { key, outcome: RewrapOutcome::Rewrapped { after } });
        };
        // The same key at another address, or an interrupted run: already wrapped by the service.
        if service.has_wrapped(envelope.wrapped()) && envelope.data_key(wrap).is_ok() {
            return Ok(Rewrapped { key: path.to_owned(), outcome: RewrapOutcome::AlreadyCurrent });
        }
        let data_key = self.cluster.context.unlock.kms()?.data_key(envelope)?;
        let new = KeyFile::Envelope(Box::new(envelope.wrapped_by(&data_key, wrap)?));
        let ProtectionChange { key, after, .. } = self.replace(path, &old, new, action)?;
        Ok(Rewrapped { key, outcome: RewrapOutcome::Rewrapped { after } })
    }

    fn rewrap(
        &mut self,
        path: &Path,
        envelope: &Envelope,
        wrap: &dyn KeyWrap<WrappedKey>,
    ) -> Result<RewrapOutcome, CaError> {
        let Some(new) = envelope.rewrapped(wrap)? else { return Ok(RewrapOutcome::AlreadyCurrent) };
        let old = KeyFile::Envelope(Box::new(envelope.clone()));
        let new = KeyFile::Envelope(Box::new(new));
        let ProtectionChange { after, .. } = self.replace(path, &old, new, Action::KmsRewrap)?;
        Ok(RewrapOutcome::Rewrapped { after })
    }
}

/// Protection that replaces a key management service.
#[derive(Clone, Copy, Debug)]
pub enum ReplacementProtection<'a> {
    /// File permissions only.
    Nothing,
    /// Encryption with a passphrase (PKCS#8).
    Passphrase(&'a Secret),
}

fn kept(service: &KmsService, secrets: SecretStorage) -> KmsService {
    match secrets {
        SecretStorage::Stored => service.clone(),
        SecretStorage::NotStored => service.without_secrets(),
    }
}

/// Description of a service for the audit chain, without secrets.
fn described(service: &KmsService) -> serde_json::Value {
    json!({ "kms": service.kind(), "address": service.address(), "key": service.key() })
}
