//! Errors of reloads and pushes.

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::state::StateError;
use crate::gateway::tokens::TokenLoadError;
use crate::mtls::keys::KeyLoadError;
use crate::revocation::CrlError;
use crate::x509::{KeyIdentifier, X509Error};
use crate::yaml::YamlProblem;

/// Error of a reload. The state in force stays, except as noted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// Configuration file.
        path: PathBuf,
        /// All problems, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// A key cannot be opened: the previous certificate stays, and everything else is in force.
    #[error(transparent)]
    Key(KeyLoadError),
    /// The configuration was not read from a file.
    #[error("there is no configuration file to reload")]
    NoFile,
    /// A file of the configuration is missing or invalid.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ReloadError {
    /// Causes, the nearest first, or all problems of the configuration.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        if let Self::Configuration { problems, .. } = self {
            return problems.iter().map(ToString::to_string).collect();
        }
        let chain = std::iter::successors(std::error::Error::source(self), |error| (*error).source());
        chain.map(ToString::to_string).collect()
    }

    /// Message with causes, on one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = crate::error::with_causes(self);
        if let Self::Configuration { problems, .. } = self {
            for problem in problems {
                text.push_str(&format!("; {problem}"));
            }
        }
        text
    }
}

impl Coded for ReloadError {
    fn coded(&self) -> Code {
        match self {
            Self::Configuration { .. } => Code::refused("gateway.configuration"),
            Self::NoFile => Code::refused("reload.no_file"),
            Self::Key(error) => error.coded(),
            Self::State(error) => error.coded(),
        }
    }
}

/// Refusal of a pushed CRL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Too many pushes are in progress.
    #[error("another push is in progress")]
    Busy,
    /// The CRL is not authentic, or not newer than the one in force.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The gateway has no directory to store CRLs in.
    #[error("this gateway has no `state_directory` to store it in")]
    NoStateDirectory,
    /// The CRL cannot be stored, and would be lost at the next restart.
    #[error("it is refused, since it cannot be stored")]
    NotKept {
        /// Cause.
        source: FileError,
    },
    /// Revocation checking is disabled.
    #[error("revocation is disabled on this gateway")]
    RevocationDisabled,
    /// The CRL has expired.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    Stale {
        /// Issuer of the CRL.
        issuer: KeyIdentifier,
        /// nextUpdate of the CRL.
        next_update: OffsetDateTime,
    },
    /// The resulting state would be invalid.
    #[error(transparent)]
    State(#[from] StateError),
    /// The statement about tokens is not authentic, or not newer than the one in force.
    #[error(transparent)]
    Statement(#[from] TokenLoadError),
    /// The gateway accepts no tokens.
    #[error("this gateway accepts no tokens: its configuration has no `tokens`")]
    TokensDisabled,
    /// The body has more CRLs than there are authorities.
    #[error("the body has more than {most} CRL{}, one per authority", if *most == 1 { "" } else { "s" })]
    TooMany {
        /// Number of authorities.
        most: usize,
    },
    /// The body is not a CRL.
    #[error("the body is not a CRL")]
    Unreadable {
        /// Cause.
        source: X509Error,
    },
}

impl Coded for PushError {
    fn coded(&self) -> Code {
        match self {
            Self::Busy => Code::refused("push.busy"),
            Self::Crl(error) => error.coded(),
            Self::NoStateDirectory => Code::refused("push.no_state_directory"),
            Self::NotKept { .. } => Code::refused("push.not_kept"),
            Self::RevocationDisabled => Code::refused("push.revocation_disabled"),
            Self::Stale { .. } => Code::refused("revocation.crl_expired"),
            Self::State(error) => error.coded(),
            Self::Statement(error) => error.coded(),
            Self::TokensDisabled => Code::refused("push.tokens_disabled"),
            Self::TooMany { .. } => Code::refused("push.too_many_crls"),
            Self::Unreadable { source } => source.coded(),
        }
    }
}
