//! Gateway state: everything that a reload replaces, built whole, checked against itself, swapped atomically.

mod error;
mod keys;
mod loader;
mod snapshot;
mod tokens;

pub use error::StateError;
pub use keys::LoadedKeys;
pub use loader::Loader;
pub use snapshot::{Credentials, ListenerEntry, RevocationSources, Settings, State};
pub use tokens::TokenState;
