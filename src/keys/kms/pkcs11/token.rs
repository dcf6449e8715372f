//! A token after login, and the key in it that a URI names.

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

use super::error::{Pkcs11Error, failed, reason};
use super::module::Module;
use super::pin::PinProvider;
use super::uri::{Pkcs11Uri, TokenPattern};
use crate::keys::kms::error::KmsError;
use crate::secret::Secret;

/// Most keys or tokens listed in a message.
const MAX_LISTED: usize = 8;

/// CKA_EC_PARAMS of `prime256v1` (1.2.840.10045.3.1.7).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A token, after login.
pub(super) struct Token {
    pub(super) session: Session,
    /// Sanitized label, for messages.
    pub(super) name: String,
}

/// A private key that may sign.
pub(super) struct FoundKey {
    pub(super) handle: ObjectHandle,
    /// CKA_EC_POINT of its public key object.
    pub(super) point: Vec<u8>,
    /// Label and id, for messages.
    pub(super) name: String,
}

impl Token {
    /// Find the token that `uri` names and logs in to it, in a single attempt: wrong PINs lock a token.
    pub(super) fn open(
        module: &Module,
        uri: &Pkcs11Uri,
        stored_pin: &dyn Fn() -> Result<Option<Secret>, KmsError>,
        pins: &dyn PinProvider,
    ) -> Result<Self, KmsError> {
        let (slot, info) = find(module, uri)?;
        let name = shown(info.label());
        let session = module.context().open_ro_session(slot).map_err(|error| {
            let gone = is_gone(&error).then(|| Pkcs11Error::TokenGone { token: name.clone() });
            gone.unwrap_or_else(|| failed("open a session", &error))
        })?;
        let token = Self { session, name };
        if info.login_required() {
            token.log_in(&info, stored_pin, pins)?;
        }
        Ok(token)
    }

