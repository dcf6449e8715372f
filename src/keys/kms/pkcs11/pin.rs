//! Source of the PIN of a token.

use super::error::Pkcs11Error;
use crate::keys::kms::error::KmsError;
use crate::secret::Secret;

/// Environment variable with the PIN of a token, used without `--pin-file`.
pub const PIN_VARIABLE: &str = "CLUSTER_CA_PKCS11_PIN";

/// Supply the PIN of a token, asked only at its login.
pub trait PinProvider {
    /// PIN of the token with this label. By default the stored one, which `stored` reads; a PIN supplied for
    /// this run takes precedence.
    ///
    /// # Errors
    /// [`Pkcs11Error::PinNeeded`] when none is available.
    fn pin(
        &self,
        token: &str,
        stored: &dyn Fn() -> Result<Option<Secret>, KmsError>,
    ) -> Result<Secret, KmsError> {
        stored()?.ok_or_else(|| Pkcs11Error::PinNeeded { token: token.to_owned() }.into())
    }
}
