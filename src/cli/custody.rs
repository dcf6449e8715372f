//! The home, opened to change what protects its keys.

use crate::ca::KeyProtection;
use crate::cli::session::Session;
use crate::terminal::report::Failure;

/// Opens the home to change what protects its keys.
pub(crate) fn custody(session: &Session) -> Result<KeyProtection, Failure> {
    Ok(KeyProtection::open(&session.home(), &session.context)?)
}
