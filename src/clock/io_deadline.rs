//! Deadlines of blocking I/O. The kernel measures socket timeouts in real time, so these deadlines cannot be
//! virtual and need no [`Clock`](super::source::Clock).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Point in real time at which a series of blocking system calls has to be over.
#[derive(Clone, Copy, Debug)]
pub struct IoDeadline(Instant);

#[expect(clippy::disallowed_methods, reason = "the kernel measures socket timeouts in real time")]
impl IoDeadline {
    /// A deadline `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// The remaining time, never zero: `set_read_timeout` and its like refuse a zero timeout. `None` once the
    /// deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// A socket with a deadline, which holds however slowly the peer sends.
#[derive(Debug)]
pub struct DeadlineStream {
    /// The socket.
    pub tcp: TcpStream,
    /// End of all reads and writes; a user of the socket may move it.
    pub deadline: IoDeadline,
}

impl DeadlineStream {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.remaining() {
            Some(left) => Ok(Some(left)),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "no response in time")),
        }
    }
}

/// Unify the timeouts of a socket: some systems report `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no response in time"),
        _ => error,
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer).map_err(timed_out)
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_deadline_leaves_no_time() {
        assert_eq!(IoDeadline::after(Duration::ZERO).remaining(), None);
        let hour = Duration::from_secs(3600);
        assert!(IoDeadline::after(hour).remaining().is_some_and(|left| left <= hour));
    }
}
