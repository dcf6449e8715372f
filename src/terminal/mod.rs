//! Terminal output of both programs: results and errors as text or JSON, tables, colors, hints, exit codes, usage
//! errors, completions, manual pages, guides, progress, and the guard for panics.

mod account_hints;
pub(crate) mod color;
pub(crate) mod completions;
pub(crate) mod escaped;
mod file_page;
mod generated;
mod guide;
pub(crate) mod hints;
pub(crate) mod man;
mod page_footer;
pub(crate) mod panic_guard;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod serve;
pub(crate) mod stderr;
pub(crate) mod table;
pub(crate) mod usage;

pub use guide::ShowGuide;
pub use serve::ServerFunctions;
