//! Executor of HTTP/2 streams: aborts responses that stall or lose their permission.
//!
//! hyper polls a body only while the client reads. So the task of a response knows how long its client has
//! read nothing, and it alone can abort the response. On HTTP/2 each stream has its own task, since streams
//! of one connection stall independently. A timer is armed only once a task has to wait. On HTTP/1.1 the
//! task is the connection's, and the worker's sweep detects the stall.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Sleep, sleep};

use crate::clock::{Clock, begin_turn, turn_time};
use crate::error::Coded;
use crate::gateway::request::authorization::ResponsePermission;
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::mtls::tls::Protocol;

tokio::task_local! {
    static CURRENT_TASK: Arc<Progress>;
}

/// Executor of the streams of one connection.
#[derive(Clone, Debug)]
pub struct H2Executor {
    stall_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl H2Executor {
    /// Create an executor that aborts a stream after `stall_timeout` without a read by the client.
    #[must_use]
    pub const fn new(stall_timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { stall_timeout, clock }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for H2Executor {
    fn execute(&self, task: F) {
        let progress = Progress::new(Protocol::Http2, Arc::clone(&self.clock));
        tokio::spawn(Watch::new(task, progress, Some(self.stall_timeout)));
    }
}

/// Run an HTTP/1.1 connection; `None` if it was aborted.
pub fn run_http1<F: Future>(connection: F, clock: Arc<dyn Clock>) -> Watch<F> {
    Watch::new(connection, Progress::new(Protocol::Http1, clock), None)
}

/// Task with its progress; `None` if it was aborted. The task is boxed: it is large, and would be copied each time
/// that the future of its runtime's task is.
pub struct Watch<F> {
    task: Pin<Box<TaskLocalFuture<Arc<Progress>, F>>>,
    progress: Arc<Progress>,
    stall_timeout: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Watch<F> {
    fn new(task: F, progress: Progress, stall_timeout: Option<Duration>) -> Self {
        let progress = Arc::new(progress);
        let task = Box::pin(CURRENT_TASK.scope(Arc::clone(&progress), task));
        Self { task, progress, stall_timeout, timer: None }
    }
}

impl<F: Future> Future for Watch<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let _turn = begin_turn();
        let Self { task, progress, stall_timeout, timer } = &mut *self;
        match task.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => progress.poll_abort(timer, *stall_timeout, cx).map(|()| None),
        }
    }
}

impl<F> fmt::Debug for Watch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Progress of the client in reading a task's response.
#[derive(Debug)]
pub struct Progress {
    protocol: Protocol,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// Set while data is ready for the client.
    waiting: AtomicBool,
    /// Time of the last read by the client, in milliseconds since `started`.
    last_progress: AtomicU64,
    permission: ResponsePermission,
    abort_reason: OnceLock<&'static str>,
}

impl Progress {
    /// Progress of a task that begins now.
    #[must_use]
    pub fn new(protocol: Protocol, clock: Arc<dyn Clock>) -> Self {
        Self {
            protocol,
            started: clock.monotonic(),
            clock,
            waiting: AtomicBool::new(false),
            last_progress: AtomicU64::new(0),
            permission: ResponsePermission::default(),
            abort_reason: OnceLock::new(),
        }
    }

    /// Progress of the running task, if it serves a request.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        CURRENT_TASK.try_with(Arc::clone).ok()
    }

    /// Return true for the task of an HTTP/2 stream.
    #[must_use]
    pub fn is_http2_stream(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// Permission of the response that the task sends.
    #[must_use]
    pub const fn permission(&self) -> &ResponsePermission {
        &self.permission
    }

    /// Record that the client read data, or had none to read. `waiting` is set if data is ready now.
    pub fn update(&self, waiting: bool) {
        // On HTTP/1.1 the activity of the connection has the time.
        if self.is_http2_stream() {
            self.last_progress.store(self.elapsed(), Ordering::Relaxed);
        }
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Code of the reason why the task was aborted, if it was.
    #[must_use]
    pub fn abort_reason(&self) -> Option<&'static str> {
        self.abort_reason.get().copied()
    }

    /// Ready when data waits for the client, and the permission is withdrawn or `stall_timeout` has passed.
    fn poll_abort(
        &self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        stall_timeout: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !self.waiting.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if let Poll::Ready(problem) = self.permission.poll_denied(cx) {
            let _ = self.abort_reason.set(problem.code());
            return Poll::Ready(());
        }
        let Some(stall_timeout) = stall_timeout else { return Poll::Pending };
        loop {
            let idle = self.elapsed().saturating_sub(self.last_progress.load(Ordering::Relaxed));
            let remaining = stall_timeout.saturating_sub(Duration::from_millis(idle));
            if remaining.is_zero() {
                let _ = self.abort_reason.set(RequestEnd::Stalled.code());
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(remaining)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(tokio::time::Instant::now() + remaining);
        }
    }

    fn elapsed(&self) -> u64 {
        let elapsed = turn_time(&*self.clock).saturating_duration_since(self.started);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
