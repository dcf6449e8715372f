//! Terminal output of both programs: results and errors as text or JSON, tables, colors, hints, exit codes, usage
//! errors, completions, manual pages, guides, progress, and the guard for panics.
//!
//! | file | contents |
//! |---|---|
//! | `color` | Colors of states in tables and texts, on a terminal that has them |
//! | `completions` | `completions`: completion scripts for shells |
//! | `escaped` | Text from outside, without effect on a terminal |
//! | `file_page` | Manual pages of YAML files (section 5), generated from the schemas that their parsers use |
//! | `generated` | Output generated from the command tree or compiled-in text |
//! | `guide` | Guides of both programs |
//! | `help_footer` | Footers of help pages |
//! | `hints` | Hints: the next step after an error, by its code and by the reader |
//! | `man` | `man`: manual pages |
//! | `page_footer` | Footer of manual pages |
//! | `panic_guard` | Guard for panics: one line on standard error, and the exit code of an error |
//! | `progress` | Progress bars on a terminal |
//! | `report` | Output of commands |
//! | `rows` | Results of any length: rows that are printed while they are read, in constant memory |
//! | `serve` | Functions of the server that `cluster-ca serve` calls |
//! | `stderr` | Standard error, written without panics |
//! | `table` | Tables of both programs: headings, columns that fit the terminal, and states in color |
//! | `usage` | Usage errors of both programs |

pub(crate) mod color;
pub(crate) mod completions;
pub(crate) mod escaped;
mod file_page;
mod generated;
mod guide;
pub(crate) mod help_footer;
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
