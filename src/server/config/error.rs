//! Errors of values in the configuration.

/// Value that violates a rule of the configuration itself, not of another module's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ServerConfigError {
    #[error("must be from 1KiB to 16MiB")]
    BodyBytes,
    #[error("must be from 8KiB to 1MiB")]
    HeaderBytes,
    #[error("the API has this address: choose another address or port")]
    MetricsAddress,
    #[error("no host is given")]
    NoHost,
    #[error("this is given twice")]
    Repeated,
    #[error("must be 1s or more")]
    TooShort,
}
