//! Writer of log lines on a thread of its own, so that no request waits for a disk, a pipe or a terminal.
//!
//! It writes the access log and the log of the process on standard error. Lines gather in a buffer while the
//! thread writes, and go out with one write.
//!
//! A slow reader or a full disk costs lines, but it never blocks a request or the shutdown, and the buffer never
//! exceeds 8 MiB. Lost lines are counted, and reported in the log itself (event `lines_lost`) when it can be
//! written again.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, thread};

use serde::Serialize;

/// Maximum size of the buffer in bytes.
const MAX_PENDING: usize = 8 << 20;

/// Time for which lines gather after the first one.
const BATCH_DELAY: Duration = Duration::from_millis(5);

/// Longest wait for a blocked reader when the log is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Destination of log lines.
pub trait Destination: Write + Send {
    /// Prepare for the next lines; with `reopen`, open the file at the path again.
    ///
    /// # Errors
    /// System error; lines go to the previous file.
    fn prepare(&mut self, _reopen: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for io::Sink {}
impl Destination for io::Stderr {}
impl Destination for io::Stdout {}

/// Log of lines. Dropping it writes the pending lines and closes it.
pub struct LineLog {
    /// `None` for a log that is off.
    queue: Option<Arc<Queue>>,
}

struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
    ended: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Lines lost to a full buffer since the last write.
    overflowed: u64,
    /// Lines lost to a serialization error since the last write.
    unserializable: u64,
    /// First of these errors.
    error: Option<serde_json::Error>,
    reopen: bool,
    closed: bool,
    ended: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.overflowed == 0 && self.unserializable == 0
    }
}

