//! Options for the output of a command.

use clap::Args;

use crate::terminal::report::Format;

/// Form of the output, for every command but `run`.
#[derive(Clone, Copy, Args)]
pub(crate) struct OutputOptions {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors.
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

impl OutputOptions {
    pub(crate) fn format(self) -> Format {
        Format::of(self.json, self.quiet)
    }
}
