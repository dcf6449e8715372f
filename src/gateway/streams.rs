//! The tasks that HTTP/2 runs its streams in, one for each, and an end for those that stand still.
//!
//! On one connection some streams may move while others do not, and nobody asks for more of a body that
//! the caller gives no window for. So each stream knows whether its caller has to take something, and since
//! when; its task, which alone can end it, waits no longer than it may. Only one that has to wait at all
//! has a timer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

tokio::task_local! {
    static STREAM: Arc<Progress>;
}

/// Runs the streams of a connection.
#[derive(Clone, Debug)]
pub struct Streams {
    patience: Duration,
}

impl Streams {
    /// Ends those whose caller takes nothing for as long as `patience`.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, task: F) {
        let patience = self.patience;
        tokio::spawn(async move {
            let progress = Arc::new(Progress::new());
            let mut task = pin!(STREAM.scope(Arc::clone(&progress), task));
            let mut timer = None;
            std::future::poll_fn(|cx| match task.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => progress.poll_stall(&mut timer, patience, cx),
            })
            .await;
        });
    }
}

/// How far the caller has come with the response of one stream.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// Whether there is something for it to take.
    waiting: AtomicBool,
    /// When it last took something; milliseconds since the stream began.
    moved: AtomicU64,
    stalled: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        let (waiting, stalled) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { begun: Instant::now(), waiting, moved: AtomicU64::new(0), stalled }
    }

    /// That of the stream whose task this is; `None` on HTTP/1.1, where the connection has but one.
    #[must_use]
    pub fn of_this_stream() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// The caller took something, or nothing was there to take until now; `waiting` says whether there is.
    pub fn note(&self, waiting: bool) {
        self.moved.store(self.now(), Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Whether that is why the stream ends.
    #[must_use]
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Is ready when the caller has taken nothing for as long as `patience`.
    fn poll_stall(
        &self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while self.waiting.load(Ordering::Relaxed) {
            let since = self.now().saturating_sub(self.moved.load(Ordering::Relaxed));
            let left = patience.saturating_sub(Duration::from_millis(since));
            if left.is_zero() {
                self.stalled.store(true, Ordering::Relaxed);
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset((Instant::now() + left).into());
        }
        Poll::Pending
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