impl LineLog {
    /// Start a thread `name` that writes to `out`.
    ///
    /// # Errors
    /// System error if no thread can be started.
    pub fn start(name: &str, out: Box<dyn Destination>) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            pending: Mutex::default(),
            changed: Condvar::new(),
            ended: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        thread::Builder::new().name(name.to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || queue.write_all(out)
        })?;
        Ok(Self { queue: Some(queue) })
    }

    /// Log without a destination or a thread. Lines are not even formatted.
    #[must_use]
    pub fn off() -> Self {
        Self { queue: None }
    }

    /// Append a value as one line of JSON. A value that cannot be serialized counts as a lost line.
    pub fn append(&self, line: &impl Serialize) {
        let Some(queue) = &self.queue else { return };
        match serde_json::to_vec(line) {
            Ok(mut text) => {
                text.push(b'\n');
                self.append_text(&text);
            }
            Err(error) => queue.push(|pending| {
                pending.unserializable += 1;
                pending.error.get_or_insert(error);
                false
            }),
        }
    }

    /// Append what `write` adds to an empty buffer: complete lines. The buffer is the thread's own, so that no line
    /// allocates and no thread formats its line while it holds the lock.
    pub fn append_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        if self.queue.is_none() {
            return;
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(line);
            self.append_text(line);
        });
    }

    /// Append complete lines.
    pub fn append_text(&self, lines: &[u8]) {
        let Some(queue) = &self.queue else { return };
        queue.push(|pending| {
            let fits = pending.lines.len() + lines.len() <= MAX_PENDING;
            if fits {
                pending.lines.extend_from_slice(lines);
            } else {
                pending.overflowed += 1;
            }
            fits
        });
    }

    /// Number of lines lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.lost.load(Ordering::Relaxed))
    }

    /// Request that the destination is opened again by its path. Does not wait.
    pub fn reopen(&self) {
        let Some(queue) = &self.queue else { return };
        queue.pending().reopen = true;
        queue.changed.notify_one();
    }

    /// Write the pending lines and accept no more. Waits at most one second for a blocked reader.
    pub fn close(&self) {
        let Some(queue) = &self.queue else { return };
        let mut pending = queue.pending();
        pending.closed = true;
        queue.changed.notify_one();
        let _ = queue.ended.wait_timeout_while(pending, CLOSE_TIMEOUT, |pending| !pending.ended);
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add to the pending lines by `add`, which returns `false` if a line is lost; wake the thread if it
    /// waits.
    fn push(&self, add: impl FnOnce(&mut Pending) -> bool) {
        let mut pending = self.pending();
        let wake = pending.is_empty();
        if !add(&mut pending) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(pending);
        if wake {
            self.changed.notify_one();
        }
    }

    fn write_all(&self, out: Box<dyn Destination>) {
        let mut writer = Writer { out, failing: false, unterminated: false, unreported: 0 };
        let mut lines = Vec::new();
        let (mut overflowing, mut unserializable) = (false, false);
        loop {
            let mut pending = self.pending();
            while pending.is_empty() && !pending.closed && !pending.reopen {
                pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            if !pending.closed {
                drop(pending);
                thread::sleep(BATCH_DELAY);
                pending = self.pending();
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut pending.lines);
            let overflowed = std::mem::take(&mut pending.overflowed);
            let lost = overflowed + std::mem::take(&mut pending.unserializable);
            let error = pending.error.take();
            let (reopen, closed) = (std::mem::take(&mut pending.reopen), pending.closed);
            drop(pending);
            // Each cause is logged when it begins, not for every batch.
            if overflowed > 0 && !overflowing {
                tracing::warn!("log lines are lost: the reader is too slow");
            }
            overflowing = overflowed > 0;
            if let Some(error) = error.as_ref().filter(|_| !unserializable) {
                tracing::error!(%error, "log lines are lost: they cannot be serialized");
            }
            unserializable = error.is_some();
            writer.unreported += lost;
            if let Err(error) = writer.out.prepare(reopen) {
                tracing::error!(%error, "a log file cannot be reopened; the previous one stays in use");
            }
            if !lines.is_empty() || lost > 0 {
                self.lost.fetch_add(writer.write(&lines), Ordering::Relaxed);
            }
            if closed {
                self.pending().ended = true;
                self.ended.notify_all();
                return;
            }
        }
    }
}

/// Writer to the destination, with its state after the last write.
struct Writer {
    out: Box<dyn Destination>,
    failing: bool,
    /// Set if the last line was written without its line feed.
    unterminated: bool,
    /// Lost lines that the log does not report yet.
    unreported: u64,
}

impl Writer {
    /// Write a report of lost lines, if there are any, and `lines`; returns the number of lines lost now.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let reported = match self.unreported {
            0 => Ok(()),
            lost => self
                .put(format!("{{\"event\":\"lines_lost\",\"count\":{lost}}}\n").as_bytes())
                .map_err(|_| lines),
        };
        let unwritten = reported.and_then(|()| {
            self.unreported = 0;
            self.put(lines)
        });
        let unwritten = unwritten.err().unwrap_or_default();
        let lost = unwritten.iter().filter(|byte| **byte == b'\n').count();
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        self.unreported += lost;
        lost
    }

    /// Write `bytes`, or return the part that was not written.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> Result<(), &'a [u8]> {
        let mut left = bytes;
        let written = self.put_all(&mut left);
        match &written {
            Err(error) if !self.failing => {
                tracing::error!(%error, "log lines are lost: the log cannot be written");
            }
            Ok(()) if self.failing => tracing::info!("the log is written again"),
            _ => {}
        }
        self.failing = written.is_err();
        written.map_err(|_| left)
    }

    fn put_all(&mut self, left: &mut &[u8]) -> io::Result<()> {
        if self.unterminated {
            // The rest of that line is lost; without a line feed, the next line would be lost too.
            self.out.write_all(b"\n")?;
            self.unterminated = false;
        }
        while !left.is_empty() {
            let written = match self.out.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (done, rest) = left.split_at(written.min(left.len()));
            self.unterminated = !done.ends_with(b"\n");
            *left = rest;
        }
        self.out.flush()
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
    fn every_line_is_written_before_the_log_is_closed() {
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

    impl Destination for Lines {}
    impl Destination for Stuck {}

    /// Disk with `room` bytes left.
    struct Full {
        room: Arc<Mutex<usize>>,
        written: Lines,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.room.lock().unwrap();
            let fits = bytes.len().min(*room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= fits;
            self.written.write(&bytes[..fits])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Destination for Full {}

    #[test]
    fn lines_lost_to_a_full_disk_are_counted_and_reported() {
        let (room, written) = (Arc::new(Mutex::new(7)), Lines::default());
        let out = Box::new(Full { room: Arc::clone(&room), written: written.clone() });
        let mut writer = Writer { out, failing: false, unterminated: false, unreported: 0 };
        assert_eq!(writer.write(b"one\n"), 0);
        assert_eq!(writer.write(b"second\nthird\n"), 2);
        assert_eq!(writer.write(b"fourth\n"), 1);
        assert!(writer.failing);
        *room.lock().unwrap() = 1_000;
        assert_eq!(writer.write(b"fifth\n"), 0);
        assert!(!writer.failing);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "one\nsec\n{\"event\":\"lines_lost\",\"count\":3}\nfifth\n");
    }

    #[test]
    fn unwritten_lines_are_counted_as_lost() {
        let out = Full { room: Arc::default(), written: Lines::default() };
        let log = LineLog::start("log", Box::new(out)).unwrap();
        for n in 0..10 {
            log.append(&n);
        }
        log.close();
        assert_eq!(log.lost(), 10);
    }

    #[test]
    fn a_line_that_cannot_be_serialized_is_counted_and_reported() {
        let lines = Lines::default();
        let log = LineLog::start("log", Box::new(lines.clone())).unwrap();
        // A map with keys that are not strings is not JSON.
        log.append(&std::collections::HashMap::from([((1, 2), 3)]));
        log.append(&"next");
        log.close();
        assert_eq!(log.lost(), 1);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "{\"event\":\"lines_lost\",\"count\":1}\n\"next\"\n");
    }

    #[test]
    fn a_lost_line_is_reported_without_another_line() {
        let lines = Lines::default();
        let log = LineLog::start("log", Box::new(lines.clone())).unwrap();
        log.append(&std::collections::HashMap::from([((1, 2), 3)]));
        while lines.0.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        assert_eq!(log.lost(), 1);
    }

    /// Pipe without a reader.
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
    fn a_blocked_reader_costs_lines_and_nothing_else() {
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
