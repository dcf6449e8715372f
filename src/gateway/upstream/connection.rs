//! HTTP/1.1 connection to an upstream, and one exchange of a request and the head of its response on it.
//!
//! The task of the request drives it: a request is written, and its response read, without another task in between.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::{Clock, turn_time};
use crate::gateway::config::UpstreamLimits;
use crate::gateway::message::interim::Interim;
use crate::gateway::message::request_body::{RequestBodyError, Upload};
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::request_writer::{RequestWriter, UpstreamRequest};
use crate::gateway::upstream::response_error::ResponseError;
use crate::gateway::upstream::response_head::{HeadReader, ReceivedHead, ResponseContext, ResponseHead};
use crate::gateway::upstream::upgraded::UpgradedStream;
use crate::serving::in_flight::InFlight;
use crate::serving::keepalive::KEEPALIVE;

/// Destination of interim responses.
pub type PassInterim<'a> = dyn Fn(Interim) + Send + Sync + 'a;

/// Size of the first read, and of the buffer that an idle connection may keep.
const FIRST_READ: usize = 8 << 10;

/// Size of the largest read.
const LARGEST_READ: usize = 128 << 10;

/// Connection to an upstream, closed when dropped.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    pub(super) reader: ConnectionReader,
    /// `None` while a task sends the rest of a request.
    pub(super) writer: Option<RequestWriter>,
    heads: HeadReader,
    /// Timer of the responses. It is set again only after its end: one that ends too early is set to what remains.
    response_timer: Pin<Box<Sleep>>,
    permit: InFlight,
}

/// Reading side of a connection.
#[derive(Debug)]
pub(super) struct ConnectionReader {
    half: OwnedReadHalf,
    /// Bytes that are received, but not used.
    pub(super) buffer: BytesMut,
    next_read: usize,
    /// Set after a reset that a write has found. It may have cut a response short.
    reset: Arc<AtomicBool>,
}

impl ConnectionReader {
    /// Read more into the buffer. Returns the number of bytes, zero at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < FIRST_READ / 2 {
            self.buffer.reserve(self.next_read);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let length = ready!(pin!(self.half.read_buf(&mut self.buffer)).poll(cx))?;
        if length == 0 && self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // A body that fills the buffer is read in larger parts.
        self.next_read = match length == room {
            true => (self.next_read * 2).min(LARGEST_READ),
            false => self.next_read,
        };
        Poll::Ready(Ok(length))
    }
}

impl UpstreamConnection {
    /// Connection over `stream`, counted by `permit`.
    ///
    /// # Errors
    /// [`ForwardError`] if the connection has failed already.
    pub(super) fn over(
        stream: TcpStream,
        limits: &UpstreamLimits,
        permit: InFlight,
    ) -> Result<Box<Self>, ForwardError> {
        let set_up =
            stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
        set_up.map_err(|source| ForwardError::Connect { source })?;
        let (reading, writing) = stream.into_split();
        let reset = Arc::<AtomicBool>::default();
        let reader = ConnectionReader {
            half: reading,
            buffer: BytesMut::new(),
            next_read: FIRST_READ,
            reset: Arc::clone(&reset),
        };
        Ok(Box::new(Self {
            reader,
            writer: Some(RequestWriter::new(writing, reset)),
            heads: HeadReader::default(),
            response_timer: Box::pin(sleep(limits.response)),
            permit,
        }))
    }

    /// True if the last exchange has left nothing behind.
    pub(super) fn is_clean(&self) -> bool {
        self.reader.buffer.is_empty() && self.writer.as_ref().is_some_and(|writer| !writer.is_unwritable())
    }

