//! Stream to an upstream: counts what it receives, and stays readable after the upstream has stopped reading.
//!
//! An upstream may respond before it has read a request, and close. The rest of the request then fails to be
//! written, while the response is there to be read (RFC 9112, section 9.6). hyper gives up at the first failed
//! write, so the stream hides that failure: writes stay pending, and reading tells the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// State of a stream, shared with the exchange on it.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    received: AtomicU64,
    unwritable: AtomicBool,
}

impl StreamState {
    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
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
}

impl<S> UpstreamStream<S> {
    pub(super) fn new(stream: S, state: Arc<StreamState>) -> Self {
        Self { stream, state, reset: false }
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
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        match buffer.filled().len().saturating_sub(before) {
            0 if self.reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            length => {
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                self.state.received.fetch_add(length, Ordering::Relaxed);
                Poll::Ready(Ok(()))
            }
        }
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
