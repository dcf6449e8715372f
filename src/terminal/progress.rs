//! Progress bars on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::report::Format;

/// Fewer certificates than this take less than a second.
const WORTH_A_BAR: usize = 100;

/// Progress bar for `count` certificates; hidden if stderr is not a terminal.
pub(crate) fn certificates(count: usize, format: Format) -> ProgressBar {
    if count < WORTH_A_BAR || format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} certificates, {per_sec}, {eta} left")
}

/// Progress bar for `count` checks of records.
pub(crate) fn checks(count: usize, format: Format) -> ProgressBar {
    if count < 100 * WORTH_A_BAR || format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} checks, {per_sec}, {eta} left")
}

/// Progress bar for `count` deliveries.
pub(crate) fn deliveries(count: usize, format: Format) -> ProgressBar {
    if count < 2 || format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} deliveries, {elapsed}")
}

/// Progress bar for `count` gateways, shown even for one: a call may take until its timeout.
pub(crate) fn gateways(count: usize, format: Format) -> ProgressBar {
    if format != Format::Text {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} gateways, {elapsed}")
}

/// indicatif draws nothing if stderr is not a terminal.
fn drawn(count: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
