//! Refusals of tokens.

use crate::clock::EntropyError;
use crate::error::{Code, Coded};

/// A token that is not accepted, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Another algorithm than ES256, or none.
    #[error("the token names another algorithm than ES256")]
    Algorithm,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Bound to another client certificate, or to one that was not presented.
    #[error("the token is bound to another client certificate")]
    Certificate,
    /// The random generator failed.
    #[error("the system's random generator failed")]
    Entropy,
    /// After its end.
    #[error("the token has expired")]
    Expired,
    /// Of another issuer.
    #[error("the token was issued by another cluster")]
    Issuer,
    /// The signing key is not an ECDSA key on P-256.
    #[error("the key for tokens is not an ECDSA key on the curve P-256")]
    Key,
    /// Not a token as this program writes them.
    #[error("the token is malformed")]
    Malformed,
    /// Before its start.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The user must change the password first.
    #[error("the password of the user must be changed first")]
    PasswordChange,
    /// The token was revoked, or its session has ended.
    #[error("the token was revoked")]
    Revoked,
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Signing,
    /// No statement about tokens is in force.
    #[error("no statement about tokens is in force")]
    Statement,
    /// Signed with a key that is not one of the cluster's.
    #[error("the token names an unknown key")]
    UnknownKey,
}

impl From<EntropyError> for TokenError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl Coded for TokenError {
    fn coded(&self) -> Code {
        match self {
            Self::Algorithm => Code::refused("token.algorithm"),
            Self::Audience => Code::refused("token.audience"),
            Self::Certificate => Code::refused("token.certificate"),
            Self::Entropy => EntropyError.coded(),
            Self::Expired => Code::refused("token.expired"),
            Self::Issuer => Code::refused("token.issuer"),
            Self::Key => Code::refused("token.key"),
            Self::Malformed => Code::refused("token.malformed"),
            Self::NotYetValid => Code::refused("token.not_yet_valid"),
            Self::PasswordChange => Code::refused("token.password_change"),
            Self::Revoked => Code::refused("token.revoked"),
            Self::Signature => Code::refused("token.signature"),
            Self::Signing => Code::environment("token.signing"),
            Self::Statement => Code::refused("token.statement"),
            Self::UnknownKey => Code::refused("token.unknown_key"),
        }
    }
}
