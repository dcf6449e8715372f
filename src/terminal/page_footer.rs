//! Footer of manual pages.

/// Footer of every page of a program.
pub(super) struct PageFooter {
    /// Blank date. An empty one is written without quotes, and the source takes its place.
    pub(super) date: &'static str,
    /// Program and version.
    pub(super) source: String,
    /// Title of the manual.
    pub(super) manual: &'static str,
}

impl PageFooter {
    pub(super) fn of(program: &clap::Command) -> Self {
        let version = program.get_version().unwrap_or_default();
        Self { date: " ", source: format!("{} {version}", program.get_name()), manual: "Cluster CA Manual" }
    }
}
