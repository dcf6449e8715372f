//! TLS stream that records reads and writes in the activity of its session, and closes in stages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::sessions::linger::Linger;
use crate::gateway::sessions::session::Session;
use crate::mtls::tls::Protocol;

/// Stream over a socket.
pub trait HasSocket {
    /// Underlying socket.
    fn socket(&self) -> SockRef<'_>;

    /// Read from the socket, past the stream.
    fn poll_read_socket(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// Stream that records reads and writes in the activity of its session.
#[derive(Debug)]
pub struct WatchedStream<S: HasSocket> {
    stream: S,
    session: Arc<Session>,
    /// Set if the client closed TCP without a close_notify. Then none is sent either: the client's host would
    /// only answer it with a reset.
    truncated: bool,
    /// Set while the reader waits for bytes, and so notices a client that is gone by itself.
    reader_waits: bool,
    /// Byte of the next request, read to see whether the client is still there.
    read_ahead: Option<u8>,
    /// Bytes of the next request that a reader took and gave back.
    unread: Bytes,
    /// Set once the client has ended its side, until the reader is told.
    ended: bool,
    /// Set once the reader was woken for either.
    woken: bool,
    /// Set after a flush: nothing of hyper's waits to be written, so that an interim response can come between.
    flushed: bool,
    /// Interim responses that are being written.
    interims: Bytes,
    closing: Closing,
}

/// Stage of the close.
#[derive(Debug)]
enum Closing {
    /// Bytes are sent.
    Open,
    /// The last byte was sent. The box is rare, and keeps the stream small.
    Lingering(Box<Linger>),
    /// Nothing is left to do.
    Done,
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
        Self {
            stream,
            session,
            truncated: false,
            reader_waits: false,
            read_ahead: None,
            unread: Bytes::new(),
            ended: false,
            woken: false,
            flushed: true,
            interims: Bytes::new(),
            closing: Closing::Open,
        }
    }

    /// Fail if the client of an HTTP/1.1 request is gone while it is served, so that the upstream's work ends too.
    /// hyper does not read then. A client that ended its side with a close_notify (RFC 8446, section 6.1) waits for
    /// its response; without one, the client is gone.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> io::Result<()>
    where
        S: AsyncRead + Unpin,
    {
        if self.session.protocol != Protocol::Http1 || !matches!(self.closing, Closing::Open) {
            return Ok(());
        }
        let is_served = self.session.activity.in_flight() > 0;
        if self.reader_waits {
            return Ok(());
        }
        if is_served && self.read_ahead.is_none() && !self.ended {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            let Poll::Ready(read) = self.poll_read_stream(cx, &mut buffer) else { return Ok(()) };
            read?;
            self.read_ahead = buffer.filled().first().copied();
            self.ended = self.read_ahead.is_none();
        } else if !is_served && !self.woken && (self.ended || self.read_ahead.is_some()) {
            self.woken = true;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Give back bytes that were read and belong to the next request.
    pub fn put_back(&mut self, bytes: Bytes) {
        // Even without a byte, the buffer of hyper would be kept.
        if !bytes.is_empty() {
            self.unread = bytes;
        }
    }

    /// Wait for the next byte of the client, or for its end, while nothing else reads. Either is kept for the reader.
    ///
    /// # Errors
    /// [`io::Error`] of the connection, which has ended then.
    pub fn poll_next_byte(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        if self.read_ahead.is_none() && self.unread.is_empty() && !self.ended {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(self.poll_read_stream(cx, &mut buffer))?;
            self.read_ahead = buffer.filled().first().copied();
            self.ended = self.read_ahead.is_none();
        }
        Poll::Ready(Ok(()))
    }

    /// Write the queued interim responses, which hyper cannot send. Between the parts of another response they would
    /// be read as a part of it, so they are dropped there.
    fn poll_interims(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        if self.interims.is_empty() {
            let queued = self.session.take_interims();
            if queued.is_empty() || !self.flushed {
                return Poll::Ready(Ok(()));
            }
            self.interims = queued.into();
        }
        while !self.interims.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interims))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.interims.advance(length),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_stream(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.truncated |= matches!(&result, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        Poll::Ready(result)
    }

    /// Return true if the client may still be sending: its last request was answered before its end, or bytes of it
    /// wait to be read.
    fn must_linger(&mut self, cx: &mut Context<'_>) -> bool
    where
        S: Unpin,
    {
        if self.session.abort_on_close() {
            return false;
        }
        let half_a_request = self.session.protocol == Protocol::Http1
            && (self.session.has_unread_request() || self.session.activity.header_pending_for().is_some());
        half_a_request || {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read_socket(cx, &mut buffer);
            matches!(read, Poll::Ready(Ok(()))) && !buffer.filled().is_empty()
        }
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
        self.woken = false;
        self.reader_waits = false;
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            if self.unread.is_empty() {
                self.unread = Bytes::new();
            }
            self.session.activity.bytes_read();
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.ended) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let ahead = self.read_ahead.take();
        buffer.put_slice(ahead.as_slice());
        let result = match self.poll_read_stream(cx, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending if ahead.is_some() => Ok(()),
            Poll::Pending => {
                self.reader_waits = true;
                return Poll::Pending;
            }
        };
        if buffer.filled().len() > before {
            self.session.activity.bytes_read();
        }
        Poll::Ready(result)
    }
}

impl<S: HasSocket + AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interims(cx))?;
        self.flushed = false;
        self.session.activity.set_unsent(true);
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        ready!(self.poll_interims(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.session.activity.set_unsent(false);
        Poll::Ready(self.watch_client(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.truncated {
            return Poll::Ready(Ok(()));
        }
        if matches!(this.closing, Closing::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = match this.must_linger(cx) {
                true => Closing::Lingering(Box::new(Linger::new())),
                false => Closing::Done,
            };
        }
        if let Closing::Lingering(linger) = &mut this.closing {
            let stream = &mut this.stream;
            ready!(linger.poll(cx, |cx, buffer| Pin::new(&mut *stream).poll_read_socket(cx, buffer)));
            this.closing = Closing::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interims(cx))?;
        self.flushed = false;
        self.session.activity.set_unsent(true);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
