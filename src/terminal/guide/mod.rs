//! Guides of both programs: Markdown below `src/guide/`, compiled in and shown as plain text.

mod command;
mod render;
mod topics;

pub use command::ShowGuide;
pub(super) use topics::has;
