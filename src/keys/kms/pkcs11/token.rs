//! A token that is logged in to, and its keys: the one that a URI names, found and judged.

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

use super::module::Module;
use super::uri::{Pkcs11Uri, TokenPattern};
use super::{Pkcs11Error, failed};
use crate::keys::Unlock;
use crate::keys::kms::KmsError;
use crate::secret::Secret;

/// The most keys or tokens that a message lists.
const MOST_LISTED: usize = 8;

/// `prime256v1` (1.2.840.10045.3.1.7) as CKA_EC_PARAMS has it.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A token, logged in to.
pub(super) struct Token {
    pub(super) session: Session,
    /// Its label, or what else people know of it.
    pub(super) name: String,
}

/// A private key that may sign, and the point that is its public half as the token writes it.
pub(super) struct FoundKey {
    pub(super) handle: ObjectHandle,
    pub(super) point: Vec<u8>,
    /// Its label and id, for messages.
    pub(super) name: String,
}

impl Token {
    /// Finds the token that `uri` means and logs in to it, with one try.
    pub(super) fn open(
        module: &Module,
        uri: &Pkcs11Uri,
        kept: &dyn Fn() -> Result<Option<Secret>, KmsError>,
        unlock: &dyn Unlock,
    ) -> Result<Self, KmsError> {
        let (slot, info) = find(module, uri)?;
        let name = shown(info.label());
        let session = module.context().open_ro_session(slot).map_err(|error| {
            let gone = is_gone(&error).then(|| Pkcs11Error::TokenGone { token: name.clone() });
            gone.unwrap_or_else(|| failed("open a session", &error))
        })?;
        let token = Self { session, name };
        if info.login_required() {
            token.log_in(&info, kept, unlock)?;
        }
        Ok(token)
    }

    fn log_in(
        &self,
        info: &TokenInfo,
        kept: &dyn Fn() -> Result<Option<Secret>, KmsError>,
        unlock: &dyn Unlock,
    ) -> Result<(), KmsError> {
        let token = || self.name.clone();
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked { token: token() }.into());
        }
        if info.user_pin_final_try() {
            return Err(Pkcs11Error::PinLastTry { token: token() }.into());
        }
        let logged_in = if info.protected_authentication_path() {
            // The PIN is typed on the token's own keys.
            self.session.login(UserType::User, None)
        } else {
            let pin = unlock.pin(&self.name, kept)?;
            self.session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.expose().to_vec())))
        };
        match logged_in {
            // Somebody else in this process has done it.
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

    /// The one private key that `uri` names, if it is fit to be a root's.
    pub(super) fn find_key(&self, uri: &Pkcs11Uri) -> Result<FoundKey, Pkcs11Error> {
        let mut wanted = private_keys();
        wanted.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
        wanted.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = self.find(&wanted)?;
        let [handle] = found[..] else {
            let names = |handles: &[ObjectHandle]| {
                let names = handles.iter().take(MOST_LISTED).map(|handle| Ok(self.facts(*handle)?.name()));
                names.collect::<Result<Vec<String>, Pkcs11Error>>()
            };
            let token = self.name.clone();
            if found.is_empty() {
                let found = names(&self.find(&private_keys())?)?;
                return Err(Pkcs11Error::KeyMissing { token, found });
            }
            return Err(Pkcs11Error::KeyAmbiguous { token, found: names(&found)? });
        };
        let facts = self.facts(handle)?;
        let unfit = |why| Pkcs11Error::KeyUnfit { token: self.name.clone(), key: facts.name(), why };
        facts.judge().map_err(unfit)?;
        Ok(FoundKey { handle, point: self.point_of(&facts, &unfit)?, name: facts.name() })
    }

    /// The point of the public key object that belongs to a private one.
    fn point_of(
        &self,
        private: &Facts,
        unfit: &dyn Fn(&'static str) -> Pkcs11Error,
    ) -> Result<Vec<u8>, Pkcs11Error> {
        let mut wanted = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true)];
        // The standard's way to tell that two belong together; the label is what is left without.
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

    fn facts(&self, key: ObjectHandle) -> Result<Facts, Pkcs11Error> {
        let mut facts = Facts::default();
        for attribute in self.attributes(key, FACTS)? {
            match attribute {
                Attribute::AlwaysAuthenticate(always) => facts.always_authenticate = always,
                Attribute::Extractable(extractable) => facts.extractable = Some(extractable),
                Attribute::Id(id) => facts.id = Some(id).filter(|id| !id.is_empty()),
                Attribute::KeyType(key_type) => facts.key_type = Some(key_type),
                Attribute::Label(label) => facts.label = Some(label).filter(|label| !label.is_empty()),
                Attribute::Sensitive(sensitive) => facts.sensitive = Some(sensitive),
                Attribute::Sign(sign) => facts.sign = Some(sign),
                _ => {}
            }
        }
        Ok(facts)
    }

    fn find(&self, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
        self.session.find_objects(wanted).map_err(|error| self.failed("look for a key", &error))
    }

    fn attributes(
        &self,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, Pkcs11Error> {
        self.session
            .get_attributes(object, wanted)
            .map_err(|error| self.failed("say what a key may do", &error))
    }

    /// What kept the token, which is logged in to, from doing something.
    pub(super) fn failed(&self, doing: &'static str, error: &Error) -> Pkcs11Error {
        if is_gone(error) {
            return Pkcs11Error::TokenGone { token: self.name.clone() };
        }
        failed(doing, error)
    }
}

/// What is asked of a private key.
const FACTS: &[AttributeType] = &[
    AttributeType::AlwaysAuthenticate,
    AttributeType::Extractable,
    AttributeType::Id,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Sensitive,
    AttributeType::Sign,
];

/// What a token says of a private key; what it does not say is none.
#[derive(Default)]
struct Facts {
    always_authenticate: bool,
    extractable: Option<bool>,
    id: Option<Vec<u8>>,
    key_type: Option<KeyType>,
    label: Option<Vec<u8>>,
    sensitive: Option<bool>,
    sign: Option<bool>,
}

impl Facts {
    /// `root (id 01)`.
    fn name(&self) -> String {
        let label = self.label.as_deref().map(|label| shown(&String::from_utf8_lossy(label)));
        let id: String = self.id.iter().flatten().take(32).map(|byte| format!("%{byte:02x}")).collect();
        format!("{} (id={id})", label.unwrap_or_else(|| "without a label".to_owned()))
    }

    /// Whether it can be what the root's key is said to be: one that signs and never leaves.
    fn judge(&self) -> Result<(), &'static str> {
        match self {
            _ if self.key_type != Some(KeyType::EC) => Err("its type is not EC"),
            Self { sign: Some(true), extractable: Some(false), sensitive: Some(true), .. } => {
                if self.always_authenticate {
                    return Err("it wants the PIN before each signature (CKA_ALWAYS_AUTHENTICATE)");
                }
                Ok(())
            }
            Self { sign: Some(true), .. } => {
                Err("the token gives it out: CKA_SENSITIVE must be true and CKA_EXTRACTABLE false")
            }
            _ => Err("it may not sign (CKA_SIGN)"),
        }
    }
}

