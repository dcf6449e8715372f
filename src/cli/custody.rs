//! The home, opened to change what protects its keys.

use crate::ca::Custody;
use crate::cli::session::Session;
use crate::terminal::report::Failure;

/// Opens the home to change what protects its keys.
pub(crate) fn custody(session: &Session) -> Result<Custody, Failure> {
    Ok(Custody::open(&session.home(), &session.context)?)
}
