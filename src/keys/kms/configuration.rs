//! Which key management services are used: one private file, written whole, without which no
//! envelope opens. It may be copied to the machine that opens a key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::kmip::Kmip;
use super::pkcs11::{Pkcs11Error, TokenKey};
use super::trust::Trust;
use super::vault::{Transit, TransitSigner};
use super::{
    KeyName, KeyWrap, KmipAddress, KmsError, MountPath, Namespace, UniqueIdentifier, VaultAddress, Wrapped,
};
use crate::files::{self, Access, Placement};
use crate::keys::envelope::{DataKey, Envelope};
use crate::keys::held::DigestSigner;
use crate::keys::{KeyError, PrivateKey, Unlock};
use crate::secret::Secret;
use crate::x509::Sha256;

/// The present format.
const VERSION: u32 = 1;

/// The services and what is known of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    cluster_ca_kms: u32,
    /// The CA that services' certificates must come from, in PEM; the system's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// The service of the cluster: it wraps every key that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Service>,
    /// The services before that, for as long as keys are on their way from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Service>,
    /// The service or token that holds the root's key itself, and signs by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SigningService>,
    /// Services of single keys, by the SHA-256 of their public half.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<String, Service>,
}

/// A service and the key there that wraps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kms", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Service {
    /// A KMIP server.
    Kmip(KmipService),
    /// The Transit engine of a Vault or an OpenBao.
    Vault(VaultService),
}

/// What holds the root's key and signs by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignerFields", into = "SignerFields")]
#[non_exhaustive]
pub enum SigningService {
    /// A PKCS#11 token.
    Pkcs11(TokenKey),
    /// A key of a Transit engine.
    Vault {
        /// The engine and its key.
        vault: VaultService,
        /// The version of the key: a rotation there makes another key, and the root has this one.
        version: u64,
    },
}

/// [`SigningService`] as it is written: the kind is told by which field is there. No tag, as the first
/// form had none; and its secrets go straight into their zeroized places, which a tagged form would not do.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pkcs11: Option<TokenKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault: Option<VaultService>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl TryFrom<SignerFields> for SigningService {
    type Error = &'static str;

    fn try_from(fields: SignerFields) -> Result<Self, Self::Error> {
        match fields {
            SignerFields { pkcs11: Some(key), vault: None, version: None } => Ok(Self::Pkcs11(key)),
            SignerFields { pkcs11: None, vault: Some(vault), version: Some(version) } => {
                Ok(Self::Vault { vault, version })
            }
            _ => Err("a signer is either a pkcs11 key or a vault with a version"),
        }
    }
}

impl From<SigningService> for SignerFields {
    fn from(service: SigningService) -> Self {
        match service {
            SigningService::Pkcs11(key) => Self { pkcs11: Some(key), vault: None, version: None },
            SigningService::Vault { vault, version } => {
                Self { pkcs11: None, vault: Some(vault), version: Some(version) }
            }
        }
    }
}

impl fmt::Display for SigningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkcs11(key) => key.uri.fmt(f),
            Self::Vault { vault, version } => {
                write!(f, "vault key {}, version {version}, at {}", vault.key, vault.address)
            }
        }
    }
}

/// A key of a KMIP server, and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmipService {
    /// Where the server is.
    pub address: KmipAddress,
    /// The UID of the wrapping key.
    pub key: UniqueIdentifier,
    /// The certificate chain by which the server knows us, in PEM.
    pub client_certificate: String,
    /// Its private key, in PEM.
    pub client_key: Credential,
    /// The CA that this server's certificate must come from, in PEM; that of all services otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
}

/// A key of a Transit engine, and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultService {
    /// Where the Vault is.
    pub address: VaultAddress,
    /// The wrapping key.
    pub key: KeyName,
    /// The namespace of the engine and of the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Where the Transit engine is mounted.
    pub transit_path: MountPath,
    /// How to log in.
    pub credentials: VaultCredentials,
}

/// How to log in to a Vault. A secret that is not kept is none here and is supplied at each use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultCredentials {
    /// A role and its secret; each run logs in anew.
    AppRole(AppRole),
    /// A token, renewed when half of its life is over.
    Token(Option<Credential>),
}

