//! Stream to an upstream: counts what it receives, finds interim responses, and stays readable after the upstream
//! has stopped reading.
//!
//! An upstream may respond before it has read a request, and close. The rest of the request then fails to be
//! written, while the response is there to be read (RFC 9112, section 9.6). hyper gives up at the first failed
//! write, so the stream hides that failure: writes stay pending, and reading tells the end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::message::interim::Interim;
use crate::gateway::upstream::interim_reader::InterimReader;

/// Most interim responses that wait to be passed on; further ones are dropped.
const MAX_INTERIMS: usize = 16;

/// State of a stream, shared with the exchange on it.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    received: AtomicU64,
    unwritable: AtomicBool,
    /// Set until the final response to the request begins.
    awaits_response: AtomicBool,
    interims: Mutex<PendingInterims>,
}

/// Interim responses to be passed on, and the task that does.
#[derive(Debug, Default)]
struct PendingInterims {
    found: Vec<Interim>,
    waker: Option<Waker>,
}

impl StreamState {
    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Record that a request is sent, whose response is the next one.
    pub(super) fn await_response(&self) {
        self.awaits_response.store(true, Ordering::Relaxed);
    }

    /// Pass on the interim responses so far. The task is woken for later ones if it is to wait.
    pub(super) fn pass_interims(&self, cx: &Context<'_>, waits: bool, mut pass: impl FnMut(Interim)) {
        let mut pending = self.interims.lock().unwrap_or_else(PoisonError::into_inner);
        pending.found.drain(..).for_each(&mut pass);
        match &mut pending.waker {
            Some(waker) if waits => waker.clone_from(cx.waker()),
            waker => *waker = waits.then(|| cx.waker().clone()),
        }
    }

    fn add_interim(&self, interim: Interim) {
        let mut pending = self.interims.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.found.len() < MAX_INTERIMS {
            pending.found.push(interim);
        }
        if let Some(waker) = pending.waker.take() {
            waker.wake();
        }
    }

    /// True once the upstream has stopped reading.
    pub(super) fn is_unwritable(&self) -> bool {
        self.unwritable.load(Ordering::Relaxed)
    }
}

/// Stream to an upstream.
#[derive(Debug)]
pub(super) struct UpstreamStream<S> {
    stream: S,
    state: Arc<StreamState>,
    /// Set after a reset. The kernel reports it once, to the write that failed, and then an end of the stream.
    reset: bool,
    interims: InterimReader,
}

impl<S> UpstreamStream<S> {
    pub(super) fn new(stream: S, state: Arc<StreamState>) -> Self {
        Self { stream, state, reset: false, interims: InterimReader::default() }
    }

    fn readable_after<T>(&mut self, cx: &Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = &written else { return written };
        // A broken pipe follows an orderly end of the stream; other errors may have cut a response short.
        self.reset |= error.kind() != io::ErrorKind::BrokenPipe;
        if !self.state.unwritable.swap(true, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UpstreamStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self { stream, state, reset, interims } = &mut *self;
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if bytes.is_empty() && *reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.received.fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if state.awaits_response.load(Ordering::Relaxed)
            && !interims.read(bytes, |interim| state.add_interim(interim))
        {
            state.awaits_response.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UpstreamStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.readable_after(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.readable_after(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.readable_after(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
