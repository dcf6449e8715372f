//! Errors of PKCS#11 tokens.

use std::io;
use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

use crate::error::{Code, Coded};
use crate::files::FileError;

/// Failure to use a key in a PKCS#11 token. Each remedy has its own variant. No message contains a PIN, or a
/// URI with one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// A call to the module failed.
    #[error("the PKCS#11 module failed to {doing}: {why}")]
    Failed {
        /// The operation.
        doing: &'static str,
        /// Name of the reason in the standard.
        why: String,
    },
    /// A file could not be read, or is not safe to use.
    #[error(transparent)]
    File(#[from] FileError),
    /// Several keys match the URI.
    #[error("{} private keys of token {token} match the URI: {}", found.len(), found.join(", "))]
    KeyAmbiguous {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
        /// Labels and ids.
        found: Vec<String>,
    },
    /// No key matches the URI.
    #[error("no private key of token {token} matches the URI; it has: {}", listed(found))]
    KeyMissing {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
        /// Labels and ids of the keys in the token.
        found: Vec<String>,
    },
    /// The key is unsuitable as a root key.
    #[error("key {key} of token {token} cannot be the root key: {why}")]
    KeyUnfit {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
        /// Label and id of the key.
        key: String,
        /// The missing property.
        why: &'static str,
    },
    /// Another user could replace the module, whose code runs with access to the root key.
    #[error("the PKCS#11 module is not loaded: {} {how}", path.display())]
    ModuleExposed {
        /// The file, or a directory or link in its path.
        path: PathBuf,
        /// The problem.
        how: String,
    },
    /// The module's file is missing.
    #[error("there is no PKCS#11 module {}", path.display())]
    ModuleMissing {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is not a PKCS#11 module.
    #[error("{} is not a PKCS#11 module: {why}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// Message of the loader.
        why: String,
    },
    /// The PIN has expired and must be changed.
    #[error("the PIN of token {token} has expired")]
    PinExpired {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// The URI contains a PIN.
    #[error("the URI contains a PIN (pin-value), which every process on this machine could read")]
    PinInUri,
    /// One more wrong PIN would lock the token.
    #[error("token {token} locks after one more wrong PIN: none was tried")]
    PinLastTry {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// The token is locked.
    #[error("token {token} is locked after too many wrong PINs")]
    PinLocked {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// A PIN is needed and no source has one.
    #[error("token {token} needs a PIN, and none was given")]
    PinNeeded {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// The token has no user PIN.
    #[error("token {token} has no user PIN yet")]
    PinNotSet {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// The source of the PIN is unreadable or empty.
    #[error("no PIN in {from}: one line of text is expected")]
    PinUnreadable {
        /// File or other source.
        from: String,
    },
    /// The token refused the PIN.
    #[error("token {token} refused the PIN; it was tried once, and a few wrong ones lock the token")]
    PinWrong {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// Several tokens match the URI.
    #[error("{} tokens match the URI: {}", found.len(), found.join(", "))]
    TokenAmbiguous {
        /// Labels and serial numbers.
        found: Vec<String>,
    },
    /// The token or its session disappeared during use.
    #[error("token {token} was removed, or its session ended, while it was in use")]
    TokenGone {
        /// Label (CKA_LABEL) with control characters escaped.
        token: String,
    },
    /// No token matches the URI.
    #[error("no token of module {} matches the URI; it has: {}", module.display(), listed(found))]
    TokenMissing {
        /// Path of the shared library.
        module: PathBuf,
        /// Labels and serial numbers of the tokens present, and slots that cannot be read.
        found: Vec<String>,
    },
    /// Not a valid PKCS#11 URI of a private key.
    #[error("not the PKCS#11 URI (RFC 7512) of a private key: {why}")]
    Uri {
        /// The violated rule.
        why: String,
    },
}

fn listed(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

impl Coded for Pkcs11Error {
    fn coded(&self) -> Code {
        match self {
            Self::Failed { .. } => Code::unavailable("pkcs11.failed"),
            Self::File(error) => error.coded(),
            Self::KeyAmbiguous { .. } => Code::refused("pkcs11.key_ambiguous"),
            Self::KeyMissing { .. } => Code::unavailable("pkcs11.key_missing"),
            Self::KeyUnfit { .. } => Code::refused("pkcs11.key_unfit"),
            Self::ModuleExposed { .. } => Code::refused("pkcs11.module_exposed"),
            Self::ModuleMissing { .. } => Code::environment("pkcs11.module_missing"),
            Self::NotAModule { .. } => Code::environment("pkcs11.not_a_module"),
            Self::PinExpired { .. } => Code::unavailable("pkcs11.pin_expired"),
            Self::PinInUri => Code::usage("pkcs11.pin_in_uri"),
            Self::PinLastTry { .. } => Code::refused("pkcs11.pin_last_try"),
            Self::PinLocked { .. } => Code::unavailable("pkcs11.pin_locked"),
            Self::PinNeeded { .. } => Code::usage("pkcs11.pin_needed"),
            Self::PinNotSet { .. } => Code::unavailable("pkcs11.pin_not_set"),
            Self::PinUnreadable { .. } => Code::environment("pkcs11.pin_unreadable"),
            Self::PinWrong { .. } => Code::unavailable("pkcs11.pin_wrong"),
            Self::TokenAmbiguous { .. } => Code::refused("pkcs11.token_ambiguous"),
            Self::TokenGone { .. } => Code::unavailable("pkcs11.token_gone"),
            Self::TokenMissing { .. } => Code::unavailable("pkcs11.token_missing"),
            Self::Uri { .. } => Code::usage("pkcs11.uri"),
        }
    }
}

/// The error for a failed call of the module.
pub(super) fn failed(doing: &'static str, error: &Error) -> Pkcs11Error {
    Pkcs11Error::Failed { doing, why: reason(error) }
}

/// Reason of a failed call, by its name in the standard.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), _) => {
            format!("error {code:#x}")
        }
        // The variants are named as in the standard, in another case.
        Error::Pkcs11(error, _) => format!("{error:?}"),
        other => other.to_string(),
    }
}
