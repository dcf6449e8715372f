//! Whole lines, written by a thread of their own, so that no request waits for a disk, a pipe or a
//! terminal: the access log, and what the process says on standard error.
//!
//! Lines gather in a buffer while the writer is busy and go out with one write. A reader that stops
//! reading costs lines, never requests, never memory, and not the end of the process; how many were lost,
//! to it or to a disk that is full, is counted, and said in the log itself once it is written again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, thread};

use serde::Serialize;

/// The most that may wait to be written.
const AT_MOST: usize = 8 << 20;

/// How long lines gather after the first one.
const GATHER: Duration = Duration::from_millis(5);

/// How long the end waits for a reader that does not read.
const FAREWELL: Duration = Duration::from_secs(1);

/// What lines are written to.
pub trait Destination: Write + Send {
    /// Makes ready for the next lines; with `reopen`, where its name leads now.
    ///
    /// # Errors
    /// When it cannot; what is written goes where it went before.
    fn settle(&mut self, _reopen: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for io::Sink {}
impl Destination for io::Stderr {}
impl Destination for io::Stdout {}

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
    reopen: bool,
    closed: bool,
    ended: bool,
}

impl LineLog {
    /// Starts the thread `name`, which writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(name: &str, out: Box<dyn Destination>) -> io::Result<Self> {
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

    /// Writes to where the name of its destination leads from now on; does not wait.
    pub fn reopen(&self) {
        self.shared.pending().reopen = true;
        self.shared.changed.notify_one();
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

    fn write_all(&self, out: Box<dyn Destination>) {
        let mut writer = Writer { out, failing: false, torn: false, lost: 0 };
        let mut lines = Vec::new();
        let mut losing = false;
        loop {
            let mut pending = self.pending();
            while pending.lines.is_empty() && !pending.closed && !pending.reopen {
                pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            if !pending.closed {
                drop(pending);
                thread::sleep(GATHER);
                pending = self.pending();
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut pending.lines);
            let lost = std::mem::take(&mut pending.lost);
            let (reopen, closed) = (std::mem::take(&mut pending.reopen), pending.closed);
            drop(pending);
            if lost > 0 && !losing {
                tracing::warn!("the reader of a log is too slow: lines are lost");
            }
            losing = lost > 0;
            writer.lost += lost;
            if let Err(error) = writer.out.settle(reopen) {
                tracing::error!(%error, "the file of a log cannot be opened again");
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

/// What has become of the lines so far.
struct Writer {
    out: Box<dyn Destination>,
    failing: bool,
    /// Whether the last line that was written has no end.
    torn: bool,
    /// How many lines are lost that the log does not tell of yet.
    lost: u64,
}

impl Writer {
    /// Writes these lines, after a word about those that are lost; returns how many are lost now.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let told = match self.lost {
            0 => Ok(()),
            lost => self
                .put(format!("{{\"event\":\"lines_lost\",\"count\":{lost}}}\n").as_bytes())
                .map_err(|_| lines),
        };
        let unwritten = told.and_then(|()| {
            self.lost = 0;
            self.put(lines)
        });
        let unwritten = unwritten.err().unwrap_or_default();
        let lost = unwritten.iter().filter(|byte| **byte == b'\n').count();
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        self.lost += lost;
        lost
    }

    /// Writes `bytes`, or says what of them is not written.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> Result<(), &'a [u8]> {
        let mut left = bytes;
        let written = self.put_all(&mut left);
        match &written {
            Err(error) if !self.failing => tracing::error!(%error, "a log cannot be written: lines are lost"),
            Ok(()) if self.failing => tracing::info!("the log is written again"),
            _ => {}
        }
        self.failing = written.is_err();
        written.map_err(|_| left)
    }

    fn put_all(&mut self, left: &mut &[u8]) -> io::Result<()> {
        if self.torn {
            // The rest of it is lost; the next one is not to be.
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        while !left.is_empty() {
            let written = match self.out.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (gone, rest) = left.split_at(written.min(left.len()));
            self.torn = !gone.ends_with(b"\n");
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

    impl Destination for Lines {}
    impl Destination for Stuck {}

    /// A disk that has room for so many bytes.
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
    fn lines_that_a_full_disk_does_not_take_are_counted_and_told_of() {
        let (room, written) = (Arc::new(Mutex::new(7)), Lines::default());
        let out = Box::new(Full { room: Arc::clone(&room), written: written.clone() });
        let mut writer = Writer { out, failing: false, torn: false, lost: 0 };
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
    fn lines_that_nobody_takes_are_counted_by_the_log() {
        let out = Full { room: Arc::default(), written: Lines::default() };
        let log = LineLog::start("log", Box::new(out)).unwrap();
        for n in 0..10 {
            log.append(&n);
        }
        log.close();
        assert_eq!(log.lost(), 10);
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
