//! Codes, classes and causes of errors.
//!
//! | file | contents |
//! |---|---|
//! | `class` | the classes of errors, and the exit code of each |
//! | `code` | a stable code with its class |
//! | `coded` | the trait of every error that has a code |
//! | `chain` | an error's causes as text |
//! | `excerpt` | foreign text, escaped and shortened |

mod chain;
mod class;
mod code;
mod coded;
mod excerpt;

pub use chain::{causes, with_causes};
pub use class::Class;
pub use code::Code;
pub use coded::Coded;
pub use excerpt::excerpt;
