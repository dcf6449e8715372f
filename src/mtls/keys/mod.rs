//! Private keys of a TLS endpoint, opened without holding up the endpoint.

mod error;
mod file;
mod loaded;
mod opener;

pub use error::KeyLoadError;
pub use file::KeyFile;
pub use loaded::{KeyProgress, LoadedKey};
pub use opener::KeyOpener;
