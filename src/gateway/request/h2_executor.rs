//! What waits for callers to take their responses, and ends what waits too long or may not go on.
//!
//! Nobody asks for more of a body that the caller does not take. So each task that answers knows whether its
//! caller has to take something, and since when, and alone can end it. On HTTP/2 each stream has a task of
//! its own: on one connection some may move while others do not. Only one that has to wait at all has a
//! timer. On HTTP/1.1 it is the connection's task, whose standstill the worker sees.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

use crate::error::Coded;
use crate::gateway::request::authorization::Permission;
use crate::mtls::tls::Protocol;

tokio::task_local! {
    static ANSWERING: Arc<Progress>;
}

/// Runs the streams of a connection.
#[derive(Clone, Debug)]
pub struct H2Executor {
    patience: Duration,
}

impl H2Executor {
    /// Ends those whose caller takes nothing for as long as `patience`.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for H2Executor {
    fn execute(&self, task: F) {
        let progress = Progress::new(Protocol::Http2);
        tokio::spawn(answer(task, progress, Some(self.patience)));
    }
}

/// Runs an HTTP/1.1 connection; `None` when it had to be ended.
pub async fn answer_http1<F: Future>(connection: F) -> Option<F::Output> {
    answer(connection, Progress::new(Protocol::Http1), None).await
}

async fn answer<F: Future>(task: F, progress: Progress, patience: Option<Duration>) -> Option<F::Output> {
    let progress = Arc::new(progress);
    let mut task = pin!(ANSWERING.scope(Arc::clone(&progress), task));
    let mut timer = None;
    std::future::poll_fn(|cx| match task.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => progress.poll_end(&mut timer, patience, cx).map(|()| None),
    })
    .await
}

/// How far the caller has come with the response that a task is at.
#[derive(Debug)]
pub struct Progress {
    protocol: Protocol,
    begun: Instant,
    /// Whether there is something for it to take.
    waiting: AtomicBool,
    /// When it last took something; milliseconds since the task began.
    moved: AtomicU64,
    /// Whether the response may go on; `None` where that does not change.
    permission: Mutex<Option<Arc<Permission>>>,
    ended_for: OnceLock<&'static str>,
}

impl Progress {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            begun: Instant::now(),
            waiting: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            permission: Mutex::default(),
            ended_for: OnceLock::new(),
        }
    }

    /// That of the task that runs now, as long as it answers anything.
    #[must_use]
    pub fn of_this_task() -> Option<Arc<Self>> {
        ANSWERING.try_with(Arc::clone).ok()
    }

    /// Whether the task is that of one HTTP/2 stream.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// A response begins that may go on as long as `permission` says, or one ends.
    pub fn answers(&self, permission: Option<Arc<Permission>>) {
        *self.permission.lock().unwrap_or_else(PoisonError::into_inner) = permission;
    }

    /// The caller took something, or nothing was there to take until now; `waiting` says whether there is.
    pub fn note(&self, waiting: bool) {
        self.moved.store(self.now(), Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Why the task was ended from here, if it was.
    #[must_use]
    pub fn ended_for(&self) -> Option<&'static str> {
        self.ended_for.get().copied()
    }

    /// Is ready when there is something for the caller to take, and it may not have it, or has taken nothing
    /// for as long as `patience`.
    fn poll_end(
        &self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        patience: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !self.waiting.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let permission = self.permission.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let forbidden = permission.map(|permission| permission.poll_end(cx));
        if let Some(Poll::Ready(problem)) = forbidden {
            let _ = self.ended_for.set(problem.code());
            return Poll::Ready(());
        }
        let Some(patience) = patience else { return Poll::Pending };
        loop {
            let since = self.now().saturating_sub(self.moved.load(Ordering::Relaxed));
            let left = patience.saturating_sub(Duration::from_millis(since));
            if left.is_zero() {
                let _ = self.ended_for.set("downstream.stalled");
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset((Instant::now() + left).into());
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
