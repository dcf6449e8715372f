//! Private keys of a TLS endpoint, opened without holding up the endpoint.

mod error;
mod loaded;
mod opener;
mod source;

pub use error::KeyLoadError;
pub use loaded::{KeyProgress, LoadedKey};
pub use opener::KeyOpener;
pub use source::KeySource;