/// A role of the AppRole method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// Where the method is mounted below `auth/`.
    pub auth_path: MountPath,
    /// The role.
    pub role_id: String,
    /// Its secret.
    pub secret_id: Option<Credential>,
}

/// A token or the like: zeroized when dropped, never shown, written to the private file alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(Zeroizing<String>);

impl Credential {
    /// Takes over the text of a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether a text can be such a secret: it is sent in a header, where anything but printable ASCII
    /// is a mistake.
    #[must_use]
    pub fn is_sound(text: &str) -> bool {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
    }

    /// The first line of a file that its owner alone may read.
    ///
    /// # Errors
    /// [`KmsError::File`], and [`KmsError::CredentialUnreadable`] for a line that holds no such secret.
    pub fn from_file(path: &Path) -> Result<Self, KmsError> {
        let contents = files::read_private(path)?;
        let line = contents.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
        match std::str::from_utf8(line.trim_ascii()) {
            Ok(text) if Self::is_sound(text) => Ok(Self::new(text.to_owned())),
            _ => Err(KmsError::CredentialUnreadable { path: path.to_owned() }),
        }
    }

    /// The PIN of a token.
    ///
    /// # Errors
    /// [`Pkcs11Error::PinUnreadable`] for one that is not text.
    pub fn from_pin(pin: &Secret) -> Result<Self, KmsError> {
        match std::str::from_utf8(pin.expose()) {
            Ok(text) => Ok(Self::new(text.to_owned())),
            Err(_) => Err(Pkcs11Error::PinUnreadable { from: "what was given".to_owned() }.into()),
        }
    }

    /// A private key in PEM, from a file that its owner alone may read.
    ///
    /// # Errors
    /// [`KmsError::File`], and [`KmsError::ClientCertificate`] for anything but one private key.
    pub fn from_pem_file(path: &Path) -> Result<Self, KmsError> {
        let contents = files::read_private(path)?;
        let bad = |why: String| KmsError::ClientCertificate { why };
        PrivateKey::from_pem(&contents).map_err(|error| bad(error.to_string()))?;
        let text = std::str::from_utf8(contents.expose()).map_err(|error| bad(error.to_string()))?;
        Ok(Self::new(text.to_owned()))
    }

    /// The secret itself, for the call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            cluster_ca_kms: VERSION,
            ca_certificate: None,
            cluster: None,
            previous: Vec::new(),
            signer: None,
            own: BTreeMap::new(),
        }
    }
}

impl Configuration {
    /// Reads the configuration; without a file there is an empty one.
    ///
    /// # Errors
    /// [`KmsError::File`], above all when others could read it, and [`KmsError::Configuration`].
    pub fn load(path: &Path) -> Result<Self, KmsError> {
        match files::read_private(path) {
            Err(error) if error.is_missing() => Ok(Self::default()),
            contents => Self::parse(&contents?),
        }
    }

    /// The configuration in what its file holds.
    ///
    /// # Errors
    /// [`KmsError::Configuration`].
    pub fn parse(contents: &Secret) -> Result<Self, KmsError> {
        let found: Self = serde_json::from_slice(contents.expose()).map_err(|error| {
            // The library's own words may quote what it found, which may be a secret.
            let why = format!("line {}, column {}", error.line(), error.column());
            KmsError::Configuration { why }
        })?;
        if found.cluster_ca_kms == VERSION {
            return Ok(found);
        }
        let why = format!("it is of format {}; this program knows format {VERSION}", found.cluster_ca_kms);
        Err(KmsError::Configuration { why })
    }

    /// Writes the configuration, private from its first byte.
    ///
    /// # Errors
    /// [`KmsError::File`].
    pub fn store(&self, path: &Path) -> Result<(), KmsError> {
        Ok(files::write(path, Access::Private, Placement::Replace, self.to_text()?.expose())?)
    }

    /// The configuration as it is written to its file.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] when it cannot be encoded, which no configuration of ours causes.
    pub fn to_text(&self) -> Result<Secret, KmsError> {
        let unwritable = |error: serde_json::Error| KmsError::Configuration { why: error.to_string() };
        // One allocation: its secrets are not left behind in a smaller one.
        let mut text = Vec::with_capacity(64 << 10);
        serde_json::to_writer_pretty(&mut text, self).map_err(unwritable)?;
        text.push(b'\n');
        Ok(Secret::new(text))
    }

