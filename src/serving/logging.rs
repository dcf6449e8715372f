//! Log lines of a command on standard error.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::filter::LevelFilter;

use crate::serving::line_log::LineLog;
use crate::terminal::stderr::Stderr;

/// Log a command that does not serve. Failing writes are ignored.
pub(crate) fn log_to_standard_error(verbose: bool) {
    log_to(|| Stderr, verbose);
}

/// Log to `lines`: a slow reader of standard error must not block requests.
pub(crate) fn log_to_lines(lines: Arc<LineLog>, verbose: bool) {
    log_to(move || Lines(Arc::clone(&lines)), verbose);
}

fn log_to<W: Write>(writer: impl Fn() -> W + Send + Sync + 'static, verbose: bool) {
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        // With it, a failing write would be reported on standard error, and panic if that fails too.
        .log_internal_errors(false)
        .with_target(false)
        .with_max_level(if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO })
        .init();
}

struct Lines(Arc<LineLog>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append_text(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
