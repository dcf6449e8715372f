//! Refusals of statements about tokens.

use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};

/// A statement about tokens that is not accepted, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Another algorithm than ES256, or none.
    #[error("the statement names another algorithm than ES256")]
    Algorithm,
    /// After its end.
    #[error("the statement expired at {}", rfc3339(*at))]
    Expired {
        /// Its end.
        at: OffsetDateTime,
    },
    /// Of another cluster.
    #[error("the statement is about the tokens of {found}")]
    Issuer {
        /// Issuer in the statement.
        found: String,
    },
    /// A key is not one on P-256, or has a wrong ID.
    #[error("a key of the statement is not a valid ECDSA key on the curve P-256")]
    Key,
    /// Not a statement as this program writes them.
    #[error("the statement is malformed")]
    Malformed,
    /// Dated in the future.
    #[error("the statement is dated in the future")]
    NotYetValid,
    /// Two statements have one number.
    #[error("another statement of number {number} has been in force")]
    NumberReused {
        /// Of both statements.
        number: u64,
    },
    /// Older than a statement that has been in force.
    #[error("statement {offered} is older than statement {current}, which has been in force")]
    Rollback {
        /// Number of the statement that has been in force.
        current: u64,
        /// Number of the refused one.
        offered: u64,
    },
    /// The signature is wrong.
    #[error("the signature of the statement is wrong")]
    Signature,
    /// The certificate of the signing key has another name.
    #[error("the certificate of the statement's key is not for the tokens of this cluster")]
    Signer,
    /// The statement could not be signed.
    #[error("the statement could not be signed")]
    Signing,
}

impl Coded for StatementError {
    fn coded(&self) -> Code {
        match self {
            Self::Algorithm => Code::refused("tokens.algorithm"),
            Self::Expired { .. } => Code::refused("tokens.expired"),
            Self::Issuer { .. } => Code::refused("tokens.issuer"),
            Self::Key => Code::refused("tokens.key"),
            Self::Malformed => Code::refused("tokens.malformed"),
            Self::NotYetValid => Code::refused("tokens.not_yet_valid"),
            Self::NumberReused { .. } => Code::refused("tokens.number_reused"),
            Self::Rollback { .. } => Code::refused("tokens.rollback"),
            Self::Signature => Code::refused("tokens.signature"),
            Self::Signer => Code::refused("tokens.signer"),
            Self::Signing => Code::environment("tokens.signing"),
        }
    }
}
