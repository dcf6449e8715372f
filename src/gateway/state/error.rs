//! Errors of building a state.

use std::path::PathBuf;

use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::tokens::TokenLoadError;
use crate::gateway::upstream::assertion::AssertionError;
use crate::mtls::ServerCertificateError;
use crate::mtls::crl::CrlLoadError;
use crate::mtls::keys::KeyLoadError;
use crate::mtls::tls::TlsError;
use crate::x509::trust::TrustError;

/// State that cannot be built from the files that the configuration names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The key for signed assertions cannot be used.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// A CRL is refused or missing.
    #[error(transparent)]
    Crl(#[from] CrlLoadError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of intermediate authorities is refused.
    #[error("the file of intermediate authorities {} is refused", path.display())]
    Intermediates {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: Box<TrustError>,
    },
    /// A private key cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyLoadError),
    /// The gateway's certificate is refused.
    #[error(transparent)]
    ServerCertificate(#[from] ServerCertificateError),
    /// rustls does not accept the settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The statement about tokens is refused.
    #[error(transparent)]
    Tokens(#[from] TokenLoadError),
    /// The trust bundle is refused.
    #[error("the trust bundle {} is refused", path.display())]
    Trust {
        /// Path of the trust bundle.
        path: PathBuf,
        /// Reason.
        source: TrustError,
    },
}

impl Coded for StateError {
    fn coded(&self) -> Code {
        match self {
            Self::Assertion(error) => error.coded(),
            Self::Crl(error) => error.coded(),
            Self::File(error) => error.coded(),
            Self::Intermediates { source, .. } => source.coded(),
            Self::Key(error) => error.coded(),
            Self::ServerCertificate(error) => error.coded(),
            Self::Tls(error) => error.coded(),
            Self::Tokens(error) => error.coded(),
            Self::Trust { source, .. } => source.coded(),
        }
    }
}