    fn log_in(
        &self,
        info: &TokenInfo,
        stored_pin: &dyn Fn() -> Result<Option<Secret>, KmsError>,
        pins: &dyn PinProvider,
    ) -> Result<(), KmsError> {
        let token = || self.name.clone();
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked { token: token() }.into());
        }
        if info.user_pin_final_try() {
            return Err(Pkcs11Error::PinLastTry { token: token() }.into());
        }
        let logged_in = if info.protected_authentication_path() {
            // The PIN is entered on the token's own keypad.
            self.session.login(UserType::User, None)
        } else {
            let pin = pins.pin(&self.name, stored_pin)?;
            self.session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.expose().to_vec())))
        };
        match logged_in {
            // Logged in elsewhere in this process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(match error {
                Error::Pkcs11(RvError::PinExpired, _) => Pkcs11Error::PinExpired { token: token() },
                Error::Pkcs11(RvError::PinLocked, _) => Pkcs11Error::PinLocked { token: token() },
                Error::Pkcs11(RvError::UserPinNotInitialized, _) => Pkcs11Error::PinNotSet { token: token() },
                Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
                    Pkcs11Error::PinWrong { token: token() }
                }
                other if is_gone(&other) => Pkcs11Error::TokenGone { token: token() },
                other => failed("log in", &other),
            }
            .into()),
        }
    }

    /// The one private key that `uri` names, if it is suitable as a root key.
    pub(super) fn find_key(&self, uri: &Pkcs11Uri) -> Result<FoundKey, Pkcs11Error> {
        let mut wanted = private_keys();
        wanted.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
        wanted.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = self.find(&wanted)?;
        let [handle] = found[..] else {
            let names = |handles: &[ObjectHandle]| {
                let names =
                    handles.iter().take(MAX_LISTED).map(|handle| Ok(self.properties(*handle)?.name()));
                names.collect::<Result<Vec<String>, Pkcs11Error>>()
            };
            let token = self.name.clone();
            if found.is_empty() {
                let found = names(&self.find(&private_keys())?)?;
                return Err(Pkcs11Error::KeyMissing { token, found });
            }
            return Err(Pkcs11Error::KeyAmbiguous { token, found: names(&found)? });
        };
        let properties = self.properties(handle)?;
        let unfit = |why| Pkcs11Error::KeyUnfit { token: self.name.clone(), key: properties.name(), why };
        properties.check().map_err(unfit)?;
        Ok(FoundKey { handle, point: self.point_of(&properties, &unfit)?, name: properties.name() })
    }

    /// CKA_EC_POINT of the public key object that belongs to a private key.
    fn point_of(
        &self,
        private: &KeyProperties,
        unfit: &dyn Fn(&'static str) -> Pkcs11Error,
    ) -> Result<Vec<u8>, Pkcs11Error> {
        let mut wanted = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true)];
        // The standard pairs key objects by id; without an id the label has to do.
        match (&private.id, &private.label) {
            (Some(id), _) => wanted.push(Attribute::Id(id.clone())),
            (None, Some(label)) => wanted.push(Attribute::Label(label.clone())),
            (None, None) => return Err(unfit("it has neither an id nor a label")),
        }
        let found = self.find(&wanted)?;
        let [handle] = found[..] else {
            return Err(unfit(if found.is_empty() {
                "the token has no public key object with its id"
            } else {
                "the token has several public key objects with its id"
            }));
        };
        let attributes = self.attributes(handle, &[AttributeType::EcParams, AttributeType::EcPoint])?;
        let (mut params, mut point) = (None, None);
        for attribute in attributes {
            match attribute {
                Attribute::EcParams(found) => params = Some(found),
                Attribute::EcPoint(found) => point = Some(found),
                _ => {}
            }
        }
        if params.as_deref() != Some(P256) {
            return Err(unfit("its curve is not P-256"));
        }
        point.ok_or_else(|| unfit("its public key object has no point"))
    }

    fn properties(&self, key: ObjectHandle) -> Result<KeyProperties, Pkcs11Error> {
        let mut properties = KeyProperties::default();
        for attribute in self.attributes(key, PROPERTIES)? {
            match attribute {
                Attribute::AlwaysAuthenticate(always) => properties.always_authenticate = always,
                Attribute::Extractable(extractable) => properties.extractable = Some(extractable),
                Attribute::Id(id) => properties.id = Some(id).filter(|id| !id.is_empty()),
                Attribute::KeyType(key_type) => properties.key_type = Some(key_type),
                Attribute::Label(label) => properties.label = Some(label).filter(|label| !label.is_empty()),
                Attribute::Sensitive(sensitive) => properties.sensitive = Some(sensitive),
                Attribute::Sign(sign) => properties.sign = Some(sign),
                _ => {}
            }
        }
        Ok(properties)
    }

    fn find(&self, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
        self.session.find_objects(wanted).map_err(|error| self.failed("find keys", &error))
    }

    fn attributes(
        &self,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, Pkcs11Error> {
        self.session
            .get_attributes(object, wanted)
            .map_err(|error| self.failed("read the attributes of a key", &error))
    }

    /// The error for a failed call after login.
    pub(super) fn failed(&self, doing: &'static str, error: &Error) -> Pkcs11Error {
        if is_gone(error) { self.gone() } else { failed(doing, error) }
    }

    /// The error for a token that was removed, or whose session ended.
    pub(super) fn gone(&self) -> Pkcs11Error {
        Pkcs11Error::TokenGone { token: self.name.clone() }
    }
}

/// Attributes read of a private key.
const PROPERTIES: &[AttributeType] = &[
    AttributeType::AlwaysAuthenticate,
    AttributeType::Extractable,
    AttributeType::Id,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Sensitive,
    AttributeType::Sign,
];

/// Attributes of a private key; `None` for those that the token does not report.
#[derive(Default)]
struct KeyProperties {
    always_authenticate: bool,
    extractable: Option<bool>,
    id: Option<Vec<u8>>,
    key_type: Option<KeyType>,
    label: Option<Vec<u8>>,
    sensitive: Option<bool>,
    sign: Option<bool>,
}

impl KeyProperties {
    /// `root (id 01)`.
    fn name(&self) -> String {
        let label = self.label.as_deref().map(|label| shown(&String::from_utf8_lossy(label)));
        let id: String = self.id.iter().flatten().take(32).map(|byte| format!("%{byte:02x}")).collect();
        format!("{} (id={id})", label.unwrap_or_else(|| "without a label".to_owned()))
    }

    /// Check that the key signs and is non-exportable.
    fn check(&self) -> Result<(), &'static str> {
        match self {
            _ if self.key_type != Some(KeyType::EC) => Err("its type is not EC"),
            Self { sign: Some(true), extractable: Some(false), sensitive: Some(true), .. } => {
                if self.always_authenticate {
                    return Err("it needs the PIN before each signature (CKA_ALWAYS_AUTHENTICATE)");
                }
                Ok(())
            }
            Self { sign: Some(true), .. } => {
                Err("it is exportable: CKA_SENSITIVE must be true and CKA_EXTRACTABLE false")
            }
            _ => Err("it may not sign (CKA_SIGN)"),
        }
    }
}

