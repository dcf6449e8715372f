//! Why a key in a PKCS#11 token could not be used.

use std::io;
use std::path::PathBuf;

use crate::files::FileError;

/// Why a key in a PKCS#11 token could not be used, told so that each remedy has a case of its own. No
/// error says anything of a PIN, and none repeats a URI that holds one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The module or the token failed for a reason of its own.
    #[error("the PKCS#11 module failed to {doing}: {why}")]
    Failed {
        /// What it was asked for.
        doing: &'static str,
        /// The standard's name of the reason.
        why: String,
    },
    /// A file could not be read, or should not be used as it is.
    #[error(transparent)]
    File(#[from] FileError),
    /// Several keys fit.
    #[error("{} private keys of token {token} fit the URI: {}", found.len(), found.join(", "))]
    KeyAmbiguous {
        /// The token.
        token: String,
        /// Labels and ids.
        found: Vec<String>,
    },
    /// No key fits.
    #[error("no private key of token {token} fits the URI; it has: {}", listed(found))]
    KeyMissing {
        /// The token.
        token: String,
        /// Labels and ids of those that there are.
        found: Vec<String>,
    },
    /// The key may not, or cannot, be the one that signs.
    #[error("key {key} of token {token} cannot be the root's: {why}")]
    KeyUnfit {
        /// The token.
        token: String,
        /// Its label and id.
        key: String,
        /// What it lacks.
        why: &'static str,
    },
    /// Somebody else could put another module in its place, which would run with the root's key at hand.
    #[error("the PKCS#11 module is not loaded: {} {how}", path.display())]
    ModuleExposed {
        /// The file, or a directory or link on the way to it.
        path: PathBuf,
        /// What is wrong with it.
        how: String,
    },
    /// There is no such file.
    #[error("there is no PKCS#11 module {}", path.display())]
    ModuleMissing {
        /// The file.
        path: PathBuf,
        /// Why it cannot be had.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a PKCS#11 module: {why}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        why: String,
    },
    /// The PIN must be changed first.
    #[error("the PIN of token {token} has expired")]
    PinExpired {
        /// The token.
        token: String,
    },
    /// A PIN in the URI.
    #[error("the URI holds a PIN (pin-value), which every process on this machine could read there")]
    PinInUri,
    /// One more wrong try would lock the token.
    #[error("token {token} is one wrong PIN away from locking itself: none was tried")]
    PinLastTry {
        /// The token.
        token: String,
    },
    /// The token accepts no PIN any more.
    #[error("token {token} has locked itself after too many wrong PINs")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// A PIN is needed and there is nobody to ask.
    #[error("token {token} needs a PIN, and none was given")]
    PinNeeded {
        /// The token.
        token: String,
    },
    /// The token was never given a PIN.
    #[error("token {token} has no user PIN yet")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// The PIN could not be read from where it should come from.
    #[error("{from} holds no PIN: one line of text was expected")]
    PinUnreadable {
        /// Where it should come from.
        from: String,
    },
    /// The token does not accept the PIN.
    #[error("token {token} does not accept the PIN; it was tried once, and a few wrong ones lock the token")]
    PinWrong {
        /// The token.
        token: String,
    },
    /// Several tokens fit.
    #[error("{} tokens fit the URI: {}", found.len(), found.join(", "))]
    TokenAmbiguous {
        /// Their labels and serial numbers.
        found: Vec<String>,
    },
    /// The token was there and is not any more.
    #[error("token {token} was removed, or its session ended, while it was in use")]
    TokenGone {
        /// The token.
        token: String,
    },
    /// No token fits.
    #[error("no token that {} reaches fits the URI; there are: {}", module.display(), listed(found))]
    TokenMissing {
        /// The module.
        module: PathBuf,
        /// Labels and serial numbers of those that there are.
        found: Vec<String>,
    },
    /// Not a PKCS#11 URI of a private key.
    #[error("not the PKCS#11 URI (RFC 7512) of a private key: {why}")]
    Uri {
        /// The rule it breaks.
        why: String,
    },
}

fn listed(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

impl Pkcs11Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "pkcs11.failed",
            Self::File(error) => error.code(),
            Self::KeyAmbiguous { .. } => "pkcs11.key_ambiguous",
            Self::KeyMissing { .. } => "pkcs11.key_missing",
            Self::KeyUnfit { .. } => "pkcs11.key_unfit",
            Self::ModuleExposed { .. } => "pkcs11.module_exposed",
            Self::ModuleMissing { .. } => "pkcs11.module_missing",
            Self::NotAModule { .. } => "pkcs11.not_a_module",
            Self::PinExpired { .. } => "pkcs11.pin_expired",
            Self::PinInUri => "pkcs11.pin_in_uri",
            Self::PinLastTry { .. } => "pkcs11.pin_last_try",
            Self::PinLocked { .. } => "pkcs11.pin_locked",
            Self::PinNeeded { .. } => "pkcs11.pin_needed",
            Self::PinNotSet { .. } => "pkcs11.pin_not_set",
            Self::PinUnreadable { .. } => "pkcs11.pin_unreadable",
            Self::PinWrong { .. } => "pkcs11.pin_wrong",
            Self::TokenAmbiguous { .. } => "pkcs11.token_ambiguous",
            Self::TokenGone { .. } => "pkcs11.token_gone",
            Self::TokenMissing { .. } => "pkcs11.token_missing",
            Self::Uri { .. } => "pkcs11.uri",
        }
    }
}
