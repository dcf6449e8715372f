//! Connection to a key management service, as a trait, and the round trip that tests one.

use std::time::Duration;

use super::error::KmsError;
use super::login_end::LoginEnd;
use crate::keys::data_key::DataKey;

/// Connection to a service that wraps data keys with a key of its own, which never leaves it.
///
/// `W` is the wrapped form: each kind of service has its own, and callers use
/// [`WrappedKey`](super::WrappedKey), which covers all of them.
pub trait KeyWrap<W> {
    /// Check that the service is reachable and that its key may be used for wrapping.
    ///
    /// # Errors
    /// [`KmsError`].
    fn check(&self) -> Result<(), KmsError>;

    /// Wrap a data key. Services that support associated data bind `context` to it.
    ///
    /// # Errors
    /// [`KmsError`].
    fn wrap_key(&self, data_key: &DataKey, context: &[u8]) -> Result<W, KmsError>;

    /// Unwrap a data key.
    ///
    /// # Errors
    /// [`KmsError`].
    fn unwrap_key(&self, wrapped: &W, context: &[u8]) -> Result<DataKey, KmsError>;

    /// Rewrap a data key inside the service, under the newest version of its key.
    ///
    /// # Errors
    /// [`KmsError`].
    fn rewrap_key(&self, wrapped: &W) -> Result<Rewrap<W>, KmsError>;

    /// Renew a login that would expire, and return the time until the next renewal. `None` if the login
    /// needs no renewal.
    ///
    /// # Errors
    /// [`KmsError`].
    fn renew_login(&self) -> Result<Option<Duration>, KmsError> {
        Ok(None)
    }

    /// Look up the end of the login, and renew the login if that is possible.
    ///
    /// # Errors
    /// [`KmsError`].
    fn login_end(&self) -> Result<LoginEnd, KmsError> {
        Ok(LoginEnd::Open)
    }
}

/// Result of [`KeyWrap::rewrap_key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrap<W> {
    /// The data key was already wrapped under the newest version.
    Current,
    /// The data key is wrapped under the newest version now.
    Done(W),
}

/// Wrap and unwrap a throw-away data key: every permission that will be needed, tested before anything
/// depends on the service.
///
/// # Errors
/// [`KmsError`], in particular [`KmsError::RoundTrip`] for a data key that came back changed.
pub fn test_round_trip<W>(kms: &dyn KeyWrap<W>, address: &str) -> Result<(), KmsError> {
    kms.check()?;
    let random = || DataKey::random().map_err(|_| KmsError::Random);
    let (data_key, context) = (random()?, random()?);
    let wrapped = kms.wrap_key(&data_key, context.expose())?;
    let again = kms.unwrap_key(&wrapped, context.expose())?;
    if again.expose() == data_key.expose() {
        return Ok(());
    }
    Err(KmsError::RoundTrip { address: address.to_owned() })
}
