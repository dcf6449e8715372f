//! Client of one key of a KMIP server: version negotiation, checks, wrapping of data keys.

use std::io;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::connection::{KmipConnection, KmipEndpoint};
use super::message::{self, KmipResponse, Mode, Operation, Version, tag};
use super::result_reason::{
    self, AUTHENTICATION_NOT_SUCCESSFUL, INCOMPATIBLE_USAGE_MASK, ITEM_NOT_FOUND, NOT_AUTHORISED,
    OBJECT_DESTROYED, OBJECT_NOT_FOUND, PERMISSION_DENIED, WRONG_KEY_LIFECYCLE_STATE,
};
use super::settings::KmipService;
use super::ttlv::{self, Elements, TtlvError, Writer};
use super::wrapped::{KmipCiphertext, KmipMode};
use crate::keys::data_key::DataKey;
use crate::keys::kms::error::{KmsError, ServiceStatus};
use crate::keys::kms::key_wrap::{KeyWrap, Rewrap};
use crate::keys::kms::login_end::{LoginEnd, LoginEndReason};
use crate::keys::kms::trust_anchors::KmsTrustAnchors;
use crate::x509::{X509Error, pem};

/// First version with the operations Encrypt and Decrypt.
const OLDEST: Version = Version { major: 1, minor: 2 };

/// First version whose messages carry the tag of AES-GCM.
const FIRST_WITH_GCM: Version = Version { major: 1, minor: 4 };

/// Versions under which Discover Versions is sent, until the server understands one: a server may speak a single one.
/// The last one only serves to report the versions of a server that is too old.
const OPENINGS: [Version; 6] = [
    OLDEST,
    Version { major: 2, minor: 0 },
    FIRST_WITH_GCM,
    Version { major: 2, minor: 1 },
    Version { major: 1, minor: 3 },
    Version { major: 1, minor: 1 },
];

/// A key of a KMIP server.
pub(super) struct KmipClient {
    endpoint: KmipEndpoint,
    service: KmipService,
    /// The open connection and its negotiated version; `None` before the first request.
    session: Mutex<Option<(KmipConnection, Version)>>,
}

impl KmipClient {
    pub(super) fn new(service: &KmipService, anchors: &KmsTrustAnchors) -> Result<Self, KmsError> {
        let endpoint = KmipEndpoint::new(service, anchors)?;
        Ok(Self { endpoint, service: service.clone(), session: Mutex::new(None) })
    }

    fn address(&self) -> String {
        self.service.address.to_string()
    }

    fn unreadable(&self) -> impl Fn(TtlvError) -> KmsError {
        let address = self.address();
        move |error| KmsError::Protocol { address: address.clone(), why: error.0 }
    }

    fn unsendable(&self) -> impl Fn(TtlvError) -> KmsError {
        let address = self.address();
        move |error| KmsError::Request { address: address.clone(), why: error.0.to_owned() }
    }

