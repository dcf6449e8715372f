//! Whole lines, written by a thread of their own, so that no request waits for a disk, a pipe or a
//! terminal: the access log, and what the process says on standard error.
//!
//! Lines gather in a buffer while the writer is busy and go out with one write. A reader that stops
//! reading costs lines, never requests, never memory, and not the end of the process; how many were lost
//! is said in the log itself.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// The most that may wait to be written.
const AT_MOST: usize = 8 << 20;

/// How long lines gather after the first one.
const GATHER: Duration = Duration::from_millis(5);

/// How long the end waits for a reader that does not read.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where lines go; dropped, it writes what it has and ends.
pub struct LineLog {
    shared: Arc<Shared>,
}

struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    ended: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Since the last write.
    lost: u64,
    closed: bool,
    ended: bool,
}

impl LineLog {
    /// Starts the thread `name`, which writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(name: &str, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            changed: Condvar::new(),
            ended: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        thread::Builder::new().name(name.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all(out)
        })?;
        Ok(Self { shared })
    }

    /// Appends a value as one line of JSON.
    pub fn append(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        self.append_text(&text);
    }

    /// Appends whole lines.
    pub fn append_text(&self, lines: &[u8]) {
        let mut pending = self.shared.pending();
        if pending.lines.len() + lines.len() > AT_MOST {
            pending.lost += 1;
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let wake = pending.lines.is_empty();
        pending.lines.extend_from_slice(lines);
        drop(pending);
        if wake {
            self.shared.changed.notify_one();
        }
    }

    /// How many lines were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Writes what there is, and no more from then on; a reader that does not read is not waited for.
    pub fn close(&self) {
        let mut pending = self.shared.pending();
        pending.closed = true;
        self.shared.changed.notify_one();
        let _ = self.shared.ended.wait_timeout_while(pending, FAREWELL, |pending| !pending.ended);
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut out: Box<dyn Write + Send>) {
        let mut lines = Vec::new();
        let (mut failing, mut losing) = (false, false);
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
                if !losing {
                    tracing::warn!("the reader of a log is too slow: lines are lost");
                }
            }
            losing = lost > 0;
            let written = out.write_all(&lines).and_then(|()| out.flush());
            match &written {
                Err(error) if !failing => tracing::error!(%error, "a log cannot be written"),
                Ok(()) if failing => tracing::info!("the log is written again"),
                _ => {}
            }
            failing = written.is_err();
            if closed {
                self.pending().ended = true;
                self.ended.notify_all();
                return;
            }
        }
    }
}

impl fmt::Debug for LineLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineLog").finish_non_exhaustive()
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
        let log = LineLog::start("log", Box::new(lines.clone())).unwrap();
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
        let log = LineLog::start("log", Box::new(lines.clone())).unwrap();
        log.append(&"GET /\r\n{\"event\":\"forged\"}\u{1b}[2J");
        drop(log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    /// A pipe that nobody reads.
    struct Stuck(Arc<Mutex<()>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.lock());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_nothing_else() {
        let unread = Arc::new(Mutex::new(()));
        let stuck = unread.lock();
        let log = LineLog::start("log", Box::new(Stuck(Arc::clone(&unread)))).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            log.append_text(&line);
        }
        assert!((4..=12).contains(&log.lost()), "{}", log.lost());
        drop(log);
        drop(stuck);
    }
}
