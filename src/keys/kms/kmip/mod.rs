//! KMIP servers, versions 1.2 to 2.x: a data key is encrypted there and decrypted there, by a key that
//! the server never gives out.
//!
//! | file | what |
//! |---|---|
//! | `ttlv` | the encoding |
//! | `message` | the few messages that are needed |
//! | `connection` | mutual TLS, deadlines, bounds |

mod connection;
mod message;
mod ttlv;

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use self::connection::{Connection, Endpoint};
use self::message::{Answer, Mode, Operation, Version, tag};
use self::ttlv::{Elements, TtlvError, Writer};
use super::configuration::KmipService;
use super::trust::Trust;
use super::{KeyWrap, KmipCiphertext, KmipMode, KmsError, Rewrap, Wrapped};
use crate::keys::envelope::DataKey;

/// The first version that encrypts at all.
const OLDEST: Version = Version { major: 1, minor: 2 };

/// The first version whose GCM keeps the tag.
const FIRST_WITH_GCM: Version = Version { major: 1, minor: 4 };

/// Under which versions the first question is asked, until one is understood; the last only to learn
/// what a server speaks that is too old.
const OPENINGS: [Version; 4] =
    [OLDEST, Version { major: 2, minor: 0 }, FIRST_WITH_GCM, Version { major: 1, minor: 1 }];

/// A server's reason: it does not know who asks.
const NOT_AUTHENTICATED: u32 = 3;

/// A key of a KMIP server.
pub struct Kmip {
    endpoint: Endpoint,
    service: KmipService,
    /// The connection in use and the version agreed on; none before the first request.
    session: Mutex<Option<(Connection, Version)>>,
}

impl Kmip {
    pub(super) fn new(service: &KmipService, trust: &Trust) -> Result<Self, KmsError> {
        let endpoint = Endpoint::new(service, trust)?;
        Ok(Self { endpoint, service: service.clone(), session: Mutex::new(None) })
    }

    fn address(&self) -> String {
        self.service.address.to_string()
    }

    fn unreadable(&self) -> impl Fn(TtlvError) -> KmsError {
        let address = self.address();
        move |error| KmsError::Protocol { address: address.clone(), why: error.0 }
    }

    /// Sends a request under the version agreed on and gives `read` the answer's payload.
    fn ask<T>(
        &self,
        operation: Operation,
        payload: impl FnOnce(&mut Writer, Version),
        read: impl FnOnce(Elements<'_>, Version) -> Result<T, TtlvError>,
    ) -> Result<T, KmsError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (connection, version) = match session.take() {
            Some(open) => session.insert(open),
            None => session.insert(self.open()?),
        };
        let version = *version;
        let request = message::request(version, operation, |writer| payload(writer, version));
        let bytes = self.endpoint.exchange(connection, &request).inspect_err(|_| *session = None)?;
        match message::answer(&bytes, operation).map_err(self.unreadable())? {
            Answer::Done(payload) => read(payload, version).map_err(self.unreadable()),
            Answer::Failed { reason, message } => Err(self.refusal(operation, reason, message)),
        }
    }

    /// Connects and agrees on the best version that both sides know.
    fn open(&self) -> Result<(Connection, Version), KmsError> {
        let mut offered = Vec::new();
        for opening in OPENINGS {
            // A server that does not understand the version may hang up: each try has its connection.
            let mut connection = self.endpoint.connect()?;
            let request = message::request(opening, Operation::DiscoverVersions, |_| {});
            let bytes = self.endpoint.exchange(&mut connection, &request)?;
            match message::answer(&bytes, Operation::DiscoverVersions).map_err(self.unreadable())? {
                Answer::Failed { reason: NOT_AUTHENTICATED, message } => {
                    return Err(self.refusal(Operation::DiscoverVersions, NOT_AUTHENTICATED, message));
                }
                Answer::Failed { .. } => {}
                Answer::Done(payload) => {
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
            0x01 => KmsError::KeyMissing { address, key },
            NOT_AUTHENTICATED => KmsError::ClientCertificateRefused { address },
            0x0c => KmsError::Denied {
                address,
                path: format!("key {key}"),
                capability: operation.name(),
                messages,
            },
            status => KmsError::Refused { address, operation: operation.name().to_owned(), status, messages },
        }
    }

    /// Whether the server encrypts and decrypts at all.
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

    /// Whether the key is active and of a kind that wraps.
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

impl KeyWrap for Kmip {
    fn check(&self) -> Result<(), KmsError> {
        self.check_operations()?;
        self.check_attributes()
    }

    fn wrap_key(&self, data_key: &DataKey, context: &[u8]) -> Result<Wrapped, KmsError> {
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
                Ok(Wrapped::Kmip(KmipCiphertext {
                    key: self.service.key.to_string(),
                    protocol: version.to_string(),
                    mode,
                    iv: iv_of(version).to_vec(),
                    ciphertext: payload.expect(tag::DATA)?.bytes()?.to_vec(),
                }))
            },
        )
    }

    fn unwrap_key(&self, wrapped: &Wrapped, context: &[u8]) -> Result<DataKey, KmsError> {
        let wrapped = match wrapped {
            Wrapped::Kmip(wrapped) if wrapped.key == self.service.key.as_str() => wrapped,
            other => return Err(KmsError::not_configured(other)),
        };
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

    /// A KMIP key is never rotated under its UID: what it wrapped is as new as it can be.
    fn rewrap_key(&self, _wrapped: &Wrapped) -> Result<Rewrap, KmsError> {
        Ok(Rewrap::Current)
    }
}

/// The mode that a version allows.
fn mode_of(version: Version) -> Mode {
    if version >= FIRST_WITH_GCM { Mode::Gcm } else { Mode::Cbc }
}
