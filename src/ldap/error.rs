//! Failures of a directory.

use std::io;

use crate::error::{Code, Coded, excerpt};
use crate::keys::kms::KmsError;

/// Violation of the protocol in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A directory that cannot be used, or refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LdapError {
    /// More than one entry has the name.
    #[error("the directory {address} has more entries with this name than the {limit} that are expected")]
    Ambiguous {
        /// Address of the directory.
        address: String,
        /// Most entries that are expected.
        limit: u32,
    },
    /// A password would be sent without encryption.
    #[error("{address} is not on this machine, and passwords are not sent without TLS")]
    ClearText {
        /// Address of the directory.
        address: String,
    },
    /// A bind without a password would succeed for every name (RFC 4513, section 5.1.2).
    #[error("an empty name or password is not sent to the directory")]
    EmptyPassword,
    /// The directory sent something that is not LDAP.
    #[error("{address} sent a message that is not valid LDAP: {why}")]
    Protocol {
        /// Address of the directory.
        address: String,
        /// Violated rule.
        why: &'static str,
    },
    /// The directory refuses the name or the password of the reader.
    #[error("{address} refuses the name or the password of the reader")]
    Reader {
        /// Address of the directory.
        address: String,
    },
    /// The directory refuses an operation.
    #[error("{address} refuses {operation}: result {code} ({name}){}", quoted(message))]
    Refused {
        /// Address of the directory.
        address: String,
        /// Refused operation.
        operation: &'static str,
        /// Result code (RFC 4511, appendix A).
        code: u32,
        /// Name of the result code.
        name: &'static str,
        /// Text of the directory.
        message: String,
    },
    /// The CA certificate of the directory cannot be used.
    #[error(transparent)]
    Trust(#[from] KmsError),
    /// The directory does not answer.
    #[error("the directory {address} does not answer")]
    Unavailable {
        /// Address of the directory.
        address: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The certificate of the directory does not verify.
    #[error("the certificate of the directory {address} is not trusted: {why}")]
    Untrusted {
        /// Address of the directory.
        address: String,
        /// Reason.
        why: String,
    },
    /// Malformed address.
    #[error("{given:?} is not the address of a directory: {why}")]
    Uri {
        /// The given text.
        given: String,
        /// Reason.
        why: &'static str,
    },
}

fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", excerpt(message)) }
}

impl Coded for LdapError {
    fn coded(&self) -> Code {
        match self {
            Self::Ambiguous { .. } => Code::refused("ldap.ambiguous"),
            Self::ClearText { .. } => Code::refused("ldap.clear_text"),
            Self::EmptyPassword => Code::refused("ldap.empty_password"),
            Self::Protocol { .. } => Code::unavailable("ldap.protocol"),
            Self::Reader { .. } => Code::refused("ldap.reader"),
            Self::Refused { .. } => Code::refused("ldap.refused"),
            Self::Trust(error) => error.coded(),
            Self::Unavailable { .. } => Code::unavailable("ldap.unavailable"),
            Self::Untrusted { .. } => Code::unavailable("ldap.untrusted"),
            Self::Uri { .. } => Code::usage("input.ldap_uri"),
        }
    }
}
