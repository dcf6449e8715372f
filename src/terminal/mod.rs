//! Terminal output of both programs: results and errors as text or JSON, hints, exit codes, usage errors,
//! completions, manual pages, guides, progress.

pub(crate) mod completions;
mod file_page;
mod generated;
mod guide;
pub mod hints;
pub(crate) mod man;
pub(crate) mod progress;
pub(crate) mod report;
pub mod stderr;
pub(crate) mod usage;

pub use clap_complete::Shell;
pub use completions::completion_script;
pub use guide::ShowGuide;
pub use man::{manual_page, page};
pub use usage::usage_message;
