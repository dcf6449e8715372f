//! Errors of reloads and pushes.

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::state::StateError;
use crate::mtls::keys::KeyLoadError;
use crate::revocation::CrlError;
use crate::x509::{KeyIdentifier, X509Error};
use crate::yaml::YamlProblem;

/// Why what is in force stays so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// A key cannot be opened: the one before stays with its certificate, and everything else is new.
    #[error(transparent)]
    Key(KeyLoadError),
    /// The configuration was not read from a file.
    #[error("there is no configuration file to load again")]
    NoFile,
    /// What it names is not there, or does not fit.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ReloadError {
    /// What led to it, the nearest first: what caused it, or every problem of the configuration.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        if let Self::Configuration { problems, .. } = self {
            return problems.iter().map(ToString::to_string).collect();
        }
        let chain = std::iter::successors(std::error::Error::source(self), |error| (*error).source());
        chain.map(ToString::to_string).collect()
    }

    /// It and what caused it, on one line.
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

/// Why a pushed CRL is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Another push is under way.
    #[error("another push is under way")]
    Busy,
    /// It is not to be believed, or not newer.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// There is nowhere to keep it.
    #[error("this gateway has no `state_directory` to keep a CRL in")]
    NoStateDirectory,
    /// It would be lost at the next restart.
    #[error("the CRL cannot be kept, and so is not taken")]
    NotKept {
        /// What the system says.
        source: FileError,
    },
    /// This gateway does not look at CRLs.
    #[error("revocation is disabled on this gateway")]
    RevocationDisabled,
    /// It is past its end.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    Stale {
        /// Whose it is.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// The gateway would not hold under it.
    #[error(transparent)]
    State(#[from] StateError),
    /// There are more CRLs in it than authorities.
    #[error("the body has more than {most} CRL{}, one of each authority", if *most == 1 { "" } else { "s" })]
    TooMany {
        /// How many authorities there are.
        most: usize,
    },
    /// It is no CRL.
    #[error("the body is not a CRL")]
    Unreadable {
        /// What is wrong with it.
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
            Self::TooMany { .. } => Code::refused("push.too_many_crls"),
            Self::Unreadable { source } => source.coded(),
        }
    }
}