    /// Every service in it that could have wrapped a key, the likeliest first.
    fn services_for(&self, key_id: &Sha256) -> impl Iterator<Item = &Service> {
        let own = self.own.get(&key_id.to_string());
        own.into_iter().chain(&self.cluster).chain(&self.previous)
    }

    /// Unwraps the data key of an envelope with the first service that can.
    ///
    /// # Errors
    /// [`KmsError::NotConfigured`], or what the first of the services that should have been able says.
    pub fn data_key(&self, envelope: &Envelope) -> Result<DataKey, KmsError> {
        let mut first_error = None;
        for service in self.services_for(envelope.key_id()) {
            if !service.wrapped(envelope.wrapped()) {
                continue;
            }
            match self.connect(service).and_then(|kms| envelope.data_key(kms.as_ref())) {
                Ok(data_key) => return Ok(data_key),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| KmsError::not_configured(envelope.wrapped())))
    }

    /// Prolongs the login to the service that wrapped an envelope; says when to come again.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn keep_login(&self, envelope: &Envelope) -> Result<Option<Duration>, KmsError> {
        let mut services = self.services_for(envelope.key_id());
        match services.find(|service| service.wrapped(envelope.wrapped())) {
            Some(service) => self.connect(service)?.keep_login(),
            None => Ok(None),
        }
    }

    /// What opens one envelope and nothing else, for the machine on which it is to open.
    ///
    /// # Errors
    /// [`KmsError::NotConfigured`] when no service here wrapped it.
    pub fn only_for(&self, envelope: &Envelope) -> Result<Self, KmsError> {
        let mut services = self.services_for(envelope.key_id());
        let service = services.find(|service| service.wrapped(envelope.wrapped()));
        let service = service.ok_or_else(|| KmsError::not_configured(envelope.wrapped()))?;
        Ok(Self {
            ca_certificate: self.ca_certificate.clone(),
            cluster: Some(service.clone()),
            ..Self::default()
        })
    }

    /// A client of `service`, with the trust that is configured here; nothing is sent yet.
    ///
    /// # Errors
    /// [`KmsError::CaCertificate`], [`KmsError::CredentialMissing`].
    pub fn connect(&self, service: &Service) -> Result<Box<dyn KeyWrap>, KmsError> {
        let trust =
            |own: Option<&String>| Trust::from_pem(own.or(self.ca_certificate.as_ref()).map(String::as_str));
        match service {
            Service::Kmip(kmip) => Ok(Box::new(Kmip::new(kmip, &trust(kmip.ca_certificate.as_ref())?)?)),
            Service::Vault(vault) => Ok(Box::new(self.transit(vault)?)),
        }
    }

    /// The root's key, where a service or a token holds it.
    ///
    /// # Errors
    /// [`KeyError::Kms`] when it cannot be used.
    pub fn root_key(&self, unlock: &dyn Unlock) -> Result<Option<PrivateKey>, KeyError> {
        let signer: Box<dyn DigestSigner> = match &self.signer {
            None => return Ok(None),
            Some(SigningService::Pkcs11(key)) => Box::new(key.open(unlock)?),
            Some(SigningService::Vault { vault, version }) => {
                Box::new(TransitSigner::new(self.transit(vault)?, Some(*version))?)
            }
        };
        PrivateKey::held(signer).map(Some)
    }

    /// Makes `vault`'s key, in its newest version, the one that signs.
    ///
    /// # Errors
    /// [`KmsError`] when it cannot be used.
    pub fn sign_with(&mut self, vault: VaultService) -> Result<(), KmsError> {
        let version = TransitSigner::new(self.transit(&vault)?, None)?.version();
        self.signer = Some(SigningService::Vault { vault, version });
        Ok(())
    }

    fn transit(&self, vault: &VaultService) -> Result<Transit, KmsError> {
        Transit::new(vault, &Trust::from_pem(self.ca_certificate.as_deref())?)
    }

    /// Every secret that is needed and not kept, to be filled in.
    pub fn missing_credentials(&mut self) -> impl Iterator<Item = (Missing, &mut Option<Credential>)> {
        let services = self.cluster.iter_mut().chain(&mut self.previous).chain(self.own.values_mut());
        let vaults = services.filter_map(|service| match service {
            Service::Kmip(_) => None,
            Service::Vault(vault) => Some(vault),
        });
        let signer = self.signer.as_mut().and_then(|signer| match signer {
            // A token asks for its PIN when it is logged in to, and only then.
            SigningService::Pkcs11(_) => None,
            SigningService::Vault { vault, .. } => Some(vault),
        });
        vaults.chain(signer).filter_map(VaultService::missing)
    }
}