    /// Send a request under the negotiated version and pass the payload of its response to `read`.
    fn ask<T>(
        &self,
        operation: Operation,
        payload: impl FnOnce(&mut Writer, Version),
        read: impl FnOnce(Elements<'_>, Version) -> Result<T, TtlvError>,
    ) -> Result<T, KmsError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut connection, version) = match session.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let request = message::request(version, operation, |writer| payload(writer, version))
            .map_err(self.unsendable())?;
        let bytes = match self.endpoint.exchange(&mut connection, &request) {
            // A server, or a balancer in front of it, may close after each response or when idle.
            Err(error) if was_closed(&error) => {
                connection = self.endpoint.connect()?;
                self.endpoint.exchange(&mut connection, &request)?
            }
            bytes => bytes?,
        };
        *session = Some((connection, version));
        match message::response(&bytes, operation).map_err(self.unreadable())? {
            KmipResponse::Done(payload) => read(payload, version).map_err(self.unreadable()),
            KmipResponse::Failed { reason, message } => Err(self.refusal(operation, reason, message)),
        }
    }

    /// Connect and negotiates the highest common version.
    pub(super) fn open(&self) -> Result<(KmipConnection, Version), KmsError> {
        let mut offered = Vec::new();
        for opening in OPENINGS {
            // One connection per attempt: a server may close it after an unknown version.
            let mut connection = self.endpoint.connect()?;
            let request =
                message::request(opening, Operation::DiscoverVersions, |_| {}).map_err(self.unsendable())?;
            let bytes = self.endpoint.exchange(&mut connection, &request)?;
            match message::response(&bytes, Operation::DiscoverVersions).map_err(self.unreadable())? {
                KmipResponse::Failed { reason: AUTHENTICATION_NOT_SUCCESSFUL, message } => {
                    let operation = Operation::DiscoverVersions;
                    return Err(self.refusal(operation, AUTHENTICATION_NOT_SUCCESSFUL, message));
                }
                KmipResponse::Failed { .. } => {}
                KmipResponse::Done(payload) => {
                    offered = message::versions(payload).map_err(self.unreadable())?;
                    let usable = |version: &&Version| matches!(version.major, 1 | 2) && **version >= OLDEST;
                    if let Some(best) = offered.iter().filter(usable).max() {
                        return Ok((connection, *best));
                    }
                    break;
                }
            }
        }
        Err(KmsError::TooOld {
            address: self.address(),
            offered: offered.iter().map(ToString::to_string).collect(),
        })
    }

    fn refusal(&self, operation: Operation, reason: u32, message: &str) -> KmsError {
        let (address, key) = (self.address(), self.service.key.to_string());
        let words: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
        let messages = if words.is_empty() { Vec::new() } else { vec![words] };
        match reason {
            ITEM_NOT_FOUND | OBJECT_DESTROYED | OBJECT_NOT_FOUND => KmsError::KeyMissing { address, key },
            AUTHENTICATION_NOT_SUCCESSFUL => KmsError::ClientCertificateRefused { address },
            NOT_AUTHORISED | PERMISSION_DENIED => KmsError::Denied {
                address,
                path: format!("key {key}"),
                capability: operation.name(),
                messages,
            },
            WRONG_KEY_LIFECYCLE_STATE => {
                KmsError::KeyUnfit { address, key, why: "wrap or unwrap data keys: it is not active" }
            }
            INCOMPATIBLE_USAGE_MASK => {
                let why = "wrap or unwrap data keys: its usage mask does not allow it";
                KmsError::KeyUnfit { address, key, why }
            }
            reason => {
                let (name, is_temporary) = (result_reason::name(reason), result_reason::is_temporary(reason));
                let status = ServiceStatus::Kmip { reason, name, is_temporary };
                KmsError::Refused { address, operation: operation.name().to_owned(), status, messages }
            }
        }
    }

    /// Check that the server supports Encrypt and Decrypt.
    fn check_operations(&self) -> Result<(), KmsError> {
        const OPERATIONS: u32 = 1;
        let operations = self.ask(
            Operation::Query,
            |writer, _| writer.enumeration(tag::QUERY_FUNCTION, OPERATIONS),
            |payload, _| {
                payload
                    .all(tag::OPERATION)
                    .map(|operation| operation?.enumeration())
                    .collect::<Result<Vec<_>, _>>()
            },
        )?;
        for needed in [Operation::Encrypt, Operation::Decrypt] {
            if !operations.contains(&needed.code()) {
                let (address, operation) = (self.address(), needed.name());
                return Err(KmsError::OperationMissing { address, operation });
            }
        }
        Ok(())
    }

    /// Check that the key is active and of a type that wraps.
    fn check_attributes(&self) -> Result<(), KmsError> {
        const WANTED: [(ttlv::Tag, &str); 4] = [
            (tag::STATE, "State"),
            (tag::CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask"),
            (tag::CRYPTOGRAPHIC_ALGORITHM, "Cryptographic Algorithm"),
            (tag::CRYPTOGRAPHIC_LENGTH, "Cryptographic Length"),
        ];
        let (state, mask, algorithm, length) = self.ask(
            Operation::GetAttributes,
            |writer, version| {
                writer.text(tag::UNIQUE_IDENTIFIER, self.service.key.as_str());
                for (attribute, name) in WANTED {
                    match version.major {
                        1 => writer.text(tag::ATTRIBUTE_NAME, name),
                        _ => writer.enumeration(tag::ATTRIBUTE_REFERENCE, attribute),
                    }
                }
            },
            |payload, _| {
                let [state, mask, algorithm, length] =
                    WANTED.map(|(attribute, name)| message::attribute(payload, attribute, name));
                Ok((
                    state?.map(|state| state.enumeration()).transpose()?,
                    mask?.map(|mask| mask.integer()).transpose()?,
                    algorithm?.map(|algorithm| algorithm.enumeration()).transpose()?,
                    length?.map(|length| length.integer()).transpose()?,
                ))
            },
        )?;
        const ENCRYPT_AND_DECRYPT: i32 = 0x0c;
        let unfit =
            |why| Err(KmsError::KeyUnfit { address: self.address(), key: self.service.key.to_string(), why });
        match (state, algorithm, length, mask) {
            (state, ..) if state != Some(2) => unfit("wrap data keys: it is not active"),
            (_, algorithm, ..) if algorithm != Some(3) => unfit("wrap data keys: it is not an AES key"),
            (_, _, length, _) if length.unwrap_or(0) < 128 => {
                unfit("wrap data keys: it is shorter than 128 bits")
            }
            (.., mask) if mask.unwrap_or(0) & ENCRYPT_AND_DECRYPT != ENCRYPT_AND_DECRYPT => {
                unfit("wrap data keys: its usage mask does not allow to encrypt and to decrypt")
            }
            _ => Ok(()),
        }
    }
}

