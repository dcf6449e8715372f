//! The access log: whole lines, written by a thread of its own, so that no request waits for a disk or
//! a pipe.
//!
//! Lines gather in a buffer while the writer is busy and go out with one write. A reader that stops
//! reading costs lines, never requests and never memory; how many were lost is said in the log itself.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// The most that may wait to be written.
const AT_MOST: usize = 8 << 20;

/// How long lines gather after the first one.
const GATHER: Duration = Duration::from_millis(5);

/// Where access lines go; dropped, it writes what it has and ends.
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Option<thread::JoinHandle<()>>,
}

struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    lost: u64,
    closed: bool,
}

impl AccessLog {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared { pending: Mutex::default(), changed: Condvar::new() });
        let writer = thread::Builder::new().name("access-log".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all(out)
        })?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Appends one line.
    pub fn append(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut pending = self.shared.pending();
        if pending.lines.len() + text.len() > AT_MOST {
            pending.lost += 1;
            return;
        }
        let wake = pending.lines.is_empty();
        pending.lines.extend_from_slice(&text);
        drop(pending);
        if wake {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.pending().closed = true;
        self.shared.changed.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut out: Box<dyn Write + Send>) {
        let mut lines = Vec::new();
        let mut failing = false;
        loop {
            let mut pending = self.pending();
            while pending.lines.is_empty() && !pending.closed {
                pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            if !pending.closed {
                drop(pending);
                thread::sleep(GATHER);
                pending = self.pending();
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut pending.lines);
            let (lost, closed) = (std::mem::take(&mut pending.lost), pending.closed);
            drop(pending);
            if lost > 0 {
                lines
                    .extend_from_slice(format!("{{\"event\":\"lines_lost\",\"count\":{lost}}}\n").as_bytes());
                tracing::warn!(lost, "the access log's reader is too slow: lines were lost");
            }
            let written = out.write_all(&lines).and_then(|()| out.flush());
            match &written {
                Err(error) if !failing => tracing::error!(%error, "the access log cannot be written"),
                Ok(()) if failing => tracing::info!("the access log is written again"),
                _ => {}
            }
            failing = written.is_err();
            if closed {
                return;
            }
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_before_the_log_ends() {
        let lines = Lines::default();
        let log = AccessLog::start(Box::new(lines.clone())).unwrap();
        for n in 0..1_000 {
            log.append(&n);
        }
        drop(log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1_000);
    }

    #[test]
    fn a_value_never_makes_a_second_line() {
        let lines = Lines::default();
        let log = AccessLog::start(Box::new(lines.clone())).unwrap();
        log.append(&"GET /\r\n{\"event\":\"forged\"}\u{1b}[2J");
        drop(log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
