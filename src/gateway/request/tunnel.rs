//! Upgraded connections (RFC 9110, section 7.8): after the upstream's 101, bytes pass in both directions
//! until either side ends, the certificate does, the policy forbids it, or none pass for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::{sleep, timeout};

use crate::error::Coded;
use crate::gateway::request::authorization::Authorization;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::pool::ConnectionLease;

/// How long both sides may take to begin after the 101.
const BEGIN: Duration = Duration::from_secs(10);

/// Both ends of a tunnel, once there is one.
#[derive(Debug)]
pub struct Ends {
    /// The caller's.
    pub downstream: OnUpgrade,
    /// The service's behind.
    pub upstream: OnUpgrade,
}

/// Passes bytes until the end, or until none have passed for `patience`, and then finishes the record.
pub async fn run(
    ends: Ends,
    patience: Duration,
    lease: ConnectionLease,
    exchange: Authorization,
    mut record: RequestRecord,
) {
    let Ok(Ok((downstream, upstream))) =
        timeout(BEGIN, async { tokio::try_join!(ends.downstream, ends.upstream) }).await
    else {
        record.fail("tunnel.not_begun");
        return;
    };
    let passed = Passed::new();
    let mut downstream = TokioIo::new(downstream);
    let mut upstream = Counted { stream: TokioIo::new(upstream), passed: &passed };
    let complete = tokio::select! {
        biased;
        problem = exchange.forbidden() => {
            exchange.connection.session.mark_abort_on_close();
            record.fail(problem.code());
            false
        }
        () = passed.nothing_for(patience) => {
            record.fail("tunnel.idle");
            false
        }
        ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
            Ok(_) => true,
            Err(_) => {
                record.fail("tunnel.broken");
                false
            }
        }
    };
    drop(upstream);
    // However it ended, these have passed.
    record.tunnelled(passed.written.load(Relaxed), passed.read.load(Relaxed));
    // The upstream's connection was the tunnel's; now it is nobody's.
    drop(lease);
    record.finish(complete);
    let _ = timeout(Duration::from_millis(50), downstream.shutdown()).await;
}

/// What has passed through a tunnel.
#[derive(Debug)]
struct Passed {
    begun: Instant,
    /// Bytes from the upstream.
    read: AtomicU64,
    /// Bytes to it.
    written: AtomicU64,
    /// When the last of them did, in milliseconds since it began.
    moved: AtomicU64,
}

impl Passed {
    fn new() -> Self {
        let [read, written, moved] = [const { AtomicU64::new(0) }; 3];
        Self { begun: Instant::now(), read, written, moved }
    }

    fn count(&self, bytes: &AtomicU64, more: usize) {
        bytes.fetch_add(u64::try_from(more).unwrap_or_default(), Relaxed);
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Relaxed);
    }

    /// Waits until nothing has passed, either way, for as long as `patience`.
    async fn nothing_for(&self, patience: Duration) {
        loop {
            let moved = self.begun + Duration::from_millis(self.moved.load(Relaxed));
            match patience.checked_sub(moved.elapsed()) {
                None | Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
            }
        }
    }
}

/// A stream that counts what passes through it.
#[derive(Debug)]
struct Counted<'a, S> {
    stream: S,
    passed: &'a Passed,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match buffer.filled().len().saturating_sub(before) {
            0 => {}
            length => self.passed.count(&self.passed.read, length),
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.passed.count(&self.passed.written, *length);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