impl KeyWrap<KmipCiphertext> for KmipClient {
    fn check(&self) -> Result<(), KmsError> {
        self.check_operations()?;
        self.check_attributes()
    }

    fn wrap_key(&self, data_key: &DataKey, context: &[u8]) -> Result<KmipCiphertext, KmsError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| KmsError::Random)?;
        let iv_of = |version: Version| match mode_of(version) {
            Mode::Cbc => &random[..],
            Mode::Gcm => &random[..12],
        };
        self.ask(
            Operation::Encrypt,
            |writer, version| {
                writer.text(tag::UNIQUE_IDENTIFIER, self.service.key.as_str());
                message::write_parameters(writer, mode_of(version));
                writer.bytes(tag::DATA, data_key.expose());
                writer.bytes(tag::IV, iv_of(version));
                if mode_of(version) == Mode::Gcm {
                    writer.bytes(tag::AUTHENTICATED_DATA, context);
                }
            },
            |payload, version| {
                let mode = match mode_of(version) {
                    Mode::Cbc => KmipMode::Cbc,
                    Mode::Gcm => {
                        KmipMode::Gcm { tag: payload.expect(tag::AUTHENTICATION_TAG)?.bytes()?.to_vec() }
                    }
                };
                Ok(KmipCiphertext {
                    key: self.service.key.to_string(),
                    protocol: version.to_string(),
                    mode,
                    iv: iv_of(version).to_vec(),
                    ciphertext: payload.expect(tag::DATA)?.bytes()?.to_vec(),
                })
            },
        )
    }

    fn unwrap_key(&self, wrapped: &KmipCiphertext, context: &[u8]) -> Result<DataKey, KmsError> {
        let bytes = self.ask(
            Operation::Decrypt,
            |writer, _| {
                writer.text(tag::UNIQUE_IDENTIFIER, &wrapped.key);
                let mode = if wrapped.mode == KmipMode::Cbc { Mode::Cbc } else { Mode::Gcm };
                message::write_parameters(writer, mode);
                writer.bytes(tag::DATA, &wrapped.ciphertext);
                writer.bytes(tag::IV, &wrapped.iv);
                if let KmipMode::Gcm { tag: authentication } = &wrapped.mode {
                    writer.bytes(tag::AUTHENTICATED_DATA, context);
                    writer.bytes(tag::AUTHENTICATION_TAG, authentication);
                }
            },
            |payload, _| Ok(Zeroizing::new(payload.expect(tag::DATA)?.bytes()?.to_vec())),
        )?;
        DataKey::from_bytes(&bytes).ok_or_else(|| KmsError::DataKey { address: self.address() })
    }

    fn login_end(&self) -> Result<LoginEnd, KmsError> {
        let bad = |error: X509Error| KmsError::ClientCertificate { why: error.to_string() };
        let chain = pem::certificates(self.service.client_certificate.as_bytes()).map_err(bad)?;
        // The first certificate of a chain to expire ends it.
        let end = chain.iter().map(|certificate| certificate.not_after).min();
        Ok(end.map_or(LoginEnd::Unknown, |at| LoginEnd::At { at, why: LoginEndReason::CertificateExpires }))
    }

    /// A KMIP key has one version only: a rotation makes a key with another UID.
    fn rewrap_key(&self, _wrapped: &KmipCiphertext) -> Result<Rewrap<KmipCiphertext>, KmsError> {
        Ok(Rewrap::Current)
    }
}

/// True if the peer closed the connection. A request that it did not answer in time is not sent again.
fn was_closed(error: &KmsError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let KmsError::Unavailable { source, .. } = error else { return false };
    matches!(source.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Best mode of a version.
fn mode_of(version: Version) -> Mode {
    if version >= FIRST_WITH_GCM { Mode::Gcm } else { Mode::Cbc }
}