fn private_keys() -> Vec<Attribute> {
    vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)]
}

/// The one token that fits. A slot that does not answer has none.
fn find(module: &Module, uri: &Pkcs11Uri) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let context = module.context();
    let slots = context.get_slots_with_token().map_err(|error| failed("list its slots", &error))?;
    let tokens = slots.into_iter().filter_map(|slot| Some((slot, context.get_token_info(slot).ok()?)));
    let (mut fitting, others): (Vec<_>, Vec<_>) = tokens
        .filter(|(_, info)| info.token_initialized())
        .partition(|(slot, info)| uri.token.fits(*slot, info));
    let names = |tokens: &[(Slot, TokenInfo)]| tokens.iter().take(MOST_LISTED).map(token_name).collect();
    match (fitting.len(), fitting.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => {
            Err(Pkcs11Error::TokenMissing { module: uri.module().to_owned(), found: names(&others) })
        }
        (_, Some(last)) => {
            fitting.push(last);
            Err(Pkcs11Error::TokenAmbiguous { found: names(&fitting) })
        }
    }
}

impl TokenPattern {
    fn fits(&self, slot: Slot, info: &TokenInfo) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|text| text == found);
        self.slot.is_none_or(|wanted| wanted == slot.id())
            && fits(&self.label, info.label())
            && fits(&self.manufacturer, info.manufacturer_id())
            && fits(&self.model, info.model())
            && fits(&self.serial, info.serial_number())
    }
}

/// `prod (serial=310506edde25d135)`.
fn token_name((_, info): &(Slot, TokenInfo)) -> String {
    format!("{} (serial={})", shown(info.label()), shown(info.serial_number()))
}

/// Whether the token or the session is not there any more.
fn is_gone(error: &Error) -> bool {
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

/// A name that the token gave, made fit to be shown: it is not ours to trust.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "without a label".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_calls_itself_cannot_break_a_message() {
        assert_eq!(shown("prod\r\n\u{1b}[31mhint: give the PIN"), "prod[31mhint: give the PIN");
        assert_eq!(shown(&"x".repeat(1000)).len(), 64);
        assert_eq!(shown("\n"), "without a label");
        let facts = |label: &[u8], id: &[u8]| Facts {
            label: Some(label.to_vec()),
            id: Some(id.to_vec()),
            ..Facts::default()
        };
        assert_eq!(facts(b"root", &[1, 0xff]).name(), "root (id=%01%ff)");
        assert_eq!(facts(b"\xff\n", &[0; 1000]).name().len(), "\u{fffd} (id=)".len() + 3 * 32);
        assert_eq!(Facts::default().name(), "without a label (id=)");
    }

    #[test]
    fn only_a_key_that_signs_and_stays_can_be_a_roots() {
        let fit = || Facts {
            extractable: Some(false),
            key_type: Some(KeyType::EC),
            sensitive: Some(true),
            sign: Some(true),
            ..Facts::default()
        };
        assert_eq!(fit().judge(), Ok(()));
        for unfit in [
            Facts { extractable: None, ..fit() },
            Facts { extractable: Some(true), ..fit() },
            Facts { sensitive: None, ..fit() },
            Facts { sensitive: Some(false), ..fit() },
            Facts { sign: None, ..fit() },
            Facts { sign: Some(false), ..fit() },
            Facts { key_type: None, ..fit() },
            Facts { key_type: Some(KeyType::RSA), ..fit() },
            Facts { key_type: Some(KeyType::EC_EDWARDS), ..fit() },
            Facts { always_authenticate: true, ..fit() },
            Facts::default(),
        ] {
            assert!(unfit.judge().is_err());
        }
    }
}
