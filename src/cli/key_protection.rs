//! Home opened to change the protection of its keys.

use crate::ca::KeyProtection;
use crate::cli::session::CommandSession;
use crate::terminal::report::Failure;

/// Open the home to change the protection of its keys.
pub(crate) fn open_key_protection(session: &CommandSession) -> Result<KeyProtection, Failure> {
    Ok(KeyProtection::open(&session.home(), &session.context)?)
}