impl VaultService {
    fn missing(&mut self) -> Option<(Missing, &mut Option<Credential>)> {
        let address = self.address.to_string();
        match &mut self.credentials {
            VaultCredentials::AppRole(AppRole { secret_id, .. }) => {
                secret_id.is_none().then_some((Missing { what: SECRET_ID, address }, secret_id))
            }
            VaultCredentials::Token(token) => {
                token.is_none().then_some((Missing { what: TOKEN, address }, token))
            }
        }
    }
}

/// What the secret of an AppRole is called.
pub const SECRET_ID: &str = "secret id";
/// What a token is called.
pub const TOKEN: &str = "token";

/// A secret that is needed and not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `token` or `secret id`.
    pub what: &'static str,
    /// The service it is for.
    pub address: String,
}

impl Service {
    /// The kind of service.
    #[must_use]
    pub fn kms(&self) -> &'static str {
        match self {
            Self::Kmip(_) => "kmip",
            Self::Vault(_) => "vault",
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Kmip(kmip) => kmip.address.as_str(),
            Self::Vault(vault) => vault.address.as_str(),
        }
    }

    /// Its name for the wrapping key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Kmip(kmip) => kmip.key.as_str(),
            Self::Vault(vault) => vault.key.as_str(),
        }
    }

    /// Whether a data key was wrapped by the key of this service, by all that can be known without
    /// asking it.
    #[must_use]
    pub fn wrapped(&self, wrapped: &Wrapped) -> bool {
        self.kms() == wrapped.kms() && self.key() == wrapped.key()
    }

    /// Whether every secret that it needs is in it.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        match self {
            Self::Kmip(_) => true,
            Self::Vault(vault) => match &vault.credentials {
                VaultCredentials::AppRole(role) => role.secret_id.is_some(),
                VaultCredentials::Token(token) => token.is_some(),
            },
        }
    }

    /// The same service with another wrapping key.
    ///
    /// # Errors
    /// [`KmsError::Name`].
    pub fn with_key(&self, key: &str) -> Result<Self, KmsError> {
        let mut copy = self.clone();
        match &mut copy {
            Self::Kmip(kmip) => kmip.key = key.parse()?,
            Self::Vault(vault) => vault.key = key.parse()?,
        }
        Ok(copy)
    }

    /// The same without its secrets, to be kept where they are not to be.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut copy = self.clone();
        match &mut copy {
            // A client certificate is of no use without its key: it is kept, or the service is not.
            Self::Kmip(_) => {}
            Self::Vault(vault) => match &mut vault.credentials {
                VaultCredentials::AppRole(role) => role.secret_id = None,
                VaultCredentials::Token(token) => *token = None,
            },
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
    fn a_signer_in_a_vault_is_read_and_written_as_it_always_was() {
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
    fn a_signer_in_a_token_is_read_as_it_was_written_and_shows_no_pin() {
        let configuration = read(&json!({ "pkcs11": token_key() })).unwrap();
        let written: Value = serde_json::from_slice(configuration.to_text().unwrap().expose()).unwrap();
        assert_eq!(written["signer"], json!({ "pkcs11": token_key() }));
        let signer = configuration.signer.unwrap();
        assert!(!format!("{signer} {signer:?}").contains("4711"), "{signer:?}");
        // Without its PIN it is asked for; that is not the file's to decide.
        let uri = token_key()["uri"].clone();
        assert!(read(&json!({ "pkcs11": { "uri": uri, "pin": null } })).is_ok());
    }

    #[test]
    fn what_is_not_one_signer_is_refused_without_a_word_of_its_secrets() {
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
