//! TLS stream that records reads and writes in the activity of its session.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::sessions::session::Session;
use crate::mtls::tls::Protocol;

/// Stream over a socket.
pub trait HasSocket {
    /// Underlying socket.
    fn socket(&self) -> SockRef<'_>;
}

/// Stream that records reads and writes in the activity of its session.
#[derive(Debug)]
pub struct WatchedStream<S: HasSocket> {
    stream: S,
    session: Arc<Session>,
    /// Set if the client closed TCP without a close_notify. Then none is sent either: the client's host would
    /// only answer it with a reset.
    truncated: bool,
}

impl<S: HasSocket> Drop for WatchedStream<S> {
    fn drop(&mut self) {
        // After a normal close, the kernel sends its buffered data, possibly megabytes, for as long as the
        // client reads. A linger time of zero discards that data and resets the connection.
        if self.session.abort_on_close() {
            let _ = self.stream.socket().set_linger(Some(Duration::ZERO));
        }
    }
}

impl<S: HasSocket> WatchedStream<S> {
    /// Wrap `stream` of `session`.
    pub const fn new(stream: S, session: Arc<Session>) -> Self {
        Self { stream, session, truncated: false }
    }

    /// On HTTP/2, writes are no proof of progress: they may be mere answers to pings.
    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) && self.session.protocol == Protocol::Http1 {
            self.session.activity.bytes_written();
        }
        written
    }
}

impl<S: HasSocket + AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.truncated |= matches!(&result, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        if buffer.filled().len() > before {
            self.session.activity.bytes_read();
        }
        Poll::Ready(result)
    }
}

impl<S: HasSocket + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.truncated {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
