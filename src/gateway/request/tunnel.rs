//! Tunnels: upgraded connections (RFC 9110, section 7.8). After the 101 of the upstream, bytes pass in both
//! directions. A tunnel ends when either side closes it, the certificate expires or is revoked, a new policy
//! denies it, or it is idle for too long.

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

use crate::clock::Clock;
use crate::error::Coded;
use crate::gateway::request::authorization::Authorization;
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::upstream::upgraded::UpgradedStream;

/// Time to send the 101 to the client.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Both ends of a tunnel.
#[derive(Debug)]
pub struct TunnelEnds {
    /// Connection to the client.
    pub downstream: OnUpgrade,
    /// Connection to the upstream.
    pub upstream: UpgradedStream,
}

/// Copy bytes until the tunnel ends or is idle for `idle_timeout`, then finish the record.
pub async fn run(
    ends: TunnelEnds,
    idle_timeout: Duration,
    authorization: Authorization,
    mut record: Box<RequestRecord>,
) {
    let Ok(Ok(downstream)) = timeout(UPGRADE_TIMEOUT, ends.downstream).await else {
        record.fail(RequestEnd::TunnelNotBegun.code());
        return;
    };
    let traffic = Traffic::new(&*authorization.connection.worker.gateway.clock);
    let mut downstream = TokioIo::new(downstream);
    let mut upstream = CountingStream { stream: ends.upstream, traffic: &traffic };
    let complete = tokio::select! {
        biased;
        problem = authorization.until_denied() => {
            authorization.connection.session.mark_abort_on_close();
            record.fail(problem.code());
            false
        }
        () = traffic.idle_for(idle_timeout) => {
            record.fail(RequestEnd::TunnelIdle.code());
            false
        }
        ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
            Ok(_) => true,
            Err(_) => {
                record.fail(RequestEnd::TunnelBroken.code());
                false
            }
        }
    };
    drop(upstream);
    // Counted whatever ended the tunnel.
    record.tunnelled(traffic.written.load(Relaxed), traffic.read.load(Relaxed));
    record.finish(complete);
    let _ = timeout(Duration::from_millis(50), downstream.shutdown()).await;
}

/// Traffic of a tunnel.
#[derive(Debug)]
struct Traffic<'a> {
    clock: &'a dyn Clock,
    started: Instant,
    /// Bytes received from the upstream.
    read: AtomicU64,
    /// Bytes sent to the upstream.
    written: AtomicU64,
    /// Time of the last byte, in milliseconds since `started`.
    last_activity: AtomicU64,
}

impl<'a> Traffic<'a> {
    fn new(clock: &'a dyn Clock) -> Self {
        let [read, written, last_activity] = [const { AtomicU64::new(0) }; 3];
        Self { clock, started: clock.monotonic(), read, written, last_activity }
    }

    fn count(&self, bytes: &AtomicU64, more: usize) {
        bytes.fetch_add(u64::try_from(more).unwrap_or_default(), Relaxed);
        let elapsed = self.clock.monotonic().saturating_duration_since(self.started);
        self.last_activity.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Wait until no byte has passed in either direction for `idle_timeout`.
    async fn idle_for(&self, idle_timeout: Duration) {
        loop {
            let last_activity = self.started + Duration::from_millis(self.last_activity.load(Relaxed));
            let idle = self.clock.monotonic().saturating_duration_since(last_activity);
            match idle_timeout.checked_sub(idle) {
                None | Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
            }
        }
    }
}

/// Stream that counts its bytes.
#[derive(Debug)]
struct CountingStream<'a, S> {
    stream: S,
    traffic: &'a Traffic<'a>,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountingStream<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match buffer.filled().len().saturating_sub(before) {
            0 => {}
            length => self.traffic.count(&self.traffic.read, length),
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountingStream<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.traffic.count(&self.traffic.written, *length);
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
