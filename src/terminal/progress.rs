//! How far long work has come, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::report::Format;

/// Fewer than this are made before anybody has read a bar.
const WORTH_A_BAR: usize = 100;

/// A bar for `count` certificates; it draws nothing when stderr is no terminal.
pub(crate) fn certificates(count: usize, format: Format) -> ProgressBar {
    if count < WORTH_A_BAR || format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} certificates, {per_sec}, {eta} left")
}

/// A bar for `count` machines that something is carried to.
pub(crate) fn deliveries(count: usize, format: Format) -> ProgressBar {
    if count < 2 || format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} deliveries, {elapsed}")
}

/// A bar for `count` gateways that are called; even one may take its time.
pub(crate) fn gateways(count: usize, format: Format) -> ProgressBar {
    if format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} gateways, {elapsed}")
}

/// indicatif itself draws nothing when stderr is no terminal.
fn drawn(count: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