fn private_keys() -> Vec<Attribute> {
    vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)]
}

/// The one token that matches. A slot that cannot be read matches nothing, and is listed in the error.
fn find(module: &Module, uri: &Pkcs11Uri) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let context = module.context();
    let slots = context.get_slots_with_token().map_err(|error| failed("list its slots", &error))?;
    let (mut matching, mut others) = (Vec::new(), Vec::new());
    for slot in slots {
        match context.get_token_info(slot) {
            Ok(info) if !info.token_initialized() => {}
            Ok(info) if uri.token.matches(slot, &info) => matching.push((slot, info)),
            Ok(info) => others.push(token_name(&info)),
            Err(error) => others.push(format!("slot {} ({})", slot.id(), reason(&error))),
        }
    }
    match (matching.len(), matching.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => {
            others.truncate(MAX_LISTED);
            Err(Pkcs11Error::TokenMissing { module: uri.module().to_owned(), found: others })
        }
        (_, Some(last)) => {
            matching.push(last);
            let found = matching.iter().take(MAX_LISTED).map(|(_, info)| token_name(info)).collect();
            Err(Pkcs11Error::TokenAmbiguous { found })
        }
    }
}

impl TokenPattern {
    fn matches(&self, slot: Slot, info: &TokenInfo) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|text| text == found);
        self.slot.is_none_or(|wanted| wanted == slot.id())
            && same(&self.label, info.label())
            && same(&self.manufacturer, info.manufacturer_id())
            && same(&self.model, info.model())
            && same(&self.serial, info.serial_number())
    }
}

/// `prod (serial=310506edde25d135)`.
fn token_name(info: &TokenInfo) -> String {
    format!("{} (serial={})", shown(info.label()), shown(info.serial_number()))
}

/// True if the token or the session has disappeared.
pub(super) fn is_gone(error: &Error) -> bool {
    let Error::Pkcs11(error, _) = error else { return false };
    matches!(
        error,
        RvError::CryptokiNotInitialized
            | RvError::DeviceRemoved
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::SlotIdInvalid
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::UserNotLoggedIn
    )
}

/// A name from the token, sanitized and shortened: it is untrusted.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "without a label".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_token_are_sanitized() {
        assert_eq!(shown("prod\r\n\u{1b}[31mhint: give the PIN"), "prod[31mhint: give the PIN");
        assert_eq!(shown(&"x".repeat(1000)).len(), 64);
        assert_eq!(shown("\n"), "without a label");
        let properties = |label: &[u8], id: &[u8]| KeyProperties {
            label: Some(label.to_vec()),
            id: Some(id.to_vec()),
            ..KeyProperties::default()
        };
        assert_eq!(properties(b"root", &[1, 0xff]).name(), "root (id=%01%ff)");
        assert_eq!(properties(b"\xff\n", &[0; 1000]).name().len(), "\u{fffd} (id=)".len() + 3 * 32);
        assert_eq!(KeyProperties::default().name(), "without a label (id=)");
    }

    #[test]
    fn only_a_non_exportable_signing_key_is_suitable() {
        let fit = || KeyProperties {
            extractable: Some(false),
            key_type: Some(KeyType::EC),
            sensitive: Some(true),
            sign: Some(true),
            ..KeyProperties::default()
        };
        assert_eq!(fit().check(), Ok(()));
        for unfit in [
            KeyProperties { extractable: None, ..fit() },
            KeyProperties { extractable: Some(true), ..fit() },
            KeyProperties { sensitive: None, ..fit() },
            KeyProperties { sensitive: Some(false), ..fit() },
            KeyProperties { sign: None, ..fit() },
            KeyProperties { sign: Some(false), ..fit() },
            KeyProperties { key_type: None, ..fit() },
            KeyProperties { key_type: Some(KeyType::RSA), ..fit() },
            KeyProperties { key_type: Some(KeyType::EC_EDWARDS), ..fit() },
            KeyProperties { always_authenticate: true, ..fit() },
            KeyProperties::default(),
        ] {
            assert!(unfit.check().is_err());
        }
    }
}