    /// True if a request can be sent on the idle connection: the upstream has neither closed it, nor sent anything
    /// that nothing asked for.
    pub(super) fn is_usable(&mut self) -> bool {
        // Without a waker: a system call is made only if the socket is known to have something.
        self.is_clean() && self.reader.poll_read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Give back a large buffer.
    pub(super) fn rest(&mut self) {
        self.reader.next_read = FIRST_READ;
        if self.reader.buffer.capacity() > 2 * FIRST_READ {
            self.reader.buffer = BytesMut::new();
        }
    }

    /// Send `request` and wait for the head of the response: for `response_timeout` from its last byte. Interim
    /// responses are given to `pass`.
    ///
    /// The rest of a body whose response comes early is left to the writer.
    pub(super) async fn exchange(
        &mut self,
        request: UpstreamRequest,
        upload: &Upload,
        limits: &UpstreamLimits,
        clock: &dyn Clock,
        pass: &PassInterim<'_>,
    ) -> Result<ExchangeStart, ExchangeFailure> {
        let Self { reader, writer, heads, response_timer, .. } = self;
        let Some(writer) = writer else {
            return Err(ExchangeFailure::Final(ForwardError::Unanswered {
                source: ResponseError::Incomplete,
            }));
        };
        let UpstreamRequest { head, framing, body, is_head, .. } = request;
        writer.begin(head, framing, body);
        let context =
            ResponseContext { is_head, most_fields: limits.response_fields, reserved: upload.reserved() };
        let (mut is_sent, mut is_silent) = (false, true);
        let started = turn_time(clock);
        if response_timer.is_elapsed() {
            response_timer.as_mut().reset(Instant::now() + limits.response);
        }
        let outcome = poll_fn(|cx| {
            if !is_sent {
                match writer.poll_send(cx) {
                    Poll::Ready(Ok(())) => is_sent = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(send_failure(error))),
                    Poll::Pending => {}
                }
            }
            loop {
                match heads.read(&mut reader.buffer, &context) {
                    Ok(Some(ReceivedHead::Interim(interim))) => {
                        pass(interim);
                        continue;
                    }
                    Ok(Some(ReceivedHead::Final(head))) => {
                        return Poll::Ready(Ok(ExchangeStart { head, is_sent }));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(unreadable(error, limits))),
                }
                let error = match reader.poll_read(cx) {
                    Poll::Ready(Ok(0)) => ResponseError::Incomplete,
                    Poll::Ready(Ok(_)) => {
                        is_silent = false;
                        continue;
                    }
                    Poll::Ready(Err(source)) => source.into(),
                    Poll::Pending => break,
                };
                return Poll::Ready(Err(match is_silent {
                    true => ExchangeFailure::Unanswered { error, head: Vec::new() },
                    false => ExchangeFailure::Final(ForwardError::Unanswered { source: error }),
                }));
            }
            loop {
                ready!(response_timer.as_mut().poll(cx));
                // During an upload, the timeout starts again with every byte.
                let deadline = upload.last_progress().max(started) + limits.response;
                let remaining = deadline.saturating_duration_since(clock.monotonic());
                if remaining.is_zero() {
                    break;
                }
                response_timer.as_mut().reset(Instant::now() + remaining);
            }
            Poll::Ready(Err(ExchangeFailure::Final(match upload.is_finished() {
                true => ForwardError::ResponseTimeout,
                false => ForwardError::UploadTimeout,
            })))
        })
        .await;
        match outcome {
            Err(ExchangeFailure::Unanswered { error, .. }) => {
                Err(ExchangeFailure::Unanswered { error, head: writer.take_head() })
            }
            outcome => outcome,
        }
    }

    /// Stream of an upgraded connection, with the bytes that follow the 101.
    pub(super) fn into_stream(self) -> Option<UpgradedStream> {
        let Self { reader, writer, permit, .. } = self;
        let stream = reader.half.reunite(writer?.into_half()).ok()?;
        Some(UpgradedStream::new(stream, reader.buffer, permit))
    }
}

/// Response that has begun.
#[derive(Debug)]
pub(super) struct ExchangeStart {
    pub(super) head: ResponseHead,
    /// False if the response came before the end of the request.
    pub(super) is_sent: bool,
}

/// Failure of an exchange, classified for a retry.
pub(super) enum ExchangeFailure {
    /// The request was written, and the connection was closed without a byte of a response.
    Unanswered {
        error: ResponseError,
        /// Head of the request.
        head: Vec<u8>,
    },
    /// Any other failure; no retry.
    Final(ForwardError),
}

fn send_failure(error: RequestBodyError) -> ExchangeFailure {
    ExchangeFailure::Final(match error {
        RequestBodyError::TooLarge { .. } => ForwardError::BodyTooLarge,
        source => ForwardError::BodyBroken { source },
    })
}

fn unreadable(error: ResponseError, limits: &UpstreamLimits) -> ExchangeFailure {
    ExchangeFailure::Final(match error {
        ResponseError::TooLarge => ForwardError::HeaderTooLarge { at_most: limits.response_fields },
        ResponseError::Ambiguous { reason } => ForwardError::Ambiguous { reason },
        source => ForwardError::Unreadable { source },
    })
}
