//! Public PEM files among the options.

use std::path::Path;

use crate::error::Code;
use crate::files;
use crate::terminal::report::Failure;

/// Read a public PEM file as text.
pub(crate) fn pem_text(file: &Path) -> Result<String, Failure> {
    let not_pem = |_| Failure::new(Code::environment("x509.pem"), format!("{} is not PEM", file.display()));
    String::from_utf8(files::read_write_protected(file, files::SMALL_FILE)?).map_err(not_pem)
}
