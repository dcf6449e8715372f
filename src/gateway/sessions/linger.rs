//! Reading that goes on after the last byte was sent (RFC 9112, section 9.6).
//!
//! A socket that is closed while the client still sends answers with a reset, which can overtake a response. Most
//! clients read the response only after they have sent their whole request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Sleep, sleep};

/// Longest time from the end of sending to the close.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time without a byte of the client.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes that are read and discarded: four times the default of `request_body`.
const MAX_BYTES: usize = 256 << 20;

/// Size of one read.
const READ_SIZE: usize = 16 << 10;

/// Bounded reading before a close.
#[derive(Debug)]
pub(super) struct Linger {
    deadline: Pin<Box<Sleep>>,
    silence: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            deadline: Box::pin(sleep(TOTAL_TIMEOUT)),
            silence: Box::pin(sleep(SILENCE_TIMEOUT)),
            left: MAX_BYTES,
        }
    }

    /// Discard what `read` gives. Ready when the client has closed its side, or a bound is reached.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<()> {
        let mut bytes = [0; READ_SIZE];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.silence.as_mut().set(sleep(SILENCE_TIMEOUT));
                    match self.left.checked_sub(buffer.filled().len()) {
                        Some(left) if self.deadline.as_mut().poll(cx).is_pending() => self.left = left,
                        _ => return Poll::Ready(()),
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let timed_out = self.deadline.as_mut().poll(cx).is_ready()
                        || self.silence.as_mut().poll(cx).is_ready();
                    return if timed_out { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        }
    }
}
