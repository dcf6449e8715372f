//! How far long work has come, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::Session;

/// Fewer than this are made before anybody has read a bar.
const WORTH_A_BAR: usize = 100;

/// A bar for `count` certificates; it draws nothing when stderr is no terminal.
pub(super) fn bar(count: usize, session: &Session) -> ProgressBar {
    if count < WORTH_A_BAR || session.global.quiet || session.global.json {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} certificates, {per_sec}, {eta} left")
}

/// A bar for `count` machines that something is carried to.
pub(super) fn deliveries(count: usize, session: &Session) -> ProgressBar {
    if count < 2 || session.global.quiet || session.global.json {
        return ProgressBar::hidden();
    }
    drawn(count, "{bar:40} {pos}/{len} deliveries, {elapsed}")
}

/// A bar for `count` gateways that are called; even one may take its time.
pub(super) fn gateways(count: usize, session: &Session) -> ProgressBar {
    if session.global.quiet || session.global.json {
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
