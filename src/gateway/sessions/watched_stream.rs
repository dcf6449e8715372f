//! TLS stream that reports its activity to the session.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::sessions::session::Session;
use crate::mtls::tls::Protocol;

/// A stream over a socket.
pub trait OnSocket {
    /// What lies under it.
    fn socket(&self) -> SockRef<'_>;
}

/// A stream that notes in its session's activity when bytes come and go.
#[derive(Debug)]
pub struct Watched<S: OnSocket> {
    stream: S,
    session: Arc<Session>,
    /// Whether the caller is gone without a word: then none is sent after it, which its machine would only
    /// answer with a reset.
    gone: bool,
}

impl<S: OnSocket> Drop for Watched<S> {
    fn drop(&mut self) {
        // Closed as usual, the kernel would go on sending what it has, megabytes of it, for as long as the
        // caller likes. Closed like this, it forgets that, and resets the connection.
        if self.session.abort_on_close() {
            let _ = self.stream.socket().set_linger(Some(Duration::ZERO));
        }
    }
}

impl<S: OnSocket> Watched<S> {
    /// Watches `stream` for `session`.
    pub const fn new(stream: S, session: Arc<Session>) -> Self {
        Self { stream, session, gone: false }
    }

    /// On HTTP/2, bytes may go all the time, as answers to pings, and nothing of a response among them.
    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) && self.session.protocol == Protocol::Http1 {
            self.session.activity.bytes_go();
        }
        written
    }
}

impl<S: OnSocket + AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.gone |= matches!(&result, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        if buffer.filled().len() > before {
            self.session.activity.bytes_come();
        }
        Poll::Ready(result)
    }
}

impl<S: OnSocket + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gone {
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
